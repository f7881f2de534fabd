import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from jaxrec import make_env
from jaxrec.checks import InputError
from jaxrec.envs import auto_reset, episode_statistics, randomize
from jaxrec.types import Array, Env, EnvSpec, Observation, SlateAction, StepOutput, World

LEAVES_AFTER, CUT_AFTER = 3, 5


class Counter(struct.PyTreeNode):
    """A user who counts steps; `name` tells users apart."""

    name: Array
    steps: Array
    patience: Array


def observe(state: Counter) -> Observation:
    return Observation(user=jnp.stack([state.name, state.steps]))


def counting_env() -> Env:
    """Rewards 1 a step; a user leaves after action[0] == 1 at step 3, a session is cut after 5 steps."""

    def reset(key: Array, params: World) -> tuple[Counter, Observation]:
        state = Counter(jax.random.uniform(key) + 1.0, jnp.asarray(0.0), jnp.asarray(float(LEAVES_AFTER)))
        return state, observe(state)

    def step(key: Array, state: Counter, action: Array, params: World) -> tuple[Counter, StepOutput]:
        patience = state.patience - (action[0] == 1).astype(jnp.float32)
        state = state.replace(steps=state.steps + 1.0, patience=patience)
        obs = observe(state)
        left = patience <= 0.0
        return state, StepOutput(
            obs=obs,
            reward=jnp.asarray(1.0),
            terminated=left,
            truncated=~left & (state.steps >= CUT_AFTER),
            feedback=jnp.zeros((1, 1)),
            final_obs=obs,
        )

    spec = EnvSpec(name="counting", action=SlateAction(size=1), num_items=2, feedback=("none",), user_size=2)
    return Env(reset, step, World(item_table=jnp.eye(2)), spec)


def play(env: Env, annoying: int, steps: int) -> list[StepOutput]:
    state, _ = env.reset(jax.random.key(0), env.world)
    step, outs = jax.jit(env.step), []
    for key in jax.random.split(jax.random.key(1), steps):
        state, out = step(key, state, jnp.array([annoying]), env.world)
        outs.append(jax.device_get(out))
    return outs


def column(outs: list[StepOutput], name: str) -> list:
    return [getattr(out, name).item() for out in outs]


def test_users_who_left_are_replaced_and_the_flag_stays() -> None:
    outs = play(auto_reset(counting_env()), annoying=1, steps=7)
    assert column(outs, "terminated") == [False, False, True, False, False, True, False]
    assert not any(column(outs, "truncated"))
    assert [out.obs.user[1] for out in outs] == [1, 2, 0, 1, 2, 0, 1]
    assert [out.final_obs.user[1] for out in outs] == [1, 2, 3, 1, 2, 3, 1]
    assert column(outs, "reward") == [1.0] * 7


def test_a_cut_session_is_truncated_and_replaced_too() -> None:
    outs = play(auto_reset(counting_env()), annoying=0, steps=11)
    assert column(outs, "truncated") == [n in (4, 9) for n in range(11)]
    assert not any(column(outs, "terminated"))
    assert [out.obs.user[1] for out in outs] == [1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert outs[4].final_obs.user[1] == CUT_AFTER


def test_the_final_observation_is_the_old_users_and_the_next_one_the_new_users() -> None:
    outs = play(auto_reset(counting_env()), annoying=1, steps=6)
    names, last = [out.obs.user[0] for out in outs], [out.final_obs.user[0] for out in outs]
    assert names[0] == names[1] == last[2] != names[2]
    assert names[2] == names[3] == names[4] == last[5] != names[5]
    assert len(set(names)) == 3


def test_without_an_end_both_observations_are_the_same() -> None:
    for out in play(auto_reset(counting_env()), annoying=0, steps=4):
        np.testing.assert_array_equal(out.obs.user, out.final_obs.user)


def test_each_of_many_users_is_replaced_alone() -> None:
    env = auto_reset(counting_env())
    state, _ = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(jax.random.key(0), 4), env.world)
    step = jax.jit(jax.vmap(env.step, in_axes=(0, 0, 0, None)))
    actions = jnp.array([[0], [1], [0], [1]])
    for n in range(3):
        state, out = step(jax.random.split(jax.random.key(n + 1), 4), state, actions, env.world)
    assert out.terminated.tolist() == [False, True, False, True]
    assert state.steps.tolist() == [3, 0, 3, 0] and state.patience.tolist() == [3, 3, 3, 3]


def test_reset_spec_and_parameters_are_those_of_the_wrapped_environment() -> None:
    env = counting_env()
    wrapped = auto_reset(env)
    assert wrapped.reset is env.reset and wrapped.world is env.world
    assert wrapped.spec == dataclasses.replace(env.spec, auto_reset=True)


def test_a_new_user_has_a_budget_of_their_own() -> None:
    env = auto_reset(make_env("interest_evolution"))
    state, _ = env.reset(jax.random.key(0), env.world)
    step = jax.jit(env.step)
    nearly_gone = state.replace(budget=jnp.asarray(0.25))
    after, out = step(jax.random.key(3), nearly_gone, jnp.array([0, 1, 2]), env.world)
    assert out.terminated and after.budget == pytest.approx(200.0)
    assert out.reward <= 0.25
    assert not np.array_equal(out.obs.user, out.final_obs.user)
    np.testing.assert_array_equal(after.user, out.obs.user)
    np.testing.assert_array_equal(after.candidates, out.obs.candidates)


