"""Rollouts do not know what an action is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.envs import auto_reset
from jaxrec.learn import make_learner, replay
from jaxrec.learn.rollout import Decision, experience_metrics, rollout, start_users
from jaxrec.types import Array, Env, EnvSpec, Observation, StepOutput, VectorAction, World


def pull_env() -> Env:
    """Two steps; the reward is the sum of the two numbers of the action, which `user` remembers."""
    spec = EnvSpec(name="pull", action=VectorAction(size=2), num_items=1, feedback=("pull",), user_size=2)

    def reset(key: Array, world: World) -> tuple[tuple[Array, Array], Observation]:
        return (jnp.zeros(2), jnp.asarray(0)), Observation(user=jnp.zeros(2))

    def step(key: Array, state: tuple[Array, Array], action: Array, world: World):
        state = action, state[1] + 1
        obs, reward, no = Observation(user=action), action.sum(), jnp.asarray(False)
        return state, StepOutput(obs, reward, state[1] >= 2, no, reward.reshape(1, 1), obs)

    return auto_reset(Env(reset, step, World(item_table=jnp.zeros((1, 1))), spec))


def test_actions_that_are_vectors_travel_through_a_rollout_as_they_are() -> None:
    env = pull_env()
    users = start_users(env, jax.random.key(0), 4, 3, env.world)

    def act(key: Array, obs: Observation) -> Decision:
        noise = jax.vmap(lambda k: jax.random.normal(k, obs.user.shape[1:]))(key)
        return Decision(obs.user + noise, extras=noise)

    users, steps = rollout(env, act, lambda extras, *_: extras, users, env.world, horizon=6)
    assert (steps.action.shape, steps.action.dtype) == ((6, 4, 3, 2), jnp.float32)
    np.testing.assert_allclose(steps.reward, steps.action.sum(-1), rtol=1e-6)
    np.testing.assert_array_equal(
        steps.terminated, np.broadcast_to(np.array([0, 1] * 3, bool)[:, None, None], (6, 4, 3))
    )
    np.testing.assert_array_equal(steps.obs.user[1::2], steps.action[::2])  # within an episode
    np.testing.assert_array_equal(steps.obs.user[::2], np.zeros((3, 4, 3, 2)))  # of the users who came in their place
    metrics = experience_metrics(users, steps)
    np.testing.assert_allclose(metrics["episode_return"], (steps.reward[4] + steps.reward[5]).mean(), rtol=1e-6)
    np.testing.assert_allclose(metrics["reward"], steps.reward.mean(), rtol=1e-6)


def test_a_replay_keeps_actions_that_are_vectors() -> None:
    action = pull_env().spec.action
    example = replay.Experience(
        obs=Observation(user=jnp.zeros((1, 2, 2))),
        action=action.zeros((1, 2)),
        item_reward=jnp.zeros((1, 2, 1)),
        terminated=jnp.zeros((1, 2), bool),
        truncated=jnp.zeros((1, 2), bool),
    )
    half = jnp.arange(16.0).reshape(1, 4, 2, 2) + 0.5
    new = replay.Experience(
        obs=Observation(user=half),
        action=half,
        item_reward=half[..., :1],
        terminated=jnp.zeros((1, 4, 2), bool),
        truncated=jnp.zeros((1, 4, 2), bool),
    )
    state = replay.add(replay.empty(example, 4), new)
    batch = replay.sample(jax.random.split(jax.random.key(0), 1), state, 50, 1, 0.9)
    assert (batch.action.shape, batch.action.dtype) == ((1, 50, 2), jnp.float32)
    np.testing.assert_array_equal(batch.action, batch.obs.user)
    np.testing.assert_array_equal(batch.next_obs.user, batch.action + 4)  # two users of two numbers a step


def test_a_learner_of_slates_refuses_environments_whose_actions_are_vectors() -> None:
    with pytest.raises(InputError, match="pull: an action is a vector of 2 numbers, expected a slate") as caught:
        make_learner("dqn", pull_env())
    assert "\n" not in str(caught.value)
