"""Pretraining of a small policy on three users."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrec.config.policy import PolicyConfig
from jaxrec.config.pretrain import PretrainConfig
from jaxrec.data import Log
from jaxrec.nets.policy import make_policy
from jaxrec.supervised.pretrain import PretrainData, decayed, feedback_loss, make_pretraining, window_queries
from jaxrec.supervised.pretrain_batches import Plan, PretrainState, num_negatives, steps_per_epoch
from jaxrec.supervised.user_windows import Window, make_windows
from jaxrec.types import EnvSpec, Observation, SlateAction, World

ITEMS = 6
SPEC = EnvSpec(name="log", action=SlateAction(size=2), num_items=ITEMS, feedback=("liked",), history_length=4)
SOME = jnp.array([0, 1, 3, 4, 5], jnp.int32)  # item 2 may not be recommended
WORLD = World(item_table=jax.random.normal(jax.random.key(0), (ITEMS, 5)), recommendable=SOME)
PLACE = np.array([0, 1, -1, 2, 3, 4])


def log() -> Log:
    """User 0 has the rows 0 to 3, user 1 the rows 4 to 6."""
    item = np.array([0, 1, 2, 3, 4, 5, 0], np.int32)
    user = np.array([0, 0, 0, 0, 1, 1, 1], np.int32)
    feedback = np.array([1, 0, 1, 1, 0, 1, 1], np.float32)[:, None]
    return Log(user, item, np.arange(7), feedback, ("liked",), 2, ITEMS)


def setup(encoder: str = "gru", options: dict | None = None, **fields):
    config = PretrainConfig(**{"dropout": 0.0, "batch_size": 2, "epochs": 30, "steps_per_call": 1, **fields})
    network = PolicyConfig(encoder=encoder, width=8, hidden=(6,), item_residual=True, **(options or {}))  # type: ignore[arg-type]
    policy = make_policy(SPEC, network)
    rows, buckets = make_windows(log(), PLACE[log().item], 4, 8)
    data = PretrainData(rows, jnp.arange(5, dtype=jnp.int32), jnp.log(jnp.full(5, 0.2)))
    plan = Plan(buckets, 2, 8, num_negatives(config, 5))
    pretraining = make_pretraining(policy, config, plan, 1)
    return policy, pretraining, data, config, plan


def random_params(state: PretrainState) -> PretrainState:
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.5, x.shape), x.dtype), state.params)
    return state.replace(params=params)


@pytest.mark.parametrize("encoder", ["gru", "lstm", "transformer", "graph", "mean"])
def test_the_loss_of_two_users_is_that_of_the_policy_s_logits_row_by_row(encoder: str) -> None:
    policy, pretraining, data, *_ = setup(encoder)
    state = random_params(jax.jit(pretraining.init)(jax.random.key(0), WORLD))
    _, metrics = jax.jit(pretraining.update)(state, WORLD, data)
    everything = WORLD.replace(recommendable=None)

    @jax.jit
    def serve(params, obs):
        """Logits as they are served, without items of the history, and those of the last query."""
        items = policy.items(params, everything)
        own = items.vectors @ policy.queries(params, items, obs, None)[-1] + items.bias
        return policy.apply(params, items, obs, everything).logits, own

    losses, rows = [], log()
    for user in (0, 1):
        own = np.flatnonzero(rows.user == user)
        for n, row in enumerate(own):
            if rows.item[row] == 2:
                continue
            window, feedback = np.full(4, -1, np.int32), np.zeros((4, 1), np.float32)
            if n:
                window[-n:], feedback[-n:] = rows.item[own[:n]], rows.feedback[own[:n]]
            obs = Observation(history_items=jnp.asarray(window), history_feedback=jnp.asarray(feedback))
            served, logits = map(np.asarray, serve(state.params, obs))
            new = np.isfinite(served)
            assert new.sum() == ITEMS - n
            np.testing.assert_allclose(served[new], logits[new], rtol=1e-5, atol=1e-5)
            losses.append(np.log(np.exp(logits[np.asarray(SOME)]).sum()) - logits[rows.item[row]])
    assert float(metrics["targets"]) == len(losses) == 6
    assert float(metrics["loss"]) == pytest.approx(np.mean(losses), rel=1e-5)


def test_items_that_nobody_has_touched_are_not_in_the_softmax() -> None:
    """Item 6 may be recommended and has no row: the loss is the one without it, and it has no gradient."""
    losses = []
    for items, known in ((6, None), (7, 5)):
        table = jnp.concatenate([WORLD.item_table, 2 * jnp.ones((items - 6, 5))])
        world = World(table, recommendable=jnp.append(SOME, jnp.arange(6, items, dtype=jnp.int32)))
        policy = make_policy(
            dataclasses.replace(SPEC, num_items=items), PolicyConfig(encoder="mean", width=8, hidden=(6,))
        )
        _, _, data, config, plan = setup()
        pretraining = make_pretraining(policy, config, plan._replace(known=known), 1)
        state = random_params(jax.jit(pretraining.init)(jax.random.key(0), world))
        batch = pretraining.batch(state)

        def loss(table, world=world, pretraining=pretraining, state=state, batch=batch, data=data):
            trained = {"policy": state.params, "head": state.head}
            return pretraining.loss(trained, *batch, world.replace(item_table=table), data)[0]

        losses.append(jax.value_and_grad(loss)(world.item_table))
    (alone, others), (same, slope) = losses
    assert float(same) == pytest.approx(float(alone), rel=1e-6)
    np.testing.assert_allclose(slope, np.append(others, np.zeros((1, 5)), axis=0), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("encoder", ["gru", "lstm", "transformer", "graph", "mean"])
def test_a_state_sees_neither_its_row_nor_later_ones(encoder: str) -> None:
    policy, pretraining, data, *_ = setup(encoder)
    params = random_params(jax.jit(pretraining.init)(jax.random.key(0), WORLD)).params
    items = policy.items(params, WORLD)
    window = Window(jnp.arange(4, dtype=jnp.int32)[None], jnp.ones((1, 4), bool), jnp.zeros((1, 4), bool))
    queries = window_queries(policy, data.rows, window, params, items, None)
    for t in range(4):
        changed = data.rows.replace(items=data.rows.items.at[t:4].set(5), feedback=data.rows.feedback.at[t:4].set(0.3))
        others = window_queries(policy, changed, window, params, items, None)
        np.testing.assert_allclose(others[0, : t + 1], queries[0, : t + 1], atol=1e-6)
        assert t == 3 or not np.allclose(others[0, t + 1], queries[0, t + 1])


def test_a_state_does_not_see_rows_of_its_moment() -> None:
    policy, pretraining, data, *_ = setup("gru")
    params = random_params(jax.jit(pretraining.init)(jax.random.key(0), WORLD)).params
    items = policy.items(params, WORLD)
    together = data.rows.replace(moment=jnp.asarray([0, 1, 1, 3, 4, 5, 6]))  # rows 1 and 2
    window = Window(jnp.arange(4, dtype=jnp.int32)[None], jnp.ones((1, 4), bool), jnp.zeros((1, 4), bool))
    queries = window_queries(policy, together, window, params, items, None)
    changed = together.replace(feedback=together.feedback.at[1].set(0.3))
    others = window_queries(policy, changed, window, params, items, None)
    np.testing.assert_array_equal(others[0, 2], queries[0, 2])
    np.testing.assert_array_equal(queries[0, 1], queries[0, 2])
    assert not np.allclose(others[0, 3], queries[0, 3])


@pytest.mark.parametrize(
    "fields",
    [
        {"optimiser": "adamw"},
        {"optimiser": "adafactor", "decay": "linear"},
        {"optimiser": "lion", "decay": "constant", "learning_rate": 1e-2},
        {"negatives": 64, "feedback_weight": 0.5},
        {"crop": 0.3, "mask": 0.3, "reorder": 0.3, "dropout": 0.1},
    ],
)
def test_steps_lower_the_loss_and_leave_the_value_network_alone(fields: dict) -> None:
    _, pretraining, data, config, _ = setup(**{"learning_rate": 2e-2, **fields})
    state = first = jax.jit(pretraining.init)(jax.random.key(0), WORLD)
    update, losses = jax.jit(pretraining.update), []
    for _ in range(30):
        state, metrics = update(state, WORLD, data)
        losses.append(float(metrics["loss"]))
        assert ("feedback_loss" in metrics) == bool(config.feedback_weight)
    assert np.mean(losses[-5:]) < 0.85 * np.mean(losses[:5])
    for name in ("value", "value_hidden_0"):
        for a, b in zip(jax.tree.leaves(state.params[name]), jax.tree.leaves(first.params[name]), strict=True):
            np.testing.assert_array_equal(a, b)


def test_dropout_belongs_to_training_only() -> None:
    policy, pretraining, *_ = setup("transformer", {"dropout": 0.5})
    params = random_params(jax.jit(pretraining.init)(jax.random.key(0), WORLD)).params
    items, obs = (
        policy.items(params, WORLD),
        Observation(history_items=jnp.array([0, 1, 3, 4], jnp.int32), history_feedback=jnp.ones((4, 1))),
    )
    plain = policy.queries(params, items, obs, None)
    assert not np.allclose(plain, policy.queries(params, items, obs, jax.random.key(0)))
    without, *_ = setup("transformer")
    np.testing.assert_array_equal(plain, without.queries(params, items, obs, None))
    np.testing.assert_array_equal(
        policy.apply(params, items, obs, WORLD).logits, without.apply(params, items, obs, WORLD).logits
    )


def test_the_feedback_loss_is_the_cross_entropy_of_valid_rows() -> None:
    logits, feedback = jnp.array([[0.0], [2.0], [9.0]]), jnp.array([[1.0], [0.0], [0.0]])
    got = feedback_loss(logits, feedback, jnp.array([True, True, False]))
    assert float(got) == pytest.approx((np.log(2) + np.log(1 + np.e**2)) / 2, rel=1e-6)


def test_the_softmax_is_exact_up_to_a_hundred_thousand_items_unless_the_recipe_says_otherwise() -> None:
    assert num_negatives(PretrainConfig(), 100_000) == 0 and num_negatives(PretrainConfig(), 100_001) == 4096
    assert num_negatives(PretrainConfig(negatives=0), 200_000) == 0
    assert num_negatives(PretrainConfig(negatives=7), 10) == 7


def test_an_epoch_is_filled_up_to_whole_calls() -> None:
    *_, config, plan = setup()
    assert steps_per_epoch(config, plan) == 1
    assert steps_per_epoch(dataclasses.replace(config, steps_per_call=10), plan) == 10


def test_biases_norms_and_the_value_network_do_not_decay() -> None:
    _, pretraining, *_ = setup("transformer")
    state = jax.jit(pretraining.init)(jax.random.key(0), WORLD)
    mask = decayed({"policy": state.params, "head": state.head})["policy"]
    assert mask["residual_vectors"] and mask["query"]["kernel"] and mask["item_vectors"]["kernel"]
    assert not (mask["residual_bias"] or mask["query"]["bias"] or mask["value"]["kernel"])
    assert not mask["history"]["norm"]["scale"]
    assert optax.tree.norm(jax.tree.map(jnp.asarray, mask)) > 0
