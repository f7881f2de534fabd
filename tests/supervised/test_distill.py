from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.distill import DistillConfig
from jaxrec.encoder import Encoder, load_encoder
from jaxrec.encoder.encode_ids import encode_ids
from jaxrec.encoder.prune import keep_layers
from jaxrec.ops.vectors import unit_rows
from jaxrec.supervised.distill import DistillData, make_distillation
from jaxrec.supervised.item_texts import lay_out_texts

GOLDEN = Path(__file__).parents[1] / "encoder" / "golden"


@pytest.fixture(scope="module")
def teacher() -> Encoder:
    return load_encoder(GOLDEN / "tiny_bert", max_length=16)


@pytest.fixture(scope="module")
def data(teacher: Encoder) -> DistillData:
    """Twenty texts of random words, of which four are held out: reading their targets would spoil the loss."""
    rng = np.random.default_rng(0)
    ids = [[2, *rng.integers(5, 80, rng.integers(3, 9)).tolist(), 3] for _ in range(20)]
    targets = unit_rows(encode_ids(teacher, ids, 4096, lambda *_: None))
    targets[16:] = np.nan
    return jax.device_put(DistillData(lay_out_texts([ids]), targets, np.arange(16, dtype=np.int32)))  # type: ignore[arg-type]


def losses(student: Encoder, data: DistillData, steps: int, **options) -> np.ndarray:
    config = DistillConfig(
        batch_size=16, steps=steps, learning_rate=3e-3, steps_per_call=1, evaluate_every=1, **options
    )
    fit = make_distillation(student, data.targets.shape[1], config)
    state, update, values = jax.jit(fit.init)(jax.random.key(0)), jax.jit(fit.update), []
    for _ in range(steps):
        state, metrics = update(state, fit.frozen, data, None)
        values.append(float(metrics["loss"]))
    return np.array(values)


def test_a_student_with_fewer_layers_comes_nearer_to_its_teacher(teacher: Encoder, data: DistillData) -> None:
    values = losses(keep_layers(teacher, [0, 3]), data, 30, dropout=0.05, word_dropout=0.05)
    assert values[-5:].mean() < 0.5 * values[0]


def test_a_student_of_another_width_learns_relations(data: DistillData) -> None:
    narrow = load_encoder(GOLDEN / "tiny_bert", max_length=16, dimensions=20)
    with pytest.raises(InputError, match=r"20 channels, the teacher's 32; set it to relations"):
        losses(narrow, data, 1)
    # Vectors of a random model all point one way; relations worth learning are those of vectors that do not.
    spread = unit_rows(np.random.default_rng(1).normal(size=data.targets.shape)).astype(np.float32)
    values = losses(narrow, data.replace(targets=jax.numpy.asarray(spread)), 30, objective="relations")
    assert values[-5:].mean() < 0.5 * values[0]
