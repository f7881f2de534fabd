import dataclasses
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec import make_env
from jaxrec.checks import InputError
from jaxrec.config.full_matrix import CategoriesConfig, DistanceConfig, FullMatrixConfig
from jaxrec.data.matrix import RewardMatrix, load_matrix, save_matrix
from jaxrec.envs import auto_reset, full_matrix
from jaxrec.envs.leave import leave_window
from jaxrec.evaluation import recommenders
from jaxrec.evaluation.simulate import ItemFacts, make_simulation
from jaxrec.types import PADDING, Env

USERS, ITEMS = 5, 12
# Items 0-3 in category 0, 4-7 in category 1, 8-11 in both.
CATEGORIES = np.array([[1, 0]] * 4 + [[0, 1]] * 4 + [[1, 1]] * 4, np.float32)
VECTORS = np.arange(ITEMS, dtype=np.float32)[:, None] * np.array([[3.0, 4.0]], np.float32)  # neighbours are 5 apart


def rewards(**changes) -> RewardMatrix:
    values = np.arange(USERS * ITEMS, dtype=np.float32).reshape(USERS, ITEMS) / 10
    return RewardMatrix(**{"matrix": values, "categories": CATEGORIES, "vectors": VECTORS} | changes)


def make(config: FullMatrixConfig, matrix: RewardMatrix | None = None) -> Env:
    env = full_matrix.make(config, full_matrix.make_world(matrix or rewards(), config))
    return env._replace(reset=jax.jit(env.reset), step=jax.jit(env.step))


def left_on(env: Env, items: list[int]) -> list[bool]:
    """Whether the user would leave on each of the items, who stays whatever happens."""
    state, _ = env.reset(jax.random.key(0), env.world)
    left = []
    for item in items:
        state, out = env.step(jax.random.key(0), state, jnp.array([item], jnp.int32), env.world)
        left.append(bool(out.terminated))
    return left


@pytest.mark.parametrize(
    ("window", "threshold", "items", "want"),
    [
        (9, 1, [0, 4, 1, 5, 2], [0, 0, 0, 0, 1]),  # the third of category 0: two of the window are more than one
        (9, 1, [0, 4, 8, 9], [0, 0, 0, 1]),  # 8 has one of each before it, and no category twice
        (9, 0, [0, 4, 1], [0, 0, 1]),
        (2, 1, [0, 1, 4, 5, 2], [0, 0, 0, 0, 0]),  # items 0 and 1 are out of the window when 2 comes
        (2, 1, [0, 1, 2], [0, 0, 1]),
    ],
)
def test_categories_are_counted_in_the_last_items(window: int, threshold: int, items: list, want: list) -> None:
    config = FullMatrixConfig(turns=10, leave=CategoriesConfig(window=window, threshold=threshold))
    assert left_on(make(config), items) == [bool(x) for x in want]


def test_items_nearer_than_the_threshold_to_a_recent_one_make_users_leave() -> None:
    config = FullMatrixConfig(turns=10, leave=DistanceConfig(window=2, threshold=5.1))
    #                                5 to item 0 | 10 to item 2, 20 | 5 to item 6, out of the window
    assert left_on(make(config), [0, 1, 3, 6, 9, 11, 7]) == [False, True, False, False, False, False, False]
    exact = dataclasses.replace(config, leave=DistanceConfig(window=2, threshold=5.0))
    assert left_on(make(exact), [0, 1]) == [False, False]  # as near as the threshold is not nearer


def test_the_window_holds_everything_until_it_is_full() -> None:
    sizes = [int(leave_window(jnp.asarray(t), jnp.asarray(9), 12).sum()) for t in range(13)]
    assert sizes == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9]


def test_compat_is_the_upstream_slice_worked_in_python() -> None:
    for size in (1, 4, 5, 9):
        for shown in range(13):
            actions = list(range(shown))
            want = actions[shown - size : shown] if shown else []
            window = leave_window(jnp.asarray(shown), jnp.asarray(size), 13, compat=True)
            got = [shown - 13 + n for n in np.flatnonzero(np.asarray(window))]
            assert got == want, (size, shown)


def test_compat_forgets_early_items() -> None:
    config = FullMatrixConfig(turns=10, leave=CategoriesConfig(window=4, threshold=0))
    items = [0, 4, 5, 1]  # three were shown before item 1: upstream looks back one of four, at item 5
    assert left_on(make(config), items) == [False, False, True, True]
    assert left_on(make(dataclasses.replace(config, compat=True)), items) == [False, False, True, False]


