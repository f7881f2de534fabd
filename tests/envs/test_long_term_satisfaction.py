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
from jaxrec.envs import auto_reset
from jaxrec.envs.long_term_satisfaction import LongTermSatisfactionState, engagement, next_npe, satisfaction
from jaxrec.evaluation.simulate import ItemFacts, Simulated, make_simulation
from jaxrec.runs.users.registry import baselines
from jaxrec.types import World

FIRST = jnp.array([0])
ENV = make_env("long_term_satisfaction")
USERS = ENV.world.users
HALF = jnp.asarray(0.5)  # a uniform number in the middle: no noise


@functools.cache
def over_keys():
    """The step of one user for many keys."""
    return jax.jit(jax.vmap(ENV.step, in_axes=(0, None, None, None)))


def user_with(npe: float, clickbait: float, remaining_steps: int = 60) -> LongTermSatisfactionState:
    """A user who is offered one document of the given clickbait, and nine of 0.123."""
    offered = jnp.array([clickbait] + [0.123] * 9)
    return LongTermSatisfactionState(jnp.asarray(npe), offered, jnp.array([0.25, 1.0]), jnp.asarray(remaining_steps))


def many_steps(state: LongTermSatisfactionState, count: int, **constants: float):
    users = USERS.replace(**{name: jnp.asarray(value) for name, value in constants.items()})
    keys = jax.random.split(jax.random.key(5), count)
    return jax.device_get(over_keys()(keys, state, FIRST, ENV.world.replace(users=users)))


