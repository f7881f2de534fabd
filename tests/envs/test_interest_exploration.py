import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec import make_env
from jaxrec.checks import InputError
from jaxrec.config.choice import ChoiceConfig
from jaxrec.envs import auto_reset
from jaxrec.envs.interest_exploration import InterestExplorationState, document_scores
from jaxrec.evaluation.simulate import ItemFacts, make_simulation
from jaxrec.runs.users.registry import baselines
from jaxrec.types import World

SLATE = jnp.array([0, 1, 2])
ENV = make_env("interest_exploration")


@functools.cache
def steps() -> tuple:
    """The step of one user for many keys, and of many users."""
    over_keys = jax.jit(jax.vmap(ENV.step, in_axes=(0, None, None, None)))
    return over_keys, jax.jit(jax.vmap(ENV.step, in_axes=(0, 0, 0, None)))


@functools.cache
def new_users(count: int = 20_000) -> tuple:
    keys = jax.random.split(jax.random.key(0), count)
    return jax.device_get(jax.jit(jax.vmap(ENV.reset, in_axes=(0, None)))(keys, ENV.world))


def user_with(affinity: list[float], topics: list[int], qualities: list[float]) -> InterestExplorationState:
    """A user with documents of the given topics and qualities first, and seven of topic 0 and quality 9 behind."""
    return InterestExplorationState(
        affinity=jnp.array(affinity),
        topic=jnp.array(topics + [0] * 7),
        quality=jnp.array(qualities + [9.0] * 7),
        shown=jnp.array([4.0, 1.0]),
        clicks=jnp.array([1.0, 0.0]),
        remaining_steps=jnp.asarray(50),
    )


# Scores 5, 5 + ln 2, 5: weights 1, 2, 1 and 1 for nothing
CHOOSER = user_with([2.0, 3.0], [0, 1, 1], [3.0, 2.0 + math.log(2), 2.0])


def within(share: float, p: float, count: int) -> bool:
    return abs(share - p) < 4 * (p * (1 - p) / count) ** 0.5


def test_a_new_user_is_of_one_of_two_types_with_lognormal_affinities() -> None:
    state, obs = new_users()
    logs = np.log(state.affinity)
    first = logs[:, 0] < logs[:, 1]  # means 0.6 apart, sd of the difference 0.14: one in 100,000 is mistaken
    assert within(first.mean(), 0.3, 20_000)
    for of_type, mean in ((first, [0.1, 0.7]), (~first, [0.7, 0.1])):
        np.testing.assert_allclose(logs[of_type].mean(0), mean, atol=0.006)
        np.testing.assert_allclose(logs[of_type].std(0), [0.1, 0.1], rtol=0.03)
    assert (obs.user == 0).all() and (state.remaining_steps == 100).all()


def test_documents_have_the_published_topics_and_qualities() -> None:
    state, obs = new_users()
    second = state.topic == 1
    assert state.topic.shape == (20_000, 10) and within(second.mean(), 0.8, 200_000)
    logs = np.log(state.quality)
    for of_topic, mean in ((~second, 0.8), (second, 0.2)):
        np.testing.assert_allclose(logs[of_topic].mean(), mean, atol=0.003)
        np.testing.assert_allclose(logs[of_topic].std(), 0.1, rtol=0.02)
    np.testing.assert_array_equal(obs.candidate_features[..., 0], state.quality)
    np.testing.assert_array_equal(obs.candidate_features[..., 1:], np.eye(2)[state.topic])


def test_clicks_follow_the_logit_of_affinity_and_quality_by_hand() -> None:
    over_keys, _ = steps()
    np.testing.assert_allclose(np.exp(document_scores(CHOOSER)[:3] - 5), [1, 2, 1], rtol=1e-5)
    _, out = jax.device_get(over_keys(jax.random.split(jax.random.key(1), 20_000), CHOOSER, SLATE, ENV.world))
    clicks = out.feedback[:, :, 0]
    for position, p in enumerate([0.2, 0.4, 0.2]):
        assert within(clicks[:, position].mean(), p, 20_000)
    assert clicks.sum(1).max() == 1
    np.testing.assert_array_equal(out.reward, clicks.sum(1))


