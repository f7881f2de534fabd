import dataclasses
import json
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec import make_env
from jaxrec.checks import InputError
from jaxrec.config.logged import LoggedConfig, ResponseConfig, TemperConfig
from jaxrec.data import Log
from jaxrec.envs import auto_reset, logged
from jaxrec.envs.logged_world import load_simulator, make_world, save_simulator
from jaxrec.supervised.response import UserHistory, all_probabilities, user_state
from jaxrec.supervised.response_fit import fit_response
from jaxrec.types import PADDING, Env
from tests.constant_users import constant_world
from tests.damage import without_digests

ITEMS, HISTORY = 24, 4
OLD = {"response": "last_rows", "history_length": HISTORY, "repeats": True}  # the window that the response model reads
CONFIG = LoggedConfig(slate_size=3, requests=5, reward={"liked": 2.0}, **OLD)


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
    return make_world(members, log, np.eye(ITEMS, dtype=np.float32), ITEMS, np.arange(ITEMS) % 6 != 5)


@jax.jit
def mean_probabilities(world, history: UserHistory):
    """Member by member, as the environment does not."""
    members = [jax.tree.map(lambda x, n=n: x[n], world.users.members) for n in range(2)]
    return sum(all_probabilities(m, user_state(m, history)) for m in members) / 2


def expected_rewards(state, world, config: LoggedConfig):
    return jax.jit(lambda state, world: logged.expected_rewards(state, world, config))(state, world)


def answer_probabilities(state, world, config: LoggedConfig, items=None):
    return jax.jit(lambda state, world: logged.answer_probabilities(state, world, config, items))(state, world)


def make(config: LoggedConfig, world) -> Env:
    """Compiled, since single operations are slow."""
    env = logged.make(config, world)
    return env._replace(reset=jax.jit(env.reset), step=jax.jit(env.step))


def test_new_users_are_positions_of_the_log_with_their_own_past(log: Log, world) -> None:
    env = make(CONFIG, world)
    states, obs = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(jax.random.key(0), 400), env.world)
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
    env = make(CONFIG, world)
    state, _ = env.reset(jax.random.key(1), env.world)
    slate = jnp.array([0, 7, 20], jnp.int32)
    keys = jax.random.split(jax.random.key(2), 4000)
    _, out = jax.vmap(env.step, in_axes=(0, None, None, None))(keys, state, slate, env.world)
    want = mean_probabilities(world, state.history)[slate]  # [K, F]
    sd = jnp.sqrt(want * (1 - want) / len(keys))
    assert (jnp.abs(out.feedback.mean(0) - want) < 4 * sd).all()
    chex.assert_trees_all_close(out.reward, 2.0 * out.feedback.sum((1, 2)))  # liked weighs 2


def test_shown_items_enter_the_history_and_an_episode_is_cut_not_ended(world) -> None:
    env = make(CONFIG, world)
    state, obs = env.reset(jax.random.key(3), env.world)
    before = obs.history_items
    for request in range(CONFIG.requests):
        slate = jnp.arange(3, dtype=jnp.int32) + 3 * request
        state, out = env.step(jax.random.key(request), state, slate, env.world)
        assert bool(out.truncated) == (request == CONFIG.requests - 1)
        assert not bool(out.terminated)
        if request == 0:
            chex.assert_trees_all_equal(out.obs.history_items, jnp.concatenate([before[-1:], slate]))
    chex.assert_trees_all_equal(out.obs.history_items, jnp.array([11, 12, 13, 14], jnp.int32))
    chex.assert_trees_all_equal(out.obs.history_feedback[-3:], out.feedback)


def test_auto_reset_starts_another_user_with_nothing_of_the_old_one(world) -> None:
    env = auto_reset(make(LoggedConfig(slate_size=3, requests=1, **OLD), world))
    state, _ = env.reset(jax.random.key(4), env.world)
    state, out = env.step(jax.random.key(5), state, jnp.array([0, 1, 2], jnp.int32), env.world)
    assert bool(out.truncated)
    assert int(state.request) == 0
    chex.assert_trees_all_equal(out.final_obs.history_items[-3:], jnp.array([0, 1, 2], jnp.int32))
    chex.assert_trees_all_equal(out.obs.history_items, state.history.items)
    assert not jnp.array_equal(out.obs.history_items, out.final_obs.history_items)


