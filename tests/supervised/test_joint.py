"""Joint tuning of the tiny encoder and a small policy on three users."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import tests.supervised.test_pretrain as small
from jaxrec.config.schema import EncoderConfig
from jaxrec.encoder import Encoder, load_encoder
from jaxrec.encoder.adapt import merged
from jaxrec.supervised.joint import (
    Joint,
    JointData,
    JointState,
    draw_items,
    make_joint,
    make_joint_data,
    scaled_gradient,
)
from jaxrec.supervised.pretrain import Pretraining, trained_of
from jaxrec.types import World

GOLDEN = Path(__file__).parents[1] / "encoder" / "golden"
WIDTH, RANK, ALPHA = 32, 2, 6.0


class Setup(NamedTuple):
    enc: Encoder
    pretraining: Pretraining
    joint: Joint
    world: World
    data: JointData
    state: JointState
    ids: list[list[int]]


def quick(function: Any) -> Any:
    """Compile without optimisation: faster for programs that run a few times."""
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def setup(train: Any = "lora", noise: float = 0.0, negatives: int | None = None, **fields: Any) -> Setup:
    """A state whose adapters have `noise` added, so that none of them is 0."""
    enc = load_encoder(GOLDEN / "tiny_bert", max_length=16)
    rng = np.random.default_rng(0)
    ids = [[2, *rng.integers(5, 80, 3 + n).tolist(), 3] for n in range(small.ITEMS)]
    how = EncoderConfig(
        **{"train": train, "rank": RANK, "alpha": ALPHA, "learning_rate": 3e-3, "refresh_every": 3, **fields}
    )
    _, pretraining, data, config, plan = small.setup("mean", negatives=negatives)
    joint = make_joint(pretraining, plan, enc, how, config, 30)
    world = small.WORLD.replace(item_table=jnp.asarray(rng.normal(size=(small.ITEMS, WIDTH + 2)), jnp.float32))
    joint_data = jax.device_put(make_joint_data(data, enc, ids, 32))
    state = quick(joint.init)(jax.random.key(0), jax.random.key(1), world, joint_data)
    state = state.replace(policy=small.random_params(state.policy))
    moved = jax.tree.map(lambda x: x + noise * jnp.asarray(rng.normal(size=x.shape), x.dtype), state.encoder)
    return Setup(enc, pretraining, joint, world, joint_data, state.replace(encoder=moved), ids)


def vectors(enc: Encoder, weights: Any, ids: list[list[int]]) -> Any:
    """Text columns of the table by the plain encoder."""
    tokens = jnp.asarray([text + [0] * (12 - len(text)) for text in ids], jnp.int32)
    mask = (jnp.arange(12)[None] < jnp.asarray([[len(text)] for text in ids])).astype(jnp.int32)
    return enc.pool(weights, enc.apply(weights, tokens, mask), mask) * WIDTH**0.5


@pytest.mark.parametrize(("texts", "negatives"), [(6, None), (4, 3)])
def test_the_gradient_of_adapters_is_that_of_the_table_s_rows_through_merged_weights(texts, negatives) -> None:
    now = setup(noise=0.05, negatives=negatives, texts_per_step=texts)
    batch = now.pretraining.batch(now.state.policy)
    trained = trained_of(now.state.policy)

    @quick
    @jax.value_and_grad
    def slope(adapters):
        return now.joint.loss(trained | {"encoder": adapters}, now.state, batch, now.world, now.data)[0]

    loss, got = slope(now.state.encoder)

    @quick
    def wanted(adapters):
        """Rows by merged weights, the gradient of the loss at every row, and its product with the rows' slopes."""
        rows, back = jax.vjp(lambda a: vectors(now.enc, merged(now.enc.params, a, ALPHA / RANK), now.ids), adapters)

        def of_rows(rows):
            table = now.world.item_table.at[chosen, :WIDTH].set(rows[chosen])
            return now.pretraining.loss(trained, *batch, now.world.replace(item_table=table), now.data.pretrain)[0]

        value, by_row = jax.value_and_grad(of_rows)(rows)
        return value, back(by_row * scale[:, None])[0]

    # Every row has a gradient if the softmax is exact: six items of a batch that reads all of them.
    chosen, scale = jnp.arange(6), jnp.ones(6)
    if texts == 4:
        key = jax.random.fold_in(now.state.key, 0)
        chosen, places = draw_items(key, jnp.ones(6, bool), jnp.zeros(6, bool), 4)
        np.testing.assert_allclose(places, 6 / 4)
        scale = jnp.zeros(6).at[chosen].set(places)
    value, want = wanted(now.state.encoder)
    assert float(loss) == pytest.approx(float(value), rel=1e-5)
    largest = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(want))
    assert largest > 1e-4
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * largest)
    if texts == 6:  # along the gradient the loss changes by its norm
        size = float(optax.tree.norm(got))
        ends = [
            float(slope(jax.tree.map(lambda x, g, s=s: x + s * g / size, now.state.encoder, got))[0])
            for s in (-0.005, 0.005)
        ]
        assert (ends[1] - ends[0]) / 0.01 == pytest.approx(size, rel=0.02)