def test_rewards_are_entries_of_the_users_row() -> None:
    config = FullMatrixConfig(turns=4, leave=None, reward={"value": 2.0, "depth": 0.5})
    env, matrix = make(config), rewards().matrix
    for n in range(4):
        state, obs = env.reset(jax.random.key(n), env.world)
        assert obs.user is None and (obs.history_items == PADDING).all()
        user = int(state.user)
        for turn, item in enumerate([3, 0, 11, 7]):
            state, out = env.step(jax.random.key(9), state, jnp.array([item], jnp.int32), env.world)
            np.testing.assert_allclose(out.feedback, [[matrix[user, item]]])
            np.testing.assert_allclose(out.reward, 2 * matrix[user, item] + 0.5, rtol=1e-6)
            assert (bool(out.truncated), bool(out.terminated)) == (turn == 3, False)
        assert out.obs.history_items.tolist() == [3, 0, 11, 7]
        np.testing.assert_allclose(out.obs.history_feedback[:, 0], matrix[user, [3, 0, 11, 7]])
    assert env.spec.reward_weights == (2.0,)


def test_leaving_at_the_cap_is_leaving_and_the_item_is_paid() -> None:
    config = FullMatrixConfig(turns=2, leave=CategoriesConfig(threshold=0), reward={"value": 1.0, "leave": -7.0})
    env = make(config)
    state, _ = env.reset(jax.random.key(0), env.world)
    state, _ = env.step(jax.random.key(0), state, jnp.array([0], jnp.int32), env.world)
    _, out = env.step(jax.random.key(0), state, jnp.array([1], jnp.int32), env.world)
    assert bool(out.terminated) and not bool(out.truncated)
    np.testing.assert_allclose(out.reward, rewards().matrix[int(state.user), 1] - 7, rtol=1e-6)


def simulate(config: FullMatrixConfig, recommender, matrix: RewardMatrix | None = None):
    env = full_matrix.make(config, full_matrix.make_world(matrix or rewards(), config))
    facts = ItemFacts(rows=jnp.eye(ITEMS), surprise=jnp.ones(ITEMS))
    return make_simulation(env, recommender, 100)(env.world, facts, jax.random.key(0), 40)


def test_nothing_is_shown_twice_unless_repeats_are_allowed() -> None:
    best = recommenders.ranking(jnp.arange(float(ITEMS)), 1)
    config = FullMatrixConfig(turns=4, leave=None)
    once = simulate(config, best)
    assert once.coverage == pytest.approx(4 / ITEMS)
    again = simulate(dataclasses.replace(config, repeats=True), best)
    assert again.coverage == pytest.approx(1 / ITEMS)
    assert again.mean > once.mean
    shown = np.arange(ITEMS) % 2 == 0  # with candidates an action is a position among the recommendable items
    some = simulate(dataclasses.replace(config, repeats=True), best, rewards(recommendable=shown))
    assert some.mean == pytest.approx(again.mean - 4 * 0.1)  # item 10 instead of item 11, four times
    with pytest.raises(InputError, match=r"env\.turns: 12 turns without repeats need more than the 12 recommendable"):
        make(FullMatrixConfig(turns=12, leave=None))


def test_oracles_know_the_row_and_what_makes_users_leave() -> None:
    config = FullMatrixConfig(turns=6, leave=CategoriesConfig(window=9, threshold=1))
    random, greedy, staying = (
        simulate(config, r)
        for r in (
            recommenders.uniform(1),
            recommenders.greedy_matrix(config),
            recommenders.greedy_matrix(config, staying=True),
        )
    )
    assert (greedy.lengths == 3).all()  # 11, 10, 9: the third of both categories
    # 11, 10; whatever comes third has a category twice before it: the best of what is left, and gone.
    assert (staying.lengths == 3).all() and staying.mean == pytest.approx(greedy.mean)
    assert greedy.mean / 3 > random.mean / random.lengths.mean()  # the best items, but fewer of them
    apart = rewards(categories=np.eye(2, dtype=np.float32)[np.arange(ITEMS) // 6])  # 11 and 10, then 5 and 4
    assert (simulate(config, recommenders.greedy_matrix(config, staying=True), apart).lengths == 5).all()


def test_constants_may_change_without_a_new_environment() -> None:
    env = make(FullMatrixConfig(turns=6, leave=CategoriesConfig(threshold=1)))
    strict = env.world.replace(users=env.world.users.replace(threshold=jnp.asarray(0.0)))
    assert left_on(env, [0, 4, 1]) == [False, False, False]
    assert left_on(env._replace(world=strict), [0, 4, 1]) == [False, False, True]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31 - 1), st.lists(st.integers(0, ITEMS - 1), min_size=5, max_size=5))