def test_vmapped_users_equal_single_ones(world) -> None:
    env = make(CONFIG, world)
    keys = jax.random.split(jax.random.key(6), 4)
    slates = jnp.array([[0, 1, 2], [3, 4, 6], [7, 8, 9], [10, 12, 13]], jnp.int32)
    states, _ = jax.vmap(env.reset, in_axes=(0, None))(keys, env.world)
    _, batched = jax.vmap(env.step, in_axes=(0, 0, 0, None))(keys, states, slates, env.world)
    for n in range(4):
        state, _ = env.reset(keys[n], env.world)
        _, single = env.step(keys[n], state, slates[n], env.world)
        chex.assert_trees_all_close(jax.tree.map(lambda x, n=n: x[n], batched), single, rtol=1e-5)


def test_item_rewards_weigh_the_feedback(world) -> None:
    env = make(CONFIG, world)
    state, _ = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(jax.random.key(7), 2), env.world)
    rewards = expected_rewards(state, world, CONFIG)
    chex.assert_trees_all_close(rewards, 2.0 * mean_probabilities(world, state.history)[..., 0], rtol=1e-5)
    assert env.spec.reward_weights == (2.0,)


@pytest.mark.parametrize("drift", [0.0, 0.25, 1.0])
def test_drift_mixes_the_answers_of_now_with_those_of_the_visits_beginning(drift: float, world) -> None:
    config = dataclasses.replace(CONFIG, drift=drift)
    env = make(config, world)
    before, _ = env.reset(jax.random.key(8), env.world)
    slate = jnp.array([0, 1, 2], jnp.int32)
    state, out = env.step(jax.random.key(9), before, slate, env.world)
    chex.assert_trees_all_equal(out.obs.history_items[-3:], slate)  # the agent sees all that happened
    begin, now = (mean_probabilities(world, s.history) for s in (before, state))
    assert jnp.abs(begin - now).max() > 1e-3
    want = drift * now + (1 - drift) * begin
    chex.assert_trees_all_close(answer_probabilities(state, world, config), want, rtol=1e-4)
    chex.assert_trees_all_close(answer_probabilities(state, world, config, slate), want[slate], rtol=1e-4)
    chex.assert_trees_all_close(expected_rewards(state, world, config), 2.0 * want[..., 0], rtol=1e-4)


def test_pessimism_lowers_answers_by_the_members_disagreement() -> None:
    world = constant_world([0.5, 0.1], [0.7, 0.3])  # mean .6 and .2, population sd .1
    config = LoggedConfig(slate_size=3, pessimism=1.5, reward={"liked": 1.0, "disliked": -2.0}, **OLD)
    state, _ = make(config, world).reset(jax.random.key(0), world)
    p = answer_probabilities(state, world, config, jnp.arange(3))
    chex.assert_trees_all_close(p, jnp.broadcast_to(jnp.array([0.45, 0.05]), (3, 2)), atol=1e-6)
    chex.assert_trees_all_close(expected_rewards(state, world, config), jnp.full(60, 0.45 - 0.1), atol=1e-6)
    far = dataclasses.replace(config, pessimism=3.0)
    assert float(answer_probabilities(state, world, far, jnp.arange(3))[0, 1]) == 0.0
    with pytest.raises(InputError, match=r"env\.pessimism: a single fit has no standard deviation"):
        logged.make(config, constant_world([0.5, 0.1]))


def test_look_alikes_in_a_slate_are_liked_less() -> None:
    # Text in two dimensions, of any length; the third column is a statistic and must not count.
    rows = np.array([[2, 0, 9], [1, 1, -9], [0, 3, 0]] + [[1, 0, 0]] * 5, np.float32)
    root = 2**-0.5  # cosines: items 0 and 1, 1 and 2 are at 45 degrees, 0 and 2 at a right angle
    chex.assert_trees_all_close(logged.mean_cosine(jnp.asarray(rows[:3, :2])), jnp.array([root / 2, root, root / 2]))
    world = constant_world([0.5], table=rows, text_size=2)
    env = make(LoggedConfig(slate_size=3, requests=1, slate_interaction=0.4), world)
    state, _ = env.reset(jax.random.key(0), world)
    keys = jax.random.split(jax.random.key(1), 4000)
    slate = jnp.arange(3, dtype=jnp.int32)
    _, out = jax.vmap(env.step, in_axes=(0, None, None, None))(keys, state, slate, world)
    want = 0.5 - 0.4 * np.array([root / 2, root, root / 2])
    sd = (want * (1 - want) / len(keys)) ** 0.5
    assert (np.abs(np.asarray(out.feedback).mean(0)[:, 0] - want) < 4 * sd).all()


def test_a_single_item_has_nobody_to_be_like() -> None:
    chex.assert_trees_all_equal(logged.mean_cosine(jnp.ones((1, 3))), jnp.zeros(1))


