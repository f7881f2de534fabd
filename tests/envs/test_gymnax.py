import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec import make_env
from jaxrec.checks import InputError
from jaxrec.envs import auto_reset, to_gymnax
from tests.envs.short_visits import short_visits

gymnax = pytest.importorskip("gymnax", reason="needs gymnax, which caps jax below 0.12")
from gymnax.environments import environment, spaces  # noqa: E402
from gymnax.wrappers.purerl import LogWrapper  # noqa: E402


def test_it_is_a_gymnax_environment_with_the_properties_that_loops_read() -> None:
    env = to_gymnax(make_env("interest_evolution"))
    params = env.default_params
    assert isinstance(env, environment.Environment) and env.name == "interest_evolution"
    assert env.num_actions == 10 and params.max_steps_in_episode == 10_000
    assert env.observation_space(params).shape == (220,) and env.action_space(params).shape == (10,)
    single = to_gymnax(make_env("interest_evolution", slate_size=1))
    assert isinstance(single.action_space(), spaces.Discrete) and single.action_space().n == single.num_actions == 10
    slates = to_gymnax(make_env("interest_evolution"), actions="slate").action_space()
    drawn = jax.vmap(slates.sample)(jax.random.split(jax.random.key(0), 200))
    assert drawn.shape == (200, 3) and (drawn.min(), drawn.max()) == (0, 9) and slates.contains(drawn)
    sets = to_gymnax(make_env("interest_evolution"), actions="combinations")
    assert sets.action_space().n == sets.num_actions == 120
    queries = to_gymnax(make_env("interest_evolution"), actions="query")
    assert queries.action_space().shape == (20,) and queries.num_actions == 20


def test_a_step_is_that_of_the_environment_under_the_same_key() -> None:
    env = make_env("interest_evolution")
    theirs = to_gymnax(env, actions="permutations", observation="dict")
    key_reset, key_step = jax.random.split(jax.random.key(0))
    state, first = env.reset(key_reset, env.world)
    obs, their_state = theirs.reset(key_reset, theirs.default_params)
    np.testing.assert_array_equal(obs["user"], first.user)
    _, want = env.step(key_step, state, jnp.array([0, 1, 3]), env.world)
    obs, after, reward, terminated, info = theirs.step_env(key_step, their_state, 1, theirs.default_params)
    assert info["slate"].tolist() == [0, 1, 3] and reward == want.reward and not terminated
    np.testing.assert_array_equal(obs["candidates"], want.obs.candidates)
    np.testing.assert_array_equal(info["feedback"], want.feedback)
    np.testing.assert_array_equal(theirs.get_obs(after)["candidates"], want.obs.candidates)


def test_users_who_left_or_were_cut_are_replaced_with_their_last_observation_in_the_info() -> None:
    env = to_gymnax(short_visits(), actions="slate", observation="dict")
    params = env.default_params
    obs, state = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(jax.random.key(0), 16), params)
    leaves = np.asarray(obs["user"][:, 0] > 0.5)
    assert 0 < leaves.sum() < 16
    step = jax.vmap(env.step, in_axes=(0, 0, 0, None))
    flags = []
    for n in range(3):
        names = np.asarray(obs["user"][:, 0])
        keys = jax.random.split(jax.random.key(n + 1), 16)
        obs, state, _, terminated, truncated, info = step(keys, state, jnp.ones((16, 2), jnp.int32), params)
        done = np.asarray(terminated | truncated)
        flags.append((np.asarray(terminated), np.asarray(truncated)))
        np.testing.assert_array_equal(info["final_observation"]["user"][:, 0], names)
        np.testing.assert_array_equal(np.asarray(obs["user"][:, 0]) == names, ~done)
        np.testing.assert_array_equal(obs["user"][:, 1] == 0, done)
        np.testing.assert_array_equal(state.time == 0, done)
    np.testing.assert_array_equal(flags[1][0], leaves)
    assert not flags[1][1].any() and not flags[0][0].any() and not flags[0][1].any()
    np.testing.assert_array_equal(flags[2][1], ~leaves)


def test_the_step_limit_of_the_parameters_truncates_but_never_who_left() -> None:
    env = to_gymnax(short_visits(), actions="slate", max_steps=2)
    assert env.default_params.max_steps_in_episode == 2
    keys, params = jax.random.split(jax.random.key(0), 16), env.default_params
    for limit, when in ((2, 1), (1, 0)):
        params = params.replace(max_steps_in_episode=limit)
        obs, state = jax.vmap(env.reset, in_axes=(0, None))(keys, params)
        leaves = (obs[:, 0] > 0.5) & (limit == 2)
        for n in range(when + 1):
            action = jnp.zeros((16, 2), jnp.int32)
            out = jax.vmap(env.step, in_axes=(0, 0, 0, None))(keys, state, action, params)
            obs, state, _, terminated, truncated, _ = out
            np.testing.assert_array_equal(terminated, leaves & (n == when))
            np.testing.assert_array_equal(truncated, ~leaves & (n == when))


def test_a_loop_written_for_gymnax_runs_as_it_is() -> None:
    def rollout(env, params, key):  # names nothing of jaxrec
        env = LogWrapper(env)

        def act_and_step(carry, key):
            obs, state = carry
            key_act, key_step = jax.random.split(key)
            action = env.action_space(params).sample(key_act)
            obs, state, reward, terminated, truncated, info = env.step(key_step, state, action, params)
            inside = env.observation_space(params).contains(obs)
            return (obs, state), (reward, terminated | truncated, info["returned_episode_returns"], inside)

        key_reset, key_steps = jax.random.split(key)
        return jax.lax.scan(act_and_step, env.reset(key_reset, params), jax.random.split(key_steps, 250))[1]

    env = to_gymnax(make_env("interest_evolution"))
    keys = jax.random.split(jax.random.key(0), 64)
    with jax.numpy_dtype_promotion("standard"):  # gymnax's own wrapper adds truth values to numbers
        reward, done, returns, inside = jax.jit(jax.vmap(lambda key: rollout(env, env.default_params, key)))(keys)
    assert inside.all() and set(np.unique(reward)) >= {0.0, 4.0}
    assert done.sum() > 100
    assert abs(np.asarray(returns)[np.asarray(done)].mean() - 160) < 8  # random slates


@pytest.mark.parametrize("observation", ["vector", "dict"])
@pytest.mark.parametrize("history", ["mean", "rows"])
def test_spaces_hold_every_observation(observation: str, history: str) -> None:
    env = to_gymnax(short_visits(), observation=observation, history=history)
    params = env.default_params
    step, space = jax.jit(env.step), env.observation_space(params)
    obs, state = env.reset(jax.random.key(0), params)
    for n in range(12):
        assert space.contains(obs)
        key_act, key_step = jax.random.split(jax.random.key(n))
        obs, state, *_ = step(key_step, state, env.action_space(params).sample(key_act), params)
    assert jax.tree.structure(space.sample(jax.random.key(0))) is not None


def test_environments_that_replace_users_themselves_are_refused() -> None:
    with pytest.raises(InputError, match="to_gymnax: gymnax replaces users itself"):
        to_gymnax(auto_reset(short_visits()))
