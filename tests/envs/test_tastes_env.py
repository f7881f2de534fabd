"""People with tastes of their own: showing items changes nobody, and nothing is shown twice in a visit."""

import dataclasses
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxrec import make_env
from jaxrec.checks import InputError
from jaxrec.config.logged import ComebackConfig, LoggedConfig, TemperConfig
from jaxrec.data.log import Log
from jaxrec.envs import auto_reset, episode_statistics, logged, randomize, time_limit
from jaxrec.envs.logged import observed_rows
from jaxrec.envs.logged_world import load_simulator, make_world, save_simulator
from jaxrec.nets.effects import Effects
from jaxrec.nets.offers import exclude_history
from jaxrec.nets.policy import to_items
from jaxrec.nets.tastes import Link, without_persons
from jaxrec.ops.slates import top_slate
from jaxrec.supervised.comeback import ComebackModel
from jaxrec.types import PADDING, Env, World
from tests.tiny_tastes import random_log, random_tastes

ITEMS, USERS, VERSIONS, WIDTH = 24, 4, 3, 2
SHOWN = np.arange(ITEMS) % 6 != 5  # 20 are recommendable
CONFIG = LoggedConfig(slate_size=3, requests=5, reward={"liked": 2.0, "disliked": -0.5})
LINK = Link(*(jnp.array(x) for x in ([1.5, 1.0], [0.2, -0.3], [0.05, 0.0], [0.95, 0.9], [1.0, 1.0])))


def make_log() -> Log:
    """Users of 1, 0, 8 and 3 rows: the second has none, so nobody starts there."""
    return random_log(np.array([1, 0, 8, 3]), items=ITEMS)


def make(world: World, config: LoggedConfig = CONFIG) -> Env:
    env = logged.make(config, world)
    return env._replace(reset=jax.jit(env.reset), step=jax.jit(env.step))


@pytest.fixture(scope="module")
def world() -> World:
    draws = np.random.default_rng(5).normal(size=(VERSIONS, USERS, 2, 1 + WIDTH)).astype(np.float32)
    tastes = random_tastes(ITEMS, WIDTH, link=LINK)
    tastes = tastes.replace(draws=jnp.asarray(draws), means=jnp.asarray(draws.mean(0)))
    return make_world(tastes, make_log(), np.eye(ITEMS, dtype=np.float32), ITEMS, SHOWN)


def chances(world: World, theta: np.ndarray) -> np.ndarray:
    """P of every kind on every item for theta [F, D], by NumPy: [I, F]."""
    tastes = jax.tree.map(np.asarray, world.users.tastes)
    logits = tastes.item_logits + theta[:, 0] + tastes.item_vectors @ theta[:, 1:].T
    p = 1 / (1 + np.exp(-(tastes.link.scale * logits + tastes.link.shift)))
    return tastes.link.low + (tastes.link.high - tastes.link.low) * p


def answers(state, world: World, items=None) -> np.ndarray:
    return np.asarray(jax.jit(lambda s, w: logged.answer_probabilities(s, w, CONFIG, items))(state, world))


def test_answers_are_those_of_the_drawn_version(world: World) -> None:
    state, _ = make(world).reset(jax.random.key(0), world)
    want = chances(world, np.asarray(state.person))
    np.testing.assert_allclose(answers(state, world), want, rtol=1e-5)
    np.testing.assert_allclose(answers(state, world, jnp.array([7, 2])), want[[7, 2]], rtol=1e-5)


def test_showing_items_changes_no_answer(world: World) -> None:
    env = make(world)
    state, _ = env.reset(jax.random.key(1), world)
    before, history = answers(state, world), state.history
    for n in range(4):
        state, _ = env.step(jax.random.key(n), state, jnp.arange(3, dtype=jnp.int32) + 3 * n, world)
        np.testing.assert_array_equal(answers(state, world), before)
    assert not jnp.array_equal(state.history.items, history.items)


def test_a_comeback_meets_the_same_person() -> None:
    leave, comeback = TemperConfig(start=2.5, target=1.0), ComebackConfig(sessions=3)
    config = dataclasses.replace(CONFIG, reward={"liked": 1e-6}, leave=leave, comeback_model=comeback)
    width = 2 * (1 + WIDTH)
    tastes = random_tastes(ITEMS, WIDTH)
    theta = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 2, 1 + WIDTH)), jnp.float32)
    tastes = tastes.replace(draws=theta, means=theta[0])
    model = ComebackModel(jnp.zeros((1, width)), jnp.zeros(1), jnp.asarray(0.1), jnp.asarray(0.4), source="seed")
    world = make_world(tastes, make_log(), np.eye(ITEMS, dtype=np.float32), ITEMS, comeback=model)
    env = make(world, config)
    state, _ = env.reset(jax.random.key(0), world)
    person, sessions = state.person, []
    for n in range(5):
        state, _ = env.step(jax.random.key(n), state, jnp.arange(3, dtype=jnp.int32) + 3 * n, world)
        np.testing.assert_array_equal(state.person, person)
        sessions.append(int(state.session))
    assert sessions == [0, 1, 1, 2, 2]


