from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrec.config.tune import TuneConfig
from jaxrec.encoder import Encoder, load_encoder
from jaxrec.sharding.mesh import make_mesh
from jaxrec.supervised.encoder_step import make_optimiser
from jaxrec.supervised.pairs import PairData, make_pair_data
from jaxrec.supervised.tune import make_tuning

GOLDEN = Path(__file__).parents[1] / "encoder" / "golden"


@pytest.fixture(scope="module")
def enc() -> Encoder:
    return load_encoder(GOLDEN / "tiny_bert", max_length=16)


@pytest.fixture(scope="module")
def data() -> PairData:
    """Sixteen items of random words; item n goes with item n + 8."""
    rng = np.random.default_rng(0)
    texts = [[2, *rng.integers(5, 80, rng.integers(3, 9)).tolist(), 3] for _ in range(16)]
    pairs = np.array([[n, n + 8] for n in range(8)], np.int32)
    return jax.device_put(make_pair_data(pairs, [texts]))


def losses(enc: Encoder, data: PairData, config: TuneConfig, steps: int, mesh=None, table=None):
    tuning = make_tuning(enc, config, mesh)
    state = jax.jit(tuning.init)(jax.random.key(0))
    update, values = jax.jit(tuning.update), []
    for _ in range(steps):
        state, metrics = update(state, tuning.frozen, data, table)
        values.append(float(metrics["loss"]))
    return np.array(values), state, tuning


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "full", "learning_rate": 3e-3},
        {"mode": "lora", "learning_rate": 3e-3, "rank": 4, "lora_dropout": 0.2},
        {"mode": "full", "learning_rate": 3e-3, "optimiser": "adafactor", "decay": "linear", "word_dropout": 0.1},
    ],
)
def test_partners_are_told_from_other_items_after_some_steps(enc: Encoder, data: PairData, options: dict) -> None:
    values, state, tuning = losses(enc, data, TuneConfig(batch_size=16, steps=30, popularity=0.0, **options), 30)
    assert values[-5:].mean() < 0.7 * values[0]
    if options["mode"] == "lora":
        leaves = jax.tree_util.tree_leaves_with_path(state.trained)
        assert all("_lora_" in jax.tree_util.keystr(path) for path, _ in leaves)
        assert tuning.frozen is enc.params


def test_the_full_softmax_reads_the_table_and_learns(enc: Encoder, data: PairData) -> None:
    table = np.random.default_rng(0).normal(size=(16, 32)).astype(np.float32)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    config = TuneConfig(batch_size=16, steps=30, learning_rate=3e-3, objective="full_softmax", temperature=0.3)
    values, *_ = losses(enc, data, config, 30, table=jax.numpy.asarray(table))
    assert values[-1] < 0.8 * values[0]


@pytest.mark.slow
def test_four_devices_take_the_step_of_one(enc: Encoder, data: PairData) -> None:
    config = TuneConfig(batch_size=8, steps=10, learning_rate=1e-3, dropout=0.1, remat="full")
    one, first, _ = losses(enc, data, config, 2)
    four, other, _ = losses(enc, data, config, 2, make_mesh(4))
    np.testing.assert_allclose(one, four, rtol=1e-5)
    for a, b in zip(jax.tree.leaves(first.trained), jax.tree.leaves(other.trained), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)  # Adam turns rounding of tiny gradients into steps


@pytest.mark.parametrize(("decay", "late"), [("cosine", 0.5), ("linear", 0.5), ("constant", 1.0)])
def test_the_rate_rises_then_falls(decay, late: float) -> None:
    config = TuneConfig(steps=100, warm_up=0.1, learning_rate=0.1, weight_decay=0.0, decay=decay)
    optimiser = make_optimiser(config)
    params = {"kernel": jax.numpy.ones(1)}
    state, sizes = optimiser.init(params), []
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(100):
            step, state = optimiser.update({"kernel": jax.numpy.ones(1)}, state, params)
            sizes.append(-float(step["kernel"][0]))  # Adam's step on a constant gradient is the rate
    np.testing.assert_allclose(np.array(sizes)[[0, 4, 9]], [0.01, 0.05, 0.1], rtol=1e-3)
    np.testing.assert_allclose(sizes[55], 0.1 * late, rtol=0.02)