def test_a_new_user_has_an_even_exposure_and_even_documents() -> None:
    keys = jax.random.split(jax.random.key(0), 20_000)
    state, obs = jax.device_get(jax.jit(jax.vmap(ENV.reset, in_axes=(0, None)))(keys, ENV.world))
    largest = 0.5 / 0.3
    assert np.abs(state.npe).max() <= largest
    np.testing.assert_allclose(state.npe.mean(), 0, atol=4 * largest / 3**0.5 / 20_000**0.5)
    np.testing.assert_allclose(state.npe.std(), largest / 3**0.5, rtol=0.02)
    np.testing.assert_allclose(np.quantile(state.clickbait, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.005)
    np.testing.assert_array_equal(obs.candidate_features[..., 0], state.clickbait)
    assert (obs.user == np.array([0.5, 0.0])).all() and (state.remaining_steps == 60).all()


def test_satisfaction_exposure_and_engagement_by_hand() -> None:
    users = USERS.replace(sensitivity=jnp.asarray(0.25))
    assert float(satisfaction(users, jnp.asarray(4 * math.log(3)))) == pytest.approx(0.75)
    assert float(next_npe(users, jnp.asarray(2.0), jnp.asarray(0.8), HALF)) == pytest.approx(0.7 * 2 - 0.6)
    up = jnp.asarray(0.8413447)  # one standard deviation
    assert float(next_npe(users, jnp.asarray(2.0), jnp.asarray(0.8), up)) == pytest.approx(0.8 + 0.05, rel=1e-5)
    # (5 x .4 + 4 x .6) x .5 = 2.2, and 2.2 + 1
    assert float(engagement(users, jnp.asarray(0.0), jnp.asarray(0.4), HALF)) == pytest.approx(math.exp(2.2))
    assert float(engagement(users, jnp.asarray(0.0), jnp.asarray(0.4), up)) == pytest.approx(math.exp(3.2), rel=1e-5)


@pytest.mark.parametrize(
    ("npe", "clickbait", "constants", "mean", "sd"),
    [
        (0.0, 0.5, {}, 4.5 * 0.5, 1.0),
        (4 * math.log(3), 1.0, {"sensitivity": 0.25}, 5 * 0.75, 1.0),
        (-4 * math.log(3), 0.0, {"sensitivity": 0.25}, 4 * 0.25, 1.0),
        (0.0, 0.25, {"choc_mean": 1.0, "kale_mean": 3.0, "choc_sd": 2.0, "kale_sd": 0.4}, 2.5 * 0.5, 0.8),
    ],
)
def test_the_logarithm_of_engagement_is_normal(npe: float, clickbait: float, constants: dict, mean, sd) -> None:
    _, out = many_steps(user_with(npe, clickbait), 20_000, **constants)
    logs = (np.log(out.reward) - mean) / sd
    np.testing.assert_allclose(logs.mean(), 0, atol=4 / 20_000**0.5)
    np.testing.assert_allclose(logs.std(), 1, rtol=0.02)
    np.testing.assert_allclose(np.quantile(logs, [0.025, 0.25, 0.975]), [-1.96, -0.6745, 1.96], atol=0.08)


def test_engagement_is_observed_up_to_a_hundred_and_paid_in_full() -> None:
    _, out = many_steps(user_with(0.0, 1.0), 5000, choc_mean=2 * math.log(100))  # half of the users are above 100
    observed = out.feedback[:, 0, 1]
    assert abs((out.reward > 100).mean() - 0.5) < 4 * 0.5 / 5000**0.5
    np.testing.assert_array_equal(observed, np.minimum(out.reward, 100))
    assert (out.feedback[:, 0, 0] == 1).all()


def test_exposure_moves_by_the_published_amount_and_noise() -> None:
    after, _ = many_steps(user_with(1.5, 0.9), 20_000)
    np.testing.assert_allclose(after.npe.mean(), 0.7 * 1.5 - 0.8, atol=4 * 0.05 / 20_000**0.5)
    np.testing.assert_allclose(after.npe.std(), 0.05, rtol=0.02)
    still, _ = many_steps(user_with(1.5, 0.9), 10, innovation_sd=0.0, memory_discount=0.5)
    np.testing.assert_allclose(still.npe, np.full(10, 0.75 - 0.8), rtol=1e-5)


def test_the_agent_sees_running_means_of_what_was_taken_and_new_documents() -> None:
    after, out = many_steps(user_with(0.0, 0.75), 2000)
    want = np.stack([np.full(2000, 0.25 + 0.3 * 0.5), 1 + 0.3 * (np.log1p(out.feedback[:, 0, 1]) - 1)], 1)
    np.testing.assert_allclose(out.obs.user, want, rtol=1e-5)
    np.testing.assert_array_equal(out.obs.candidate_features[..., 0], after.clickbait)
    np.testing.assert_allclose(after.clickbait.mean(), 0.5, atol=4 * 12**-0.5 / 20_000**0.5)


def test_only_the_first_document_is_ever_taken() -> None:
    env = make_env("long_term_satisfaction", slate_size=3, reward={"click": 1.0})
    state = user_with(0.0, 1.0).replace(clickbait=jnp.array([1.0, 0.25, *[0.5] * 8]))
    keys = jax.random.split(jax.random.key(1), 50)
    step = jax.jit(jax.vmap(env.step, in_axes=(0, None, None, None)))
    after, out = step(keys, state, jnp.array([1, 0, 4]), env.world)
    np.testing.assert_array_equal(out.feedback[:, :, 0], [[1, 0, 0]] * 50)
    assert (out.feedback[:, 0, 1] > 0).all() and (out.feedback[:, 1:, 1] == 0).all() and (out.reward == 1).all()
    np.testing.assert_allclose(after.npe, np.full(50, 0.5), atol=0.3)  # -2 (1/4 - 1/2)


def test_the_user_leaves_after_exactly_the_budget() -> None:
    for left in (3, 2, 1):
        after, out = many_steps(user_with(0.0, 0.5, left), 1)
        assert not out.truncated[0] and out.terminated[0] == (left == 1) and after.remaining_steps[0] == left - 1
    short = make_env("long_term_satisfaction", budget=7)
    assert short.reset(jax.random.key(0), short.world)[0].remaining_steps == 7


def test_other_constants_need_no_new_program_and_may_differ_by_user() -> None:
    traced = []

    def step(key, state, action, world):
        traced.append(None)
        return ENV.step(key, state, action, world)

    of_users = World(item_table=None, users=0)  # type: ignore[arg-type]
    program = jax.jit(jax.vmap(step, in_axes=(None, None, None, of_users)))
    each = jax.tree.map(lambda x: jnp.broadcast_to(x, (3, *x.shape)), USERS)
    for memory in ([0.0, 0.5, 1.0], [1.0, 0.0, 0.5]):
        users = each.replace(memory_discount=jnp.array(memory), innovation_sd=jnp.zeros(3))
        after, _ = program(jax.random.key(0), user_with(2.0, 0.5), FIRST, ENV.world.replace(users=users))
        np.testing.assert_allclose(after.npe, 2 * np.array(memory), atol=1e-6)
    assert len(traced) == 1


def test_a_batch_of_users_does_as_each_alone() -> None:
    keys, actions = jax.random.split(jax.random.key(3), 6), jnp.arange(6)[:, None]
    state, _ = jax.jit(jax.vmap(ENV.reset, in_axes=(0, None)))(keys, ENV.world)
    batched = jax.jit(jax.vmap(ENV.step, in_axes=(0, 0, 0, None)))(keys, state, actions, ENV.world)
    step = jax.jit(ENV.step)
    for n in range(6):
        alone = step(keys[n], jax.tree.map(lambda x, n=n: x[n], state), actions[n], ENV.world)
        for got, want in zip(jax.tree.leaves(batched), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(got[n], want, rtol=1e-5, atol=1e-6)


def test_nothing_of_the_old_user_is_left_when_a_new_one_comes() -> None:
    env = auto_reset(ENV)
    keys = jax.random.split(jax.random.key(5), 500)
    step = jax.jit(jax.vmap(env.step, in_axes=(0, None, None, None)))
    after, out = jax.device_get(step(keys, user_with(80.0, 0.75, remaining_steps=1), FIRST, env.world))
    assert out.terminated.all() and (after.remaining_steps == 60).all()
    assert np.abs(after.npe).max() <= 0.5 / 0.3 and len(np.unique(after.npe)) > 490
    assert (out.obs.user == np.array([0.5, 0.0])).all() and (out.final_obs.user[:, 1] != 0).all()
    np.testing.assert_array_equal(out.obs.candidate_features[..., 0], after.clickbait)
    assert (out.final_obs.candidate_features != out.obs.candidate_features).all()


def test_a_slate_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match=r"action: expected shape \(1\), got \(2,\)"):
        ENV.step(jax.random.key(0), user_with(0.0, 0.5), jnp.array([0, 1]), ENV.world)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory_discount": 1.0}, "env.memory_discount: expected a value at least 0 and at most 0.999"),
        ({"choc_sd": -1.0}, "env.choc_sd: expected a value at least 0"),
        ({"budget": 0}, "env.budget: expected a value at least 1"),
        ({"slate_size": 11}, "env.slate_size: expected a value at least 1 and at most 10"),
    ],
)
def test_constants_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_env("long_term_satisfaction", **options)