@pytest.mark.parametrize(
    "wrap", [lambda env: episode_statistics(auto_reset(env)), lambda env: auto_reset(episode_statistics(env))]
)
def test_statistics_count_the_running_and_the_last_episode_in_either_order(wrap: Callable[[Env], Env]) -> None:
    env = wrap(counting_env())
    state, _ = env.reset(jax.random.key(0), env.world)
    step, seen = jax.jit(env.step), []
    for n, annoying in enumerate([0, 0, 0, 0, 0, 1, 1, 1, 0]):  # cut after five steps, left after three, one more
        state, _ = step(jax.random.key(n), state, jnp.array([annoying]), env.world)
        seen.append([state.total, state.steps, state.last_total, state.last_steps, state.episodes])
    counters = np.array(seen).tolist()
    assert counters[3] == [4, 4, 0, 0, 0]
    assert counters[4] == [0, 0, 5, 5, 1]
    assert counters[6] == [2, 2, 5, 5, 1]
    assert counters[7] == [0, 0, 3, 3, 2]
    assert counters[8] == [1, 1, 3, 3, 2]


def test_statistics_of_many_users_are_their_own_and_their_mean_leaves_out_who_never_ended() -> None:
    env = episode_statistics(auto_reset(counting_env()))
    state, _ = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(jax.random.key(0), 3), env.world)
    step = jax.jit(jax.vmap(env.step, in_axes=(0, 0, 0, None)))
    assert jnp.isnan(state.last_mean)
    for n in range(4):
        keys = jax.random.split(jax.random.key(n), 3)
        state, _ = step(keys, state, jnp.array([[0], [1], [1]]), env.world)
    assert state.steps.tolist() == [4, 1, 1] and state.last_steps.tolist() == [0, 3, 3]
    assert state.last_mean == 3.0


def test_statistics_without_auto_reset_stay_at_the_end_of_the_episode() -> None:
    env = episode_statistics(counting_env())
    state, _ = env.reset(jax.random.key(0), env.world)
    for n in range(3):
        state, out = env.step(jax.random.key(n), state, jnp.array([1]), env.world)
    assert out.terminated and state.total == state.last_total == 3.0


def own_numbers(**ranges: tuple[float, float]) -> Env:
    return randomize(make_env("interest_evolution"), ranges)


def test_every_user_draws_numbers_of_their_own_within_the_bounds() -> None:
    env = own_numbers(start_budget=(100.0, 300.0), topic_quality=(-1.0, 1.0))
    keys = jax.random.split(jax.random.key(0), 2000)
    state, _ = jax.jit(jax.vmap(env.reset, in_axes=(0, None)))(keys, env.world)
    budget, quality = state.drawn["start_budget"], state.drawn["topic_quality"]
    assert budget.shape == (2000,) and quality.shape == (2000, 20)
    assert budget.min() >= 100 and budget.max() <= 300 and jnp.unique(budget).size > 1900
    assert abs(budget.mean() - 200) < 4 * 200 / 12**0.5 / 2000**0.5
    assert jnp.abs(quality).max() <= 1 and abs(jnp.corrcoef(quality[:, 0], quality[:, 1])[0, 1]) < 0.1
    np.testing.assert_array_equal(state.env_state.budget, budget)  # the reset lives by them too


def test_numbers_last_a_users_life_reach_the_step_and_are_drawn_anew_at_auto_reset() -> None:
    env = auto_reset(own_numbers(document_minutes=(1.0, 2.0)))
    keys = jax.random.split(jax.random.key(1), 64)
    state, _ = jax.vmap(env.reset, in_axes=(0, None))(keys, env.world)
    step = jax.jit(jax.vmap(env.step, in_axes=(0, 0, None, None)))
    first = state.drawn["document_minutes"]
    after, out = step(keys, state, jnp.array([0, 1, 2]), env.world)
    np.testing.assert_array_equal(after.drawn["document_minutes"], first)
    clicked = out.reward > 0
    assert clicked.sum() > 10
    np.testing.assert_array_equal(out.reward[clicked], first[clicked])
    gone = after.replace(env_state=after.env_state.replace(budget=jnp.full(64, 1e-3)))
    after, out = step(jax.random.split(jax.random.key(2), 64), gone, jnp.array([0, 1, 2]), env.world)
    again = after.drawn["document_minutes"]
    np.testing.assert_array_equal(again != first, out.terminated)
    assert out.terminated.any() and again.min() >= 1 and again.max() <= 2
    assert env.world.users.document_minutes == 4.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: own_numbers(start_budge=(1.0, 2.0)), "no 'start_budge'; did you mean 'start_budget'"),
        (lambda: own_numbers(start_budget=(2.0, 1.0)), "randomize.start_budget, highest: expected a value at least 2"),
        (lambda: own_numbers(start_budget=(0.0, float("inf"))), "randomize.start_budget: expected a value"),
        (lambda: own_numbers(start_budget=3.0), r"expected \(lowest, highest\), got 3.0"),
        (lambda: randomize(counting_env(), {"x": (0.0, 1.0)}), "the users of counting have no numbers"),
        (lambda: randomize(auto_reset(counting_env()), {}), "write auto_reset"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(make: Callable[[], Env], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