def visit(world: World, config: LoggedConfig, users: int, seed: int = 0) -> np.ndarray:
    """Items shown to users in one visit when the same fixed scores rank them: [users, requests K]."""
    env = logged.make(config, world)
    scores = jnp.arange(world.num_recommendable, dtype=jnp.float32)

    def play(key):
        def request(carry, key):
            state, obs = carry
            offered = scores if config.repeats else exclude_history(scores, obs, world)
            slate = to_items(top_slate(offered, config.slate_size), obs, world)
            state, out = env.step(key, state, slate, world)
            return (state, out.obs), slate

        _, slates = jax.lax.scan(request, env.reset(key, world), jax.random.split(key, config.requests))
        return slates.reshape(-1)

    return np.asarray(jax.jit(jax.vmap(play))(jax.random.split(jax.random.key(seed), users)))


def test_nothing_is_shown_twice_in_a_visit_unless_repeats_allow_it(world: World) -> None:
    shown = visit(world, CONFIG, 50)
    assert (np.diff(np.sort(shown, axis=1), axis=1) > 0).all()
    assert set(shown.ravel()) <= set(np.flatnonzero(SHOWN))
    again = visit(world, dataclasses.replace(CONFIG, repeats=True), 5)
    np.testing.assert_array_equal(again, np.tile(np.flatnonzero(SHOWN)[:-4:-1], (5, 5)))


def test_nothing_of_the_visible_history_is_shown_again(world: World) -> None:
    env = make(world)
    for seed in range(20):
        _, obs = env.reset(jax.random.fold_in(jax.random.key(0), seed), world)
        scores = exclude_history(jnp.zeros(20), obs, world)
        barred = set(np.flatnonzero(SHOWN)[np.isinf(scores)])
        assert barred == set(obs.history_items.tolist()) & set(np.flatnonzero(SHOWN))


def test_feedback_has_the_probabilities_of_each_person(world: World) -> None:
    env = make(world)
    keys = jax.random.split(jax.random.key(3), 6000)
    states, _ = jax.jit(jax.vmap(env.reset, in_axes=(0, None)))(keys, world)
    slate = jnp.array([0, 7, 20], jnp.int32)
    step = jax.jit(jax.vmap(env.step, in_axes=(0, 0, None, None)))
    _, out = step(jax.random.split(jax.random.key(4), 6000), states, slate, world)
    p = answers(states, world, jnp.broadcast_to(slate, (6000, 3)))  # [B, K, F]
    assert p.std(0).max() > 0.1  # people differ
    sd = np.sqrt((p * (1 - p)).sum(0)) / len(p)
    assert (np.abs((np.asarray(out.feedback) - p).mean(0)) < 4 * sd).all()
    np.testing.assert_allclose(out.reward, out.feedback.sum(1) @ np.array([2.0, -0.5], np.float32), atol=1e-6)


def test_item_rewards_weigh_the_probabilities_of_what_may_be_shown(world: World) -> None:
    env = make(world)
    state, _ = env.reset(jax.random.key(5), world)
    want = chances(world, np.asarray(state.person))[SHOWN] @ np.array([2.0, -0.5])
    np.testing.assert_allclose(jax.jit(env.item_rewards)(state, world), want, rtol=1e-4, atol=1e-6)
    everything = logged.make(CONFIG, world.replace(recommendable=None))
    rewards = jax.jit(everything.item_rewards)(state, world.replace(recommendable=None))
    np.testing.assert_allclose(rewards[SHOWN], want, rtol=1e-4, atol=1e-6)
    assert rewards.shape == (ITEMS,)


@pytest.mark.parametrize(
    "wrap",
    [
        auto_reset,
        lambda env: time_limit(env, 3),
        lambda env: auto_reset(episode_statistics(env)),
        lambda env: episode_statistics(auto_reset(env)),
    ],
)
def test_wrappers_know_the_same_item_rewards(wrap, world: World) -> None:
    env = logged.make(CONFIG, world)
    wrapped = wrap(env)
    state, _ = wrapped.reset(jax.random.key(5), world)
    inner = state.env_state if hasattr(state, "env_state") else state
    np.testing.assert_array_equal(wrapped.item_rewards(state, world), env.item_rewards(inner, world))


def test_randomize_knows_the_item_rewards_of_each_users_own_numbers() -> None:
    env = make_env("interest_evolution")._replace(item_rewards=lambda state, world: world.users.start_budget[None])
    own = randomize(env, {"start_budget": (100.0, 300.0)})
    state, _ = own.reset(jax.random.key(0), own.world)
    np.testing.assert_array_equal(own.item_rewards(state, own.world), state.drawn["start_budget"][None])
    assert randomize(make_env("interest_evolution"), {"start_budget": (100.0, 300.0)}).item_rewards is None