def test_rewards_count_requests_and_leaving() -> None:
    world = constant_world([1 - 1e-6, 1e-6])
    leave = TemperConfig(start=2.5, target=2.0)  # 2.5 - 1 - 1 < 1: gone after the second request
    reward = {"liked": 1.0, "disliked": -1.0, "depth": 0.25, "leave": -5.0}
    env = make(LoggedConfig(slate_size=2, requests=2, leave=leave, reward=reward), world)
    state, _ = env.reset(jax.random.key(0), world)
    state, first = env.step(jax.random.key(1), state, jnp.array([5, 6], jnp.int32), world)
    assert (float(first.reward), bool(first.terminated)) == (2.25, False)
    _, last = env.step(jax.random.key(2), state, jnp.array([7, 8], jnp.int32), world)
    assert float(last.reward) == pytest.approx(2.25 - 5)
    assert bool(last.terminated)
    assert not bool(last.truncated)  # who left at the cap has left
    assert env.spec.reward_weights == (1.0, -1.0)


def test_a_visit_has_the_context_of_the_row_it_starts_from(log: Log, tmp_path: Path) -> None:
    context = np.stack([np.arange(len(log)), log.user], 1).astype(np.float32)
    seen = dataclasses.replace(log, context=context / len(log), context_names=("row", "user"))
    config = ResponseConfig(history_length=HISTORY, width=8, heads=2, epochs=1, batch_size=8)
    fitted = make_world([fit_response(seen, None, config, 0)[0]], seen, np.eye(ITEMS, dtype=np.float32), ITEMS)
    save_simulator(tmp_path / "simulator", fitted)
    world = load_simulator(tmp_path / "simulator")
    chex.assert_trees_all_equal(world, fitted)
    chex.assert_trees_all_close(world.usual_context, jnp.asarray(context.mean(0) / len(log)), rtol=1e-5)
    env = make(CONFIG, world)
    assert env.spec.context_size == 2
    state, obs = env.reset(jax.random.key(0), world)
    row = round(float(obs.context[0]) * len(log))
    assert int(state.history.count) == row - log.offsets[log.user[row]]
    assert round(float(obs.context[1]) * len(log)) == log.user[row]
    state, out = env.step(jax.random.key(1), state, jnp.array([0, 1, 2], jnp.int32), world)
    chex.assert_trees_all_equal(out.obs.context, obs.context)
    other = state.replace(history=state.history.replace(context=jnp.array([5.0, -5.0])))
    difference = expected_rewards(state, world, CONFIG) - expected_rewards(other, world, CONFIG)
    assert float(jnp.abs(difference).max()) > 1e-3  # the users read it


def test_a_visit_may_begin_at_any_row(log: Log, world) -> None:
    for row in (0, 3, 8, 19):  # every user of the log has rows
        user = log.user[row]
        place = jnp.asarray(row - log.offsets[user])
        history = logged.history_before(world.users, jnp.asarray(user), place, HISTORY)
        state = logged.begin_visit(CONFIG, history, None, None)
        past = log.item[log.offsets[user] : row][-HISTORY:]
        assert state.history.items.tolist() == [PADDING] * (HISTORY - len(past)) + past.tolist()


def test_a_saved_simulator_is_the_same_environment(world, tmp_path: Path) -> None:
    save_simulator(tmp_path / "simulator", world)
    env, again = (
        logged.make(CONFIG, world),
        make_env("logged", path=str(tmp_path / "simulator"), slate_size=3, requests=5, reward={"liked": 2.0}, **OLD),
    )
    assert env.spec == again.spec
    chex.assert_trees_all_equal(env.world, again.world)


def test_a_simulator_of_another_layout_is_refused_in_one_line(world, tmp_path: Path) -> None:
    folder = tmp_path / "simulator"
    save_simulator(folder, world)
    description = json.loads((without_digests(folder) / "description.json").read_text())
    del description["layout"]  # as earlier versions wrote it
    (folder / "description.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match=r"simulator: simulator of another version of jaxrec; fit it again"):
        load_simulator(folder)


def test_a_slate_that_does_not_fit_beside_the_history_is_refused(world) -> None:
    with pytest.raises(InputError, match=r"slates of 17 items, after 17 that are not shown again, do not fit into 20"):
        logged.make(LoggedConfig(slate_size=17, requests=1), world)  # 20 items are recommendable


def test_a_logged_environment_without_users_says_where_they_come_from() -> None:
    with pytest.raises(InputError, match="RUN/simulators/train"):
        make_env("logged")
