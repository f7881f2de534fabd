import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig
from jaxrec.data import Log, Split, global_time, leave_one_out, leave_positive_out, make_split, split_users
from jaxrec.data.split import few_targets


def log_of(rows: list[tuple[int, int]], num_users: int) -> Log:
    """A log of (user, time) rows; the item is the number of the row, which makes rows recognisable."""
    user, time = (np.array(column, int) for column in zip(*sorted(rows), strict=True))
    items = np.arange(len(rows), dtype=np.int32)
    feedback = np.ones((len(rows), 1), np.float32)
    return Log(user.astype(np.int32), items, time, feedback, ("liked",), num_users, len(rows))


logs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8)), min_size=4, max_size=60).map(
    lambda rows: log_of(rows, 6)
)


def assert_partition(split: Split, log: Log) -> None:
    parts = np.concatenate([split.train.item, split.validation.item, split.test.item])
    np.testing.assert_array_equal(np.sort(parts), log.item)


@given(logs)
@settings(deadline=None)
def test_leave_one_out_leaks_nothing(log: Log) -> None:
    split = leave_one_out(log)
    assert_partition(split, log)
    for user in range(log.num_users):
        train, validation, test = (part.item[part.user == user] for part in (split.train, split.validation, split.test))
        if (log.user == user).sum() < 3:
            assert not len(validation) and not len(test)
        else:
            # rows are numbered in the order of the log, that is by time within a user
            assert len(validation) == len(test) == 1
            assert train.max() < validation[0] < test[0]
            assert log.time[train].max() <= log.time[validation[0]] <= log.time[test[0]]


@given(logs, st.floats(0.05, 0.9))
@settings(deadline=None)
def test_global_time_leaks_nothing(log: Log, share: float) -> None:
    split = global_time(log, share)
    assert_partition(split, log)
    order = [sorted(zip(part.time, part.item, strict=True)) for part in (split.train, split.validation, split.test)]
    for early, late in ((order[0], order[1]), (order[1], order[2]), (order[0], order[2])):
        assert not early or not late or early[-1] < late[0]  # by time, then by the order of the log
    assert len(split.test) == round(share * len(log))


@given(logs, st.floats(0.05, 0.9))
@settings(deadline=None)
def test_parts_are_logs_sorted_by_user_and_time(log: Log, share: float) -> None:
    for split in (leave_one_out(log), global_time(log, share)):
        for part in (split.train, split.validation, split.test):
            keys = list(zip(part.user, part.time, part.item, strict=True))
            assert keys == sorted(keys)


@given(logs, st.floats(0.3, 0.7), st.integers(0, 3))
@settings(deadline=None)
def test_split_users_shares_no_user_and_depends_on_the_seed_alone(log: Log, share: float, seed: int) -> None:
    users = len(np.unique(log.user))
    if not 0 < round(users * share) < users:
        with pytest.raises(InputError, match=r"evaluate\.judge_share: .* leaves nobody to (train on|judge)"):
            split_users(log, share, seed)
        return
    first, second = split_users(log, share, seed)
    assert not set(first.user) & set(second.user)
    assert len(set(first.user)) == round(users * share)
    np.testing.assert_array_equal(np.sort(np.r_[first.item, second.item]), log.item)
    np.testing.assert_array_equal(split_users(log, share, seed)[0].item, first.item)


@given(logs, st.integers(0, 3), st.lists(st.sampled_from([-1, 0, 1]), min_size=6, max_size=6))
@settings(deadline=None)
def test_split_users_moves_nobody_who_stood_somewhere_before(log: Log, seed: int, before: list[int]) -> None:
    sides = np.array(before)
    try:
        first, second = split_users(log, 0.5, seed, sides)
    except InputError:
        return
    assert not (sides[first.user] == 1).any() and not (sides[second.user] == 0).any()
    users = np.unique(log.user)
    kept, new = (sides[users] == 0).sum(), (sides[users] < 0).sum()
    assert len(np.unique(first.user)) == np.clip(round(len(users) / 2), kept, kept + new)  # as near to half as can be


def test_leave_one_out_by_hand() -> None:
    log = log_of([(0, 1), (0, 2), (0, 3), (0, 4), (1, 1), (1, 2)], 2)
    split = leave_one_out(log)
    np.testing.assert_array_equal(split.train.item, [0, 1, 4, 5])
    np.testing.assert_array_equal(split.validation.item, [2])
    np.testing.assert_array_equal(split.test.item, [3])


def test_global_time_by_hand() -> None:
    # times 5 6 7 8 of user 0 (rows 0-3), 1 2 9 8 sorted to 1 2 8 9 of user 1 (rows 4-7)
    log = log_of([(0, 5), (0, 6), (0, 7), (0, 8), (1, 1), (1, 2), (1, 9), (1, 8)], 2)
    split = global_time(log, 0.25)
    np.testing.assert_array_equal(split.test.item, [6, 7])  # the two rows at time 8 tie; the log's order decides
    np.testing.assert_array_equal(split.validation.item, [2, 3])  # a quarter of six, rounded to even
    np.testing.assert_array_equal(split.train.item, [0, 1, 4, 5])


def test_make_split_follows_the_recipe_and_refuses_logs_without_anything_to_judge() -> None:
    log = log_of([(user, time) for user in range(4) for time in range(5)], 4)
    assert len(make_split(DataConfig(), log).test) == 4
    assert len(make_split(DataConfig(split="global_time", test_share=0.5), log).test) == 10
    short = log_of([(0, 1), (0, 2), (1, 1)], 2)
    with pytest.raises(InputError, match=r"data.split=leave_one_out: 3 training and 0 test rows.*at least 3 rows"):
        make_split(dataclasses.replace(DataConfig(), split="leave_one_out"), short)


def impressions() -> Log:
    """User 0: four slates of two with clicks on rows 1, 2 and 4; user 1 has two clicks, and user 2 none."""
    user = np.repeat([0, 1, 2], [8, 4, 2]).astype(np.int32)
    time = np.array([1, 1, 2, 2, 3, 3, 4, 4, 1, 1, 2, 2, 1, 1])
    clicked = np.array([0, 1, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0], np.float32)
    return Log(user, np.arange(14, dtype=np.int32), time, clicked[:, None], ("clicked",), 3, 14)


def test_the_last_success_is_left_out_with_what_was_shown_next_to_it_and_later() -> None:
    split = leave_positive_out(impressions())
    np.testing.assert_array_equal(split.test.item, [4, 5, 6, 7])
    np.testing.assert_array_equal(split.validation.item, [2, 3])
    np.testing.assert_array_equal(split.train.item, [0, 1, *range(8, 14)])


@given(logs)
@settings(deadline=None)
def test_a_log_of_successes_is_split_row_by_row(log: Log) -> None:
    want, got = leave_one_out(log), leave_positive_out(log)
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(got, part).item, getattr(want, part).item)


def test_another_split_is_advised_where_few_test_rows_are_successes() -> None:
    log = dataclasses.replace(impressions(), feedback_names=("clicked",))
    config = DataConfig()
    assert "leave_positive_out" in few_targets(config, make_split(config, log))
    liked = dataclasses.replace(log, feedback=np.ones_like(log.feedback))
    assert few_targets(config, make_split(config, liked)) == ""
    other = dataclasses.replace(config, split="leave_positive_out")
    assert few_targets(other, make_split(other, log)) == ""