def test_steps_are_finite_and_alike_alone_and_in_batches(seed: int, items: list[int]) -> None:
    env = BATCHED
    keys = jax.random.split(jax.random.key(seed), 3)
    states, _ = env.reset(keys, env.world)
    singles = [ALONE.reset(key, env.world)[0] for key in keys]
    for item in items:
        action = jnp.array([[item], [(item + 1) % ITEMS], [(item + 5) % ITEMS]], jnp.int32)
        states, out = env.step(keys, states, action, env.world)
        assert jnp.isfinite(out.reward).all() and jnp.isfinite(out.obs.history_feedback).all()
        for n in range(3):
            singles[n], one = ALONE.step(keys[n], singles[n], action[n], env.world)
            chex.assert_trees_all_close(jax.tree.map(lambda x, n=n: x[n], out), one)


ALONE = make(FullMatrixConfig(turns=4))
BATCHED = ALONE._replace(
    reset=jax.jit(jax.vmap(ALONE.reset, in_axes=(0, None))),
    step=jax.jit(jax.vmap(ALONE.step, in_axes=(0, 0, 0, None))),
)
RESET = auto_reset(ALONE)
RESET_STEP = jax.jit(RESET.step)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_auto_reset_leaves_nothing_of_the_old_user(seed: int) -> None:
    keys = jax.random.split(jax.random.key(seed), 9)
    state, _ = RESET.reset(keys[0], RESET.world)
    turn = 0
    for key in keys[1:]:
        item = int(jax.random.randint(key, (), 0, ITEMS))
        state, out = RESET_STEP(key, state, jnp.array([item], jnp.int32), RESET.world)
        turn += 1
        assert out.final_obs.history_items[-1] == item
        if out.terminated | out.truncated:
            assert (out.obs.history_items == PADDING).all() and not out.obs.history_feedback.any()
            assert int(state.turn) == 0
            turn = 0
        assert int(state.turn) == turn
        assert int((state.items >= 0).sum()) == turn


def test_a_saved_matrix_is_the_same_environment(tmp_path: Path) -> None:
    shown = np.arange(ITEMS) < 9
    save_matrix(tmp_path / "matrix.npz", rewards(recommendable=shown))
    for path in (tmp_path, tmp_path / "matrix.npz"):
        env = make_env("full_matrix", path=str(path), turns=4, leave={"window": 3})
        want = make(FullMatrixConfig(turns=4, leave=CategoriesConfig(window=3)), rewards(recommendable=shown))
        assert env.spec == want.spec
        chex.assert_trees_all_equal(env.world, want.world)
    assert env.world.recommendable.tolist() == list(range(9))
    chex.assert_trees_all_equal(env.world.item_table[:, 2:], jnp.asarray(CATEGORIES))  # behind the vectors


def test_what_is_wrong_with_a_matrix_is_one_line(tmp_path: Path) -> None:
    spoiled = rewards().matrix.copy()
    spoiled[2, 3] = np.nan
    for changes, message in (
        ({"matrix": spoiled}, r"matrix: expected finite numbers, got nan at \[2, 3\]"),
        ({"matrix": spoiled[0]}, r"matrix: expected"),
        ({"categories": CATEGORIES[:5]}, r"categories: expected shape \(12, any\), got \(5, 2\)"),
        ({"categories": CATEGORIES * 2}, r"categories: expected only 0 and 1"),
        ({"vectors": np.array(["a"] * ITEMS)[:, None]}, r"vectors: expected numbers, got <U1"),
        ({"categories": None, "vectors": None}, r"matrix: expected categories or vectors of the items, got neither"),
        ({"recommendable": np.zeros(ITEMS, bool)}, r"recommendable: expected at least one item"),
    ):
        with pytest.raises(InputError, match=message):
            rewards(**changes)
    for leave, message in ((CategoriesConfig(), "categories needs categories"), (DistanceConfig(), "needs vectors")):
        lacking = rewards(**{"categories": None} if leave.name == "categories" else {"vectors": None})
        with pytest.raises(InputError, match=rf"env\.leave: .*{message}"):
            make(FullMatrixConfig(turns=4, leave=leave), lacking)
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", values=np.ones(3))
    np.savez(tmp_path / "objects.npz", matrix=np.array([[None, {}]], object))
    np.savez(tmp_path / "nan.npz", matrix=spoiled, categories=CATEGORIES)
    for name, message in (
        ("missing.npz", "no such file"),
        ("text.npz", "not a readable .npz"),
        ("other.npz", "no array 'matrix'"),
        ("objects.npz", "not a readable .npz"),
        ("nan.npz", r"nan\.npz: matrix: expected finite numbers"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            load_matrix(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"env\.path: the full_matrix environment needs a matrix"):
        make_env("full_matrix")