def test_a_table_is_constant_until_the_whole_catalogue_is_encoded_anew() -> None:
    now = setup(texts_per_step=4)
    update, state, base = quick(now.joint.update), now.state, jax.tree.map(np.array, now.data.base)
    for step in range(1, 8):
        before, (state, metrics) = state, update(state, now.world, now.data)
        assert (int(state.version), int(state.age)) == (step // 3, step % 3) and metrics["table_version"] == step // 3
        changed = (np.asarray(state.table) != np.asarray(before.table)).any(0)
        assert changed[:WIDTH].all() if step % 3 == 0 else not changed.any()
        assert not changed[WIDTH:].any()  # the statistics
        if step % 3 == 0:
            want = vectors(now.enc, now.joint.weights(now.data.base, state.encoder), now.ids)
            np.testing.assert_allclose(state.table[:, :WIDTH], want, atol=2e-5)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(now.data.base), jax.tree.leaves(base), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state.encoder)]
    assert names and all("_lora_" in name for name in names)


@pytest.mark.parametrize("train", ["lora", "full"])
def test_steps_change_every_leaf_that_is_tuned_and_lower_the_loss(train: str) -> None:
    now = setup(train, texts_per_step=4)
    update, state, losses = quick(now.joint.update), now.state, []
    for _ in range(20):
        state, metrics = update(state, now.world, now.data)
        losses.append(float(metrics["loss"]))
    assert np.mean(losses[-3:]) < 0.8 * losses[0]
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(state.encoder), jax.tree.leaves(now.state.encoder), strict=True
    ):
        assert (np.asarray(a) != np.asarray(b)).any(), jax.tree_util.keystr(path)
    if train == "full":
        assert jax.tree.structure(state.encoder) == jax.tree.structure(now.enc.params)


def test_three_quarters_of_the_texts_are_of_the_batch_and_each_stands_for_its_group() -> None:
    own, others = np.arange(12) < 4, (np.arange(12) >= 4) & (np.arange(12) < 10)
    draw = jax.jit(draw_items, static_argnums=3)
    seen = np.zeros(12)
    for n in range(400):
        items, scale = draw(jax.random.key(n), own, others, 4)
        assert len(set(items.tolist())) == 4 and (own[items].sum(), others[items].sum()) == (3, 1)
        np.testing.assert_allclose(scale, np.where(own[items], 4 / 3, 6.0), rtol=1e-6)
        seen[items] += scale / 400
    np.testing.assert_allclose(seen, own | others, atol=0.4)  # an unbiased estimate of the sum over both groups
    items, scale = draw(jax.random.key(0), np.arange(12) < 1, others, 4)
    assert items[0] == 0 and others[items[1:]].all()
    np.testing.assert_allclose(scale, [1, 2, 2, 2])
    items, scale = draw(jax.random.key(0), np.arange(12) < 3, np.zeros(12, bool), 4)
    assert len(set(items.tolist())) == 4 and sorted(scale.tolist()) == [0, 1, 1, 1]


def test_a_scaled_gradient_leaves_the_value_as_it_is() -> None:
    x, scale = jnp.array([[1.5, -2.0], [0.25, 3.0]]), jnp.array([2.0, 0.0])
    value, back = jax.vjp(lambda x: scaled_gradient(x, scale), x)
    np.testing.assert_array_equal(value, x)
    np.testing.assert_array_equal(back(jnp.ones((2, 2)))[0], [[2, 2], [0, 0]])
