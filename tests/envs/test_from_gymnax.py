import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrec
from jaxrec.checks import InputError
from jaxrec.config.on_policy import PpoConfig
from jaxrec.config.policy import PolicyConfig
from jaxrec.types import SlateAction, VectorAction

gymnax = pytest.importorskip("gymnax", reason="needs gymnax, which caps jax below 0.12")
from gymnax.environments import spaces  # noqa: E402


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0", "Catch-bsuite"])
def test_steps_are_those_of_gymnax(name: str) -> None:
    theirs, params = gymnax.make(name)
    step = jax.jit(theirs.step_env)
    ours = jaxrec.from_gymnax(theirs)
    key = jax.random.key(3)
    state, first = jax.jit(ours.reset)(key, ours.world)
    with jax.numpy_dtype_promotion("standard"):
        obs, their_state = theirs.reset_env(key, params)
    np.testing.assert_array_equal(first.user, np.ravel(obs))
    act = theirs.action_space(params).sample
    ended = 0
    for number in range(40):
        key_act, key_step = jax.random.split(jax.random.fold_in(key, number))
        action = act(key_act)
        with jax.numpy_dtype_promotion("standard"):
            obs, their_state, reward, terminated, _ = step(key_step, their_state, action, params)
        state, out = jax.jit(ours.step)(key_step, state, jnp.reshape(action, -1), ours.world)
        np.testing.assert_allclose(out.obs.user, np.ravel(obs), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(out.reward, np.ravel(reward)[0], rtol=1e-6)
        np.testing.assert_allclose(out.feedback, [[out.reward]])
        assert bool(out.terminated) == bool(np.ravel(terminated)[0])
        assert bool(out.truncated) == (bool(theirs.is_truncated(their_state, params)) and not out.terminated)
        ended += bool(out.terminated) or bool(out.truncated)
    assert ended or name not in ("CartPole-v1", "Catch-bsuite")


def test_actions_and_observations_have_their_sizes_and_bounds() -> None:
    cart = jaxrec.from_gymnax(gymnax.make("CartPole-v1")[0])
    assert cart.spec.action == SlateAction(size=1) and (cart.spec.num_items, cart.spec.user_size) == (2, 4)
    swing = jaxrec.from_gymnax(gymnax.make("Pendulum-v1")[0])
    assert swing.spec.action == VectorAction(size=1, low=-2.0, high=2.0, of="numbers") and swing.spec.user_size == 3


def test_parameters_are_arguments_of_the_world() -> None:
    env, params = gymnax.make("CartPole-v1")
    ours = jaxrec.from_gymnax(env, params.replace(max_steps_in_episode=1))
    state, _ = ours.reset(jax.random.key(0), ours.world)
    _, out = ours.step(jax.random.key(1), state, jnp.array([0]), ours.world)
    assert out.truncated and not out.terminated
    longer = ours.world.replace(users=ours.world.users.replace(max_steps_in_episode=jnp.int32(2)))
    assert not ours.step(jax.random.key(1), state, jnp.array([0]), longer)[1].truncated


@pytest.mark.slow
def test_ppo_learns_to_balance_the_pole() -> None:
    env = jaxrec.auto_reset(jaxrec.from_gymnax(gymnax.make("CartPole-v1")[0]))
    policy = PolicyConfig(width=32, hidden=(64,))
    config = PpoConfig(policy=policy, num_users=32, num_shards=8, horizon=64, learning_rate=3e-3, gamma=0.99)
    learner = jaxrec.make_learner("ppo", env, config)
    state = learner.init(jax.random.key(0), env.world)
    update = jax.jit(learner.update)
    returns = []
    for _ in range(30):
        state, metrics = update(state, env.world)
        returns.append(float(metrics["episode_return"]))
    assert returns[0] < 40 and returns[-1] > 120  # of each user's last episode; random ones last 22 steps


class Wrong:
    """The spaces of an environment, replaced."""

    name, default_params = "wrong", None

    def __init__(self, observed, acted):
        self.observation_space, self.action_space = (lambda params: observed), (lambda params: acted)


@pytest.mark.parametrize(
    ("observed", "acted", "message"),
    [
        (spaces.Discrete(3), spaces.Discrete(2), "observations of wrong are a Discrete, expected a Box"),
        (spaces.Box(0, 1, (2,)), spaces.Dict({}), "actions of wrong are a Dict, expected Discrete or a Box"),
        (spaces.Box(0, 1, (2,)), spaces.Box(np.array([0, -1]), np.array([1, 1]), (2,)), "different bounds"),
    ],
)
def test_other_spaces_are_refused(observed, acted, message: str) -> None:
    with pytest.raises(InputError, match=message):
        jaxrec.from_gymnax(Wrong(observed, acted))