def test_what_was_shown_and_clicked_is_counted_by_topic_and_nothing_else_stays_but_the_affinities() -> None:
    over_keys, _ = steps()
    after, out = jax.device_get(over_keys(jax.random.split(jax.random.key(2), 5000), CHOOSER, SLATE, ENV.world))
    np.testing.assert_array_equal(after.shown, [[5, 3]] * 5000)
    np.testing.assert_array_equal(after.clicks, np.array([1, 0]) + out.feedback[:, :, 0] @ np.eye(2)[[0, 1, 1]])
    np.testing.assert_allclose(out.obs.user, np.log(1 + np.concatenate([after.shown, after.clicks], 1)), rtol=1e-6)
    np.testing.assert_array_equal(after.affinity, [[2, 3]] * 5000)
    assert within((after.topic == 1).mean(), 0.8, 50_000) and (after.quality != 9).all()
    assert not out.terminated.any() and not out.truncated.any() and (after.remaining_steps == 49).all()


def test_the_session_is_cut_after_exactly_its_steps() -> None:
    env = make_env("interest_exploration", steps=3, reward={"click": 0.0, "depth": 1.0, "leave": 9.0})
    state, _ = env.reset(jax.random.key(0), env.world)
    step, ends = jax.jit(env.step), []
    for key in jax.random.split(jax.random.key(1), 3):
        state, out = step(key, state, SLATE, env.world)
        ends.append((bool(out.truncated), bool(out.terminated), float(out.reward)))
    assert ends == [(False, False, 1.0), (False, False, 1.0), (True, False, 1.0)]  # to be cut is not to leave


@pytest.mark.parametrize(
    ("choice", "most"),
    [({"name": "position", "decay": 1.0}, 3), ({"name": "cascade"}, 1), ({"name": "proportional"}, 1)],
)
def test_any_choice_model_decides(choice: dict, most: int) -> None:
    env = make_env("interest_exploration", choice=choice)
    keys = jax.random.split(jax.random.key(1), 200)
    _, out = jax.jit(jax.vmap(env.step, in_axes=(0, None, None, None)))(keys, CHOOSER, SLATE, env.world)
    assert float(out.feedback.sum((1, 2)).max()) == most


def test_other_constants_need_no_new_program_and_may_differ_by_user() -> None:
    traced = []

    def step(key, state, action, world):
        traced.append(None)
        return ENV.step(key, state, action, world)

    users = ENV.world.users
    none = users.choice.replace(none=jnp.array([-50.0, 50.0, 5.0]))
    each = jax.tree.map(lambda x: jnp.broadcast_to(x, (3, *x.shape)), users).replace(
        choice=none.replace(decay=none.none)
    )
    of_users = World(item_table=None, users=0)  # type: ignore[arg-type]
    program = jax.jit(jax.vmap(step, in_axes=(0, None, None, of_users)))
    keys = jax.random.split(jax.random.key(1), 3)
    out = program(keys, CHOOSER, SLATE, ENV.world.replace(users=each))[1]
    assert out.reward[:2].tolist() == [1, 0]
    swapped = each.replace(choice=each.choice.replace(none=each.choice.none[jnp.array([1, 0, 2])]))
    assert program(keys, CHOOSER, SLATE, ENV.world.replace(users=swapped))[1].reward[:2].tolist() == [0, 1]
    assert len(traced) == 1


