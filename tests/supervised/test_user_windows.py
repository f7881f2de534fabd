import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.data import Log
from jaxrec.supervised.user_windows import Augmentation, Window, augment, cut, histories, make_windows, moment_begins
from jaxrec.types import PADDING

COUNTS = (3, 0, 9, 25, 4, 1)  # rows of each user
AUGMENTED = Window(
    jnp.arange(20, dtype=jnp.int32).reshape(2, 10),
    jnp.asarray([[True] * 10, [False] * 3 + [True] * 5 + [False] * 2]),
    jnp.zeros((2, 10), bool),
)


@pytest.fixture(scope="module")
def log() -> Log:
    user = np.repeat(np.arange(len(COUNTS)), COUNTS).astype(np.int32)
    rows = len(user)
    feedback = np.arange(rows, dtype=np.float32)[:, None] % 2
    return Log(user, (np.arange(rows) % 7).astype(np.int32), np.arange(rows), feedback, ("liked",), len(COUNTS), 7)


def windows_of(log: Log, seed: int) -> list[Window]:
    data, buckets = make_windows(log, log.item, 8, 16)
    key = jax.random.key(seed)
    return [
        cut(data, n, bucket, jnp.int32(batch), key, log.num_users)
        for n, bucket in enumerate(buckets)
        for batch in range(bucket.batches)
    ]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_epoch_has_every_row_and_windows_hold_consecutive_rows_of_one_user(log: Log, seed: int) -> None:
    counts = np.zeros(len(log), int)
    for window in windows_of(log, seed):
        assert window.rows.shape[1] in (4, 8)
        for rows, valid in zip(np.asarray(window.rows), np.asarray(window.valid), strict=True):
            own = rows[valid]
            counts[own] += 1
            assert len(np.unique(log.user[own])) <= 1 and (np.diff(own) == 1).all()
    assert (counts >= 1).all()  # the last batch of a bucket may repeat some


def test_long_users_are_cut_at_other_places_in_another_epoch(log: Log) -> None:
    starts = []
    for seed in range(4):
        firsts = [np.asarray(w.rows)[row][valid] for w in windows_of(log, seed) for row, valid in enumerate(w.valid)]
        starts.append({int(rows[0]) for rows in firsts if len(rows)})
    assert len({frozenset(s) for s in starts}) > 1
    assert all({0, 3, 37, 41} <= s for s in starts)  # first rows of the users


def test_states_read_the_rows_before_theirs_and_not_the_hidden_ones(log: Log) -> None:
    data, _ = make_windows(log, log.item, 8, 16)
    rows = jnp.arange(3, 11, dtype=jnp.int32)[None]
    hidden = jnp.zeros((1, 8), bool).at[0, 2].set(True)
    items, feedback = histories(data, Window(rows, jnp.ones((1, 8), bool), hidden))
    assert np.asarray(items).tolist() == [[3, 4, PADDING, 6, 0, 1, 2]]
    assert np.asarray(feedback)[0, :, 0].tolist() == [1, 0, 0, 0, 1, 0, 1]


def test_rows_of_one_moment_share_its_first_row_unless_the_log_has_only_successes(log: Log) -> None:
    together = dataclasses.replace(log, time=np.arange(len(log)) // 3)  # rows 3 to 5, 6 to 8, 9 to 11
    window = Window(jnp.asarray([[3, 4, 5, 6, 7, 8, 9, 10], [5, 3, 4, 8, 9, 6, 7, 10]], jnp.int32), None, None)
    data, _ = make_windows(together, log.item, 8, 16)
    want = [[0, 0, 0, 3, 3, 3, 6, 6], [0, 0, 0, 3, 4, 5, 5, 7]]  # the second one is shuffled
    assert moment_begins(data, window).tolist() == want
    data, _ = make_windows(dataclasses.replace(together, feedback=np.ones_like(log.feedback)), log.item, 8, 16)
    assert moment_begins(data, window).tolist() == [list(range(8))] * 2
    data, _ = make_windows(together, log.item, 8, 16, file_order=True)
    assert moment_begins(data, window).tolist() == [list(range(8))] * 2


def test_a_cropped_window_is_a_run_of_six_tenths_of_its_rows() -> None:
    changed = augment(AUGMENTED, Augmentation(crop=1.0), jax.random.key(0))
    for row, length in ((0, 6), (1, 3)):
        places = np.flatnonzero(changed.valid[row])
        assert len(places) == length and (np.diff(places) == 1).all() and AUGMENTED.valid[row][places].all()
    assert not changed.hidden.any() and (changed.rows == AUGMENTED.rows).all()


def test_a_masked_window_hides_about_three_tenths_and_keeps_its_targets() -> None:
    wide = jax.tree.map(lambda x: jnp.tile(x, (500, 1)), AUGMENTED)
    changed = augment(wide, Augmentation(mask=1.0), jax.random.key(0))
    assert (changed.valid == wide.valid).all() and not (changed.hidden & ~wide.valid).any()
    assert float(changed.hidden.sum() / wide.valid.sum()) == pytest.approx(0.3, abs=0.02)


def test_a_reordered_window_has_the_same_rows_and_only_a_run_of_them_moves() -> None:
    moved = 0
    for seed in range(20):
        changed = augment(AUGMENTED, Augmentation(reorder=1.0), jax.random.key(seed))
        for row, length in ((0, 6), (1, 3)):
            now, before = np.asarray(changed.rows[row]), np.asarray(AUGMENTED.rows[row])
            assert sorted(now) == sorted(before) and (changed.valid[row] == AUGMENTED.valid[row]).all()
            places = np.flatnonzero(now != before)
            moved += len(places)
            if len(places):
                assert places[-1] - places[0] < length and AUGMENTED.valid[row][places].all()
    assert moved > 60


def test_no_chance_changes_nothing() -> None:
    changed = augment(AUGMENTED, Augmentation(), jax.random.key(0))
    for a, b in zip(jax.tree.leaves(changed), jax.tree.leaves(AUGMENTED), strict=True):
        np.testing.assert_array_equal(a, b)