extreme, spread = st.floats(-1e6, 1e6, width=32), st.floats(0, 1e6, width=32)


@given(
    npe=extreme,
    clickbait=st.floats(0, 1, width=32),
    memory=st.floats(0, 1, width=32),
    means=st.lists(extreme, min_size=3, max_size=3),
    sds=st.lists(spread, min_size=3, max_size=3),
    seed=st.integers(0, 2**31 - 1),
)
@settings(deadline=None, max_examples=50, derandomize=True)
def test_whatever_the_dynamics_everything_is_finite_and_in_range(npe, clickbait, memory, means, sds, seed) -> None:
    named = zip(
        ("sensitivity", "choc_mean", "kale_mean", "innovation_sd", "choc_sd", "kale_sd"), means + sds, strict=True
    )
    users = USERS.replace(memory_discount=jnp.asarray(memory, jnp.float32), start_npe=jnp.asarray(1e6))
    users = users.replace(**{name: jnp.asarray(value, jnp.float32) for name, value in named})
    keys = jax.random.split(jax.random.key(seed), 20)
    after, out = jax.device_get(over_keys()(keys, user_with(npe, clickbait), FIRST, ENV.world.replace(users=users)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((after, out)))
    low, high = ENV.spec.user_range
    assert (out.reward > 0).all() and (out.feedback >= 0).all() and (out.feedback <= [1.0, 100.0]).all()
    assert (out.obs.user >= low).all() and (out.obs.user <= high + 1e-5).all()
    assert (after.clickbait >= 0).all() and (after.clickbait <= 1).all()


def simulate(name: str, users: int, **options: float) -> Simulated:
    env = make_env("long_term_satisfaction", **options)
    facts = ItemFacts(rows=env.world.item_table, surprise=jnp.zeros(1))
    run = make_simulation(env, baselines(env)[name], max_steps=100)
    return run(env.world, facts, jax.random.key(11), users)


@pytest.mark.parametrize(
    ("name", "mean", "sd"),
    [("random", 948.5, 163), ("most_clickbait", 1116.9, 189), ("least_clickbait", 786.2, 133)],
)
def test_reference_policies_have_the_published_returns(name: str, mean: float, sd: float) -> None:
    got = simulate(name, 10_000)
    assert (got.lengths == 60).all()
    assert abs(got.mean - mean) < 4 * got.returns.std(ddof=1) / 10_000**0.5  # at most 0.7%
    assert abs(got.returns.std(ddof=1) / sd - 1) < 0.04


def test_clickbait_pays_at_the_published_sensitivity_and_ruins_at_a_higher_one() -> None:
    most, least = (simulate(f"{which}_clickbait", 1000, sensitivity=0.25).mean for which in ("most", "least"))
    assert least > 2.5 * most  # 1456 and 547, of 50,000 users
