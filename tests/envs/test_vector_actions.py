"""Users whose slates are named by vectors, alone and through the adapters."""

import warnings

import chex
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import jaxrec.gym
from jaxrec import auto_reset, make_env, vector_actions
from jaxrec.checks import InputError
from jaxrec.config.action import ActionConfig
from jaxrec.config.logged import LoggedConfig
from jaxrec.envs import logged, time_limit, to_gymnasium, to_gymnasium_vector, to_gymnax
from jaxrec.envs.answers import make_answers
from jaxrec.types import VectorAction
from tests.envs.test_logged import CONFIG, log, world  # noqa: F401  fixtures of the users of a log
from tests.tiny_tastes import two_people

ITEM = {"name": "item", "low": 0.0, "high": 1.0}


def test_sardines_users_are_shown_the_items_nearest_to_the_vector() -> None:
    slates = make_env("sardine", preset="SlateTopK-Bored")
    vectors = make_env("sardine", preset="SlateTopK-Bored", action=ITEM)
    assert vectors.spec.action == VectorAction(size=10, low=0.0, high=1.0, of="item", slate=10)
    assert vectors.spec.shown == slates.spec.slate_size == 10
    key, point = jax.random.key(3), jax.random.uniform(jax.random.key(4), (10,))
    (state, first), (inner, obs) = (env.reset(key, slates.world) for env in (vectors, slates))
    chex.assert_trees_all_equal(first, obs)
    distance = np.square(np.asarray(slates.world.item_table) - np.asarray(point)).sum(-1)
    nearest = jnp.asarray(np.argsort(distance, kind="stable")[:10].astype(np.int32))
    _, got = vectors.step(key, state, point, slates.world)
    _, want = slates.step(key, inner, nearest, slates.world)
    chex.assert_trees_all_equal(got, want)
    # A vector beyond the range is the nearest one within it.
    _, beyond = vectors.step(key, state, point + 7.0, slates.world)
    _, corner = vectors.step(key, state, jnp.ones(10), slates.world)
    chex.assert_trees_all_equal(beyond, corner)


def test_items_of_the_history_are_not_named_again() -> None:
    env = vector_actions(two_people(requests=2))
    state, _ = env.reset(jax.random.key(0), env.world)
    point, seen = jnp.full(env.spec.action.shape, 0.3), []
    for n in range(2):
        state, out = env.step(jax.random.key(n), state, point, env.world)
        assert out.obs.history_items is not None
        seen.append(int(out.obs.history_items[-1]))
    assert seen[0] != seen[1]


def test_weights_of_behaviours_rank_by_what_the_response_model_expects(world) -> None:  # noqa: F811
    config = LoggedConfig(**{**vars(CONFIG), "repeats": False, "slate_size": 3, "requests": 1, "history_length": 4})
    slates = logged.make(config, world)
    env = vector_actions(slates, "behaviours")
    assert env.spec.action == VectorAction(size=1, low=-1.0, high=1.0, of="behaviours", slate=3)
    state, _ = slates.reset(jax.random.key(1), world)
    expected = make_answers(config, world.users).probabilities(
        world.users, state.person, state.history, world.recommendable
    )
    chance = np.array(expected)[:, 0]
    chance[np.isin(np.asarray(world.recommendable), np.asarray(state.history.items))] = np.nan
    order = np.argsort(chance, kind="stable")  # what was seen comes last
    order = order[~np.isnan(chance[order])]
    for weight, want in ((1.0, order[::-1][:3]), (-1.0, order[:3])):
        start, _ = env.reset(jax.random.key(1), world)
        _, out = env.step(jax.random.key(2), start, jnp.array([weight]), world)
        assert out.obs.history_items is not None
        assert set(out.obs.history_items[-3:].tolist()) == set(np.asarray(world.recommendable)[want].tolist())


def test_people_with_tastes_hide_what_weights_of_behaviours_would_need() -> None:
    with pytest.raises(InputError, match=r"^env\.action\.name: behaviours, but logged has no model .* last_rows\.$"):
        vector_actions(two_people(), "behaviours")
    with pytest.raises(InputError, match=r"env\.action\.name: behaviours, but answers of people with tastes"):
        LoggedConfig(action=ActionConfig(name="behaviours"))


def test_wrappers_keep_the_vectors() -> None:
    env = auto_reset(time_limit(make_env("sardine", action=ITEM), 2))
    state, _ = env.reset(jax.random.key(0), env.world)
    cut = []
    for n in range(4):
        state, out = env.step(jax.random.key(n), state, jnp.full(10, 0.5), env.world)
        cut.append(bool(out.truncated))
    assert cut == [False, True, False, True]


def test_gymnasium_takes_vectors_in_a_box() -> None:
    env = gymnasium.make(jaxrec.gym.env_id("sardine"), preset="SingleItem-Static", action=ITEM)
    assert env.action_space == gymnasium.spaces.Box(0.0, 1.0, (10,), np.float32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Box observation space (minimum|maximum) value is -?infinity")
        check_env(env.unwrapped)
    env.reset(seed=0)
    with pytest.raises(InputError, match="expected finite numbers, got NaN"):
        env.unwrapped.step(np.full(10, np.nan))
    with pytest.raises(InputError, match="'query' names slates, but these users take vectors; set actions to vector"):
        to_gymnasium(make_env("sardine", action=ITEM), actions="query")
    with pytest.raises(InputError, match="actions: no 'vector'"):
        to_gymnasium(make_env("sardine"), actions="vector")


def test_many_users_do_as_each_alone() -> None:
    made = make_env("sardine", preset="SlateTopK-Bored", action=ITEM)
    many, one = to_gymnasium_vector(made, 2), to_gymnasium(made)
    many.reset(seed=5), one.reset(seed=6)
    actions = np.random.default_rng(0).random((3, 2, 10)).astype(np.float32)
    for action in actions:
        _, rewards, _, _, info = many.step(action)
        _, reward, _, _, alone = one.step(action[1])
        assert rewards[1] == reward
        np.testing.assert_array_equal(info["feedback"][1], alone["feedback"])


def test_gymnax_takes_vectors() -> None:
    pytest.importorskip("gymnax", reason="needs gymnax, which caps jax below 0.12")
    made = make_env("sardine", preset="SingleItem-Static", action=ITEM)
    env = to_gymnax(made)
    space = env.action_space()
    assert (env.num_actions, space.shape, space.low, space.high) == (10, (10,), 0.0, 1.0)
    key, action = jax.random.key(0), space.sample(jax.random.key(1))
    _, state = env.reset(key, env.default_params)
    inner, _ = made.reset(key, made.world)
    _, _, reward, _, info = env.step_env(key, state, action, env.default_params)
    _, want = made.step(key, inner, action, made.world)
    assert reward == want.reward and info["feedback"].tolist() == want.feedback.tolist()