def test_users_positions_and_versions_are_drawn_evenly(world: World) -> None:
    count = 6000
    reset = jax.jit(jax.vmap(make(world).reset, in_axes=(0, None)))
    states, _ = reset(jax.random.split(jax.random.key(6), count), world)
    draws = np.asarray(world.users.tastes.draws)  # [M, 3, F, D], the user without rows is left out
    assert draws.shape[:2] == (VERSIONS, 3)
    person = np.asarray(states.person)
    who = (person[:, None, None] == draws[None]).all((-1, -2))  # [B, M, U]
    assert (who.sum((1, 2)) == 1).all()
    table = who.sum(0)
    assert stats.chisquare(table.ravel()).pvalue > 1e-3  # users and versions, and every pair of them
    places = np.asarray(states.history.count)[who[:, :, 1].any(1)]  # of the user with eight rows
    assert stats.chisquare(np.bincount(places.astype(int), minlength=8)).pvalue > 1e-3
    alone = np.asarray(states.history.items)[who[:, :, 0].any(1)]
    assert (alone == PADDING).all()  # a single row has nothing before it


@pytest.mark.parametrize("groups", [False, True])
def test_what_makes_items_alike_is_saved_with_the_effects(world: World, tmp_path: Path, groups: bool) -> None:
    items = world.users.tastes.item_vectors.shape[0]
    directions = jnp.eye(3)[jnp.arange(items) % 3] if groups else None
    effects = Effects(jnp.array([-0.5, 0.1]), jnp.zeros(2), jnp.array([0.9, 0.8]), directions=directions)
    tastes = world.users.tastes.replace(effects=effects)
    world = world.replace(users=world.users.replace(tastes=tastes), tastes=without_persons(tastes))
    save_simulator(tmp_path / "simulator", world)
    chex.assert_trees_all_equal(load_simulator(tmp_path / "simulator"), world)


def test_a_saved_simulator_is_the_same_world_and_opens_by_name(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "simulator"
    save_simulator(folder, world)
    again = load_simulator(folder)
    chex.assert_trees_all_equal(again, world)
    assert again.users.feedback_names == world.users.feedback_names and again.users.members is None
    assert not list(folder.glob("response_*"))
    env = make_env("logged", path=str(folder), slate_size=3, requests=5, reward={"liked": 2.0, "disliked": -0.5})
    want = logged.make(CONFIG, world)
    assert env.spec == want.spec
    states, obs = zip(*(e.reset(jax.random.key(7), e.world) for e in (env, want)), strict=True)
    chex.assert_trees_all_equal(states[0], states[1])
    chex.assert_trees_all_equal(*obs)


@pytest.mark.parametrize(
    ("options", "recommendable", "want"),
    [
        ({}, 1000, 100),  # unless a visit is longer
        ({"requests": 40}, 1000, 120),
        ({}, 60, 57),  # a slate must remain
        ({}, 18, 15),  # the visit and one more slate: just enough
        ({"history_length": 15}, 1000, 15),
        ({"history_length": 997}, 1000, 997),
        ({"repeats": True}, 20, 100),
        ({"repeats": True, "history_length": 4}, 20, 4),
    ],
)
def test_a_history_holds_a_visit_and_leaves_a_slate(options: dict, recommendable: int, want: int) -> None:
    assert observed_rows(dataclasses.replace(CONFIG, **options), recommendable) == want


@pytest.mark.parametrize(
    ("options", "recommendable", "want"),
    [
        ({}, 17, "slates of 3 items, after 15 that are not shown again, do not fit into 17 recommendable items"),
        (
            {"history_length": 998},
            1000,
            "slates of 3 items, after 998 that are not shown again, do not fit into 1000 recommendable items",
        ),
        (
            {"history_length": 14},
            1000,
            r"14 rows do not hold the 15 items of a visit \(5 requests of 3\), so items would be shown twice; raise it "
            "to 15",
        ),
    ],
)
def test_visits_that_do_not_fit_are_refused_in_one_line(options: dict, recommendable: int, want: str) -> None:
    with pytest.raises(InputError, match=rf"env\.history_length: {want}") as caught:
        observed_rows(dataclasses.replace(CONFIG, **options), recommendable)
    assert "\n" not in str(caught.value)


def test_slates_larger_than_the_catalogue_are_refused_even_where_items_repeat() -> None:
    with pytest.raises(InputError, match=r"env\.slate_size: slates of 3 items do not fit into 2 recommendable items"):
        observed_rows(dataclasses.replace(CONFIG, repeats=True), 2)


@pytest.mark.parametrize("option", [{"pessimism": 1.0}, {"drift": 0.5}])
def test_options_of_the_other_response_are_refused_in_one_line(option: dict) -> None:
    (name,) = option
    with pytest.raises(
        InputError, match=rf"env\.{name}: people with tastes of their own have none; remove it"
    ) as caught:
        LoggedConfig(**option)
    assert "\n" not in str(caught.value)
    assert LoggedConfig(response="last_rows", **option)
