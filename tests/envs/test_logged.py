from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.users import LoggedConfig, ResponseConfig
from jaxrec.data import Log
from jaxrec.envs import auto_reset, logged, make_env
from jaxrec.supervised.response import UserHistory, all_probabilities, user_state
from jaxrec.supervised.response_fit import fit_response
from jaxrec.types import PADDING

ITEMS, HISTORY = 24, 4
CONFIG = LoggedConfig(slate_size=3, requests=5, reward={"liked": 2.0})


def make_log() -> Log:
    rng = np.random.default_rng(0)
    lengths = np.array([1, 2, 5, 12] * 8)
    user = np.repeat(np.arange(len(lengths)), lengths)
    item = np.concatenate([rng.permutation(ITEMS)[:n] for n in lengths])
    liked = (rng.random(len(user)) < np.where(item < ITEMS // 2, 0.8, 0.2)).astype(np.float32)
    return Log(
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        time=np.arange(len(user), dtype=np.int64),
        feedback=liked[:, None],
        feedback_names=("liked",),
        num_users=len(lengths),
        num_items=ITEMS,
    )


@pytest.fixture(scope="module")
def log() -> Log:
    return make_log()


@pytest.fixture(scope="module")
def world(log: Log):
    config = ResponseConfig(history_length=HISTORY, width=8, heads=2, epochs=2, batch_size=8)
    members = [fit_response(log, None, config, seed)[0] for seed in (0, 1)]
    return logged.make_world(members, log, np.eye(ITEMS, dtype=np.float32), np.arange(ITEMS) % 6 != 5)


def mean_probabilities(world, history: UserHistory):
    """Member by member, as the environment does not."""
    members = [jax.tree.map(lambda x, n=n: x[n], world.users.members) for n in range(2)]
    return sum(all_probabilities(m, user_state(m, history)) for m in members) / 2


def test_new_users_are_positions_of_the_log_with_their_own_past(log: Log, world) -> None:
    env = logged.make(CONFIG, world)
    states, obs = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(jax.random.key(0), 400), env.params)
    histories = []
    for row in range(len(log)):  # worked from the log itself, position by position
        begin = log.offsets[log.user[row]]
        past = log.item[begin:row]
        window = np.full(HISTORY, PADDING)
        cut = min(HISTORY, len(past))
        window[HISTORY - cut :] = past[len(past) - cut :]
        histories.append((tuple(window), row - begin, log.feedback[begin:row].sum()))
    got = {
        (tuple(items), int(count), float(total))
        for items, count, total in zip(
            np.asarray(obs.history_items),
            np.asarray(states.history.count),
            np.asarray(states.history.totals)[:, 0],
            strict=True,
        )
    }
    assert got <= {(items, count, float(total)) for items, count, total in histories}
    assert len(got) > 0.6 * len(set(histories))  # 400 draws reach most of the positions
    first = (np.asarray(states.history.count) == 0).mean()
    want = np.mean([1 / n for n in np.diff(log.offsets)])  # every user is as likely, then every position of theirs
    assert first == pytest.approx(want, abs=4 * (want * (1 - want) / 400) ** 0.5)


def test_feedback_follows_the_fitted_probabilities(world) -> None:
    env = logged.make(CONFIG, world)
    state, _ = env.reset(jax.random.key(1), env.params)
    slate = jnp.array([0, 7, 20], jnp.int32)
    keys = jax.random.split(jax.random.key(2), 4000)
    _, out = jax.vmap(env.step, in_axes=(0, None, None, None))(keys, state, slate, env.params)
    want = mean_probabilities(world, state.history)[slate]  # [K, F]
    sd = jnp.sqrt(want * (1 - want) / len(keys))
    assert (jnp.abs(out.feedback.mean(0) - want) < 4 * sd).all()
    chex.assert_trees_all_close(out.reward, 2.0 * out.feedback.sum((1, 2)))  # liked weighs 2


def test_shown_items_enter_the_history_and_an_episode_is_cut_not_ended(world) -> None:
    env = logged.make(CONFIG, world)
    state, obs = env.reset(jax.random.key(3), env.params)
    before = obs.history_items
    for request in range(CONFIG.requests):
        slate = jnp.arange(3, dtype=jnp.int32) + 3 * request
        state, out = env.step(jax.random.key(request), state, slate, env.params)
        assert bool(out.truncated) == (request == CONFIG.requests - 1)
        assert not bool(out.terminated)
        if request == 0:
            chex.assert_trees_all_equal(out.obs.history_items, jnp.concatenate([before[-1:], slate]))
    chex.assert_trees_all_equal(out.obs.history_items, jnp.array([11, 12, 13, 14], jnp.int32))
    chex.assert_trees_all_equal(out.obs.history_feedback[-3:], out.feedback)


def test_auto_reset_starts_another_user_with_nothing_of_the_old_one(world) -> None:
    env = auto_reset(logged.make(LoggedConfig(slate_size=3, requests=1), world))
    state, _ = env.reset(jax.random.key(4), env.params)
    state, out = env.step(jax.random.key(5), state, jnp.array([0, 1, 2], jnp.int32), env.params)
    assert bool(out.truncated)
    assert int(state.request) == 0
    chex.assert_trees_all_equal(out.final_obs.history_items[-3:], jnp.array([0, 1, 2], jnp.int32))
    chex.assert_trees_all_equal(out.obs.history_items, state.history.items)
    assert not jnp.array_equal(out.obs.history_items, out.final_obs.history_items)


def test_vmapped_users_equal_single_ones(world) -> None:
    env = logged.make(CONFIG, world)
    keys = jax.random.split(jax.random.key(6), 4)
    slates = jnp.array([[0, 1, 2], [3, 4, 6], [7, 8, 9], [10, 12, 13]], jnp.int32)
    states, _ = jax.vmap(env.reset, in_axes=(0, None))(keys, env.params)
    _, batched = jax.vmap(env.step, in_axes=(0, 0, 0, None))(keys, states, slates, env.params)
    for n in range(4):
        state, _ = env.reset(keys[n], env.params)
        _, single = env.step(keys[n], state, slates[n], env.params)
        chex.assert_trees_all_close(jax.tree.map(lambda x, n=n: x[n], batched), single, rtol=1e-5)


def test_item_rewards_weigh_the_feedback(world) -> None:
    history = UserHistory(
        items=jnp.full((2, HISTORY), PADDING, jnp.int32),
        feedback=jnp.zeros((2, HISTORY, 1)),
        count=jnp.zeros(2),
        totals=jnp.zeros((2, 1)),
    )
    rewards = logged.item_rewards(logged.LoggedState(history, jnp.zeros(2, jnp.int32)), world, CONFIG)
    chex.assert_trees_all_close(rewards, 2.0 * mean_probabilities(world, history)[..., 0], rtol=1e-5)


def test_a_saved_simulator_is_the_same_environment(world, tmp_path: Path) -> None:
    logged.save_simulator(tmp_path / "simulator", world)
    env, again = (
        logged.make(CONFIG, world),
        make_env("logged", path=str(tmp_path / "simulator"), slate_size=3, requests=5, reward={"liked": 2.0}),
    )
    assert env.spec == again.spec
    chex.assert_trees_all_equal(env.params, again.params)


def test_a_slate_that_does_not_fit_beside_the_history_is_refused(world) -> None:
    with pytest.raises(InputError, match=r"env\.slate_size: 17 items beside a history of 4"):
        logged.make(LoggedConfig(slate_size=17), world)  # 20 items are recommendable


def test_a_logged_environment_without_users_says_where_they_come_from() -> None:
    with pytest.raises(InputError, match="RUN/simulators/train"):
        make_env("logged")
