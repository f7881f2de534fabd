"""Encoders in the host loop: the tiny encoder, tuned on pairs of random texts."""

import os
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.config.tune import TuneConfig
from jaxrec.encoder import Encoder, load_encoder
from jaxrec.runs.train_encoder import Evaluation, Fitted, Job, train_encoder
from jaxrec.storage.run import RunFolder
from jaxrec.supervised.pairs import PairData, make_pair_data
from jaxrec.supervised.tune import make_tuning
from jaxrec.types import Array, Params

GOLDEN = Path(__file__).parents[1] / "encoder" / "golden"


@pytest.fixture(scope="module")
def enc() -> Encoder:
    return load_encoder(GOLDEN / "tiny_bert", max_length=16)


@pytest.fixture(scope="module")
def data() -> PairData:
    """Sixteen items of random words; item n goes with item n + 8."""
    rng = np.random.default_rng(0)
    texts = [[2, *rng.integers(5, 80, rng.integers(3, 9)).tolist(), 3] for _ in range(16)]
    return make_pair_data(np.array([[n, n + 8] for n in range(8)], np.int32), [texts])


def fit(enc: Encoder, data: PairData, run: RunFolder, objective: str) -> Fitted:
    """Eight steps, judged at 0, 4 and 8 by a table that follows the weights."""
    config = TuneConfig(
        objective=objective,  # type: ignore[arg-type]
        batch_size=8,
        steps=8,
        steps_per_call=2,
        evaluate_every=4,
        learning_rate=3e-3,
        word_dropout=0.1,
    )

    def judge(weights: Params) -> tuple[float, Array | None]:
        words = np.asarray(jax.tree.leaves(weights)[-1]).ravel()[: 16 * 32]
        table = np.resize(words, (16, 32)) + np.eye(16, 32, dtype=np.float32)
        table /= np.linalg.norm(table, axis=1, keepdims=True)
        return float(np.abs(words).sum()), jnp.asarray(table) if objective == "full_softmax" else None

    return train_encoder(
        Job(make_tuning(enc, config), data, Evaluation("score", judge)), run, config, jax.random.key(0), devices=1
    )


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["in_batch", "full_softmax"])
def test_an_encoder_stopped_between_evaluations_goes_on_to_the_same_bytes(
    objective: str, enc: Encoder, data: PairData, tmp_path: Path
) -> None:
    whole, parts = (RunFolder.create(tmp_path / name, "seed: 0\n") for name in ("whole", "parts"))
    uninterrupted = fit(enc, data, whole, objective)
    assert (uninterrupted.step, uninterrupted.interrupted) == (8, False)
    append = parts.append_timing

    def interrupt(row) -> None:
        append(row)
        if row["step"] == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    parts.append_timing = interrupt  # type: ignore[method-assign]
    stopped = fit(enc, data, parts, objective)
    assert (stopped.step, stopped.interrupted) == (6, signal.SIGTERM)
    resumed = fit(enc, data, RunFolder.open(parts.path), objective)
    assert (resumed.step, resumed.best, resumed.score) == (8, uninterrupted.best, uninterrupted.score)
    assert parts.metrics.read_bytes() == whole.metrics.read_bytes()
    for a, b in zip(jax.tree.leaves(resumed.weights), jax.tree.leaves(uninterrupted.weights), strict=True):
        np.testing.assert_array_equal(a, b)
