import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from jaxrec.envs import auto_reset, make_env
from jaxrec.types import Array, Env, EnvSpec, Observation, StepOutput, World

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

    spec = EnvSpec(name="counting", slate_size=1, num_items=2, feedback=("none",), user_size=2)
    return Env(reset, step, World(item_table=jnp.eye(2)), spec)


def play(env: Env, annoying: int, steps: int) -> list[StepOutput]:
    state, _ = env.reset(jax.random.key(0), env.params)
    step, outs = jax.jit(env.step), []
    for key in jax.random.split(jax.random.key(1), steps):
        state, out = step(key, state, jnp.array([annoying]), env.params)
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
    state, _ = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(jax.random.key(0), 4), env.params)
    step = jax.jit(jax.vmap(env.step, in_axes=(0, 0, 0, None)))
    actions = jnp.array([[0], [1], [0], [1]])
    for n in range(3):
        state, out = step(jax.random.split(jax.random.key(n + 1), 4), state, actions, env.params)
    assert out.terminated.tolist() == [False, True, False, True]
    assert state.steps.tolist() == [3, 0, 3, 0] and state.patience.tolist() == [3, 3, 3, 3]


def test_reset_spec_and_parameters_are_those_of_the_wrapped_environment() -> None:
    env = counting_env()
    wrapped = auto_reset(env)
    assert wrapped.reset is env.reset and wrapped.params is env.params
    assert wrapped.spec == dataclasses.replace(env.spec, auto_reset=True)


def test_a_new_user_has_a_budget_of_their_own() -> None:
    env = auto_reset(make_env("interest_evolution"))
    state, _ = env.reset(jax.random.key(0), env.params)
    step = jax.jit(env.step)
    nearly_gone = state.replace(budget=jnp.asarray(0.25))
    after, out = step(jax.random.key(3), nearly_gone, jnp.array([0, 1, 2]), env.params)
    assert out.terminated and after.budget == pytest.approx(200.0)
    assert out.reward <= 0.25
    assert not np.array_equal(out.obs.user, out.final_obs.user)
    np.testing.assert_array_equal(after.user, out.obs.user)
    np.testing.assert_array_equal(after.candidates, out.obs.candidates)