def test_a_batch_of_users_does_as_each_alone() -> None:
    _, over_users = steps()
    state, _ = jax.tree.map(lambda x: jnp.asarray(x[:6]), new_users())
    keys, actions = jax.random.split(jax.random.key(3), 6), jnp.array([[n, 9, 8] for n in range(6)])
    batched, step = over_users(keys, state, actions, ENV.world), jax.jit(ENV.step)
    for n in range(6):
        alone = step(keys[n], jax.tree.map(lambda x, n=n: x[n], state), actions[n], ENV.world)
        for got, want in zip(jax.tree.leaves(batched), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(got[n], want, rtol=1e-6)


def test_nothing_of_the_old_user_is_left_when_a_new_one_comes() -> None:
    env = auto_reset(ENV)
    state = CHOOSER.replace(remaining_steps=jnp.asarray(1))
    keys = jax.random.split(jax.random.key(5), 200)
    after, out = jax.device_get(
        jax.jit(jax.vmap(env.step, in_axes=(0, None, None, None)))(keys, state, SLATE, env.world)
    )
    assert out.truncated.all() and (after.remaining_steps == 100).all()
    assert (after.shown == 0).all() and (after.clicks == 0).all() and (out.obs.user == 0).all()
    assert (after.affinity != np.array([2.0, 3.0])).all() and len(np.unique(after.affinity[:, 0])) == 200
    np.testing.assert_array_equal(out.obs.candidate_features[..., 0], after.quality)
    assert (out.final_obs.user[:, :2] == np.log1p(np.float32([5, 3]))).all()
    assert (out.final_obs.candidate_features != out.obs.candidate_features).any((1, 2)).all()


def test_a_slate_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match=r"action: expected shape \(3\), got \(2,\)"):
        ENV.step(jax.random.key(0), CHOOSER, jnp.array([0, 1]), ENV.world)


@functools.cache
def episode():
    """Three steps from a new user, for many keys."""

    def one(key: jax.Array, world: World):
        key_reset, *keys = jax.random.split(key, 4)
        state, obs = ENV.reset(key_reset, world)
        outs = []
        for step_key in keys:
            state, out = ENV.step(step_key, state, SLATE, world)
            outs.append(out)
        return obs, state, outs

    return jax.jit(jax.vmap(one, in_axes=(0, None)))


extreme = st.floats(-1e6, 1e6, width=32)


@given(
    means=st.lists(extreme, min_size=6, max_size=6),
    sds=st.lists(st.floats(0, 1e6, width=32), min_size=2, max_size=2),
    shares=st.lists(st.floats(0, 1, width=32), min_size=2, max_size=2),
    none=extreme,
    seed=st.integers(0, 2**31 - 1),
)
@settings(deadline=None, max_examples=50, derandomize=True)
def test_whatever_the_population_everything_is_finite_and_in_range(means, sds, shares, none, seed) -> None:
    users = ENV.world.users.replace(
        topic_share=jnp.array([shares[0], 1 - shares[0]], jnp.float32),
        type_share=jnp.array([shares[1], 1 - shares[1]], jnp.float32),
        quality_mean=jnp.array(means[:2], jnp.float32),
        affinity_mean=jnp.array(means[2:], jnp.float32).reshape(2, 2),
        quality_sd=jnp.asarray(sds[0], jnp.float32),
        affinity_sd=jnp.asarray(sds[1], jnp.float32),
        choice=ENV.world.users.choice.replace(none=jnp.asarray(none, jnp.float32)),
    )
    keys = jax.random.split(jax.random.key(seed), 20)
    obs, state, outs = jax.device_get(episode()(keys, ENV.world.replace(users=users)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((obs, state, outs)))
    assert set(np.unique(state.topic)) <= {0, 1}
    for out in outs:
        assert set(np.unique(out.feedback)) <= {0.0, 1.0} and set(np.unique(out.reward)) <= {0.0, 1.0}
        assert (out.obs.user >= 0).all() and (out.obs.candidate_features >= 0).all()
    assert (state.shown.sum(1) == 9).all() and (state.clicks <= state.shown).all()


@pytest.mark.parametrize(("name", "rate"), [("random", 0.3094), ("quality", 0.4445), ("oracle", 0.4495)])
def test_reference_policies_have_the_published_click_rates(name: str, rate: float) -> None:
    facts = ItemFacts(rows=ENV.world.item_table, surprise=jnp.zeros(1))
    simulate = make_simulation(ENV, baselines(ENV)[name], max_steps=200)
    got = simulate(ENV.world, facts, jax.random.key(11), 10_000)
    assert (got.lengths == 100).all()
    error = got.returns.std(ddof=1) / 10_000**0.5 / 100
    assert error < 0.001
    assert abs(got.mean / 100 - rate) < 3 * error + 0.0005  # the table gives four digits and no interval


def test_the_choice_is_logit_with_five_for_nothing_unless_said_otherwise() -> None:
    assert ENV.world.users.choice.none == 5.0
    other = make_env("interest_exploration", choice=ChoiceConfig(name="logit", none=2.0))
    assert other.world.users.choice.none == 2.0
