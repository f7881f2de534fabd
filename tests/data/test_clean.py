import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig
from jaxrec.data.clean import RawLog, clean
from jaxrec.data.log import Log


def raw(rows: list[tuple[int, int, int, float]]) -> RawLog:
    user, item, time, liked = (np.array(column) for column in zip(*rows, strict=True))
    users, items = tuple("uvwxyz"[: user.max() + 1]), tuple("abcdefghij"[: item.max() + 1])
    log = Log(user, item, time, liked.astype(np.float32)[:, None], ("liked",), len(users), len(items))
    return RawLog(log, users, items, ("read",))


def rows_of(got: RawLog) -> list[tuple[int, int, int, float]]:
    log = got.log
    columns = (log.user, log.item, log.time, log.feedback[:, 0])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_rows_are_ordered_by_user_then_time_then_file() -> None:
    got = clean(raw([(1, 0, 5, 1), (0, 1, 9, 0), (0, 2, 3, 1), (0, 0, 3, 0)]), DataConfig())
    assert rows_of(got) == [(0, 2, 3, 1), (0, 0, 3, 0), (0, 1, 9, 0), (1, 0, 5, 1)]


def test_exact_repetitions_and_repeated_pairs_are_counted_apart() -> None:
    rows = [(0, 0, 9, 1), (0, 1, 2, 1), (0, 1, 2, 1), (0, 0, 4, 0)]
    got = clean(raw(rows), DataConfig())
    assert rows_of(got) == [(0, 1, 2, 1), (0, 0, 9, 1)]
    assert got.account == (
        "read",
        "dropped 1 exact duplicate of a row",
        "dropped 1 row of repeated (user, item) pairs; a pair has every kind of feedback of its rows",
        "kept 2 rows of 1 user and 2 items",
    )


REPEATED = [(0, 0, 1, 1), (0, 0, 4, 0), (0, 1, 2, 0), (0, 1, 3, 0), (1, 0, 5, 0), (1, 0, 7, 1)]


def test_a_later_showing_does_not_erase_a_click() -> None:
    got = clean(raw(REPEATED), DataConfig())
    assert rows_of(got) == [(0, 0, 1, 1), (0, 1, 3, 0), (1, 0, 7, 1)]  # the click's own time; else the last row
    line = "dropped 3 rows of repeated (user, item) pairs; a pair has every kind of feedback of its rows, "
    assert got.account[1] == line + "which gives 'liked' to 1 whose last row lacks it"


def test_the_last_row_counts_on_request() -> None:
    got = clean(raw(REPEATED), DataConfig(repeats="last"))
    assert rows_of(got) == [(0, 1, 3, 0), (0, 0, 4, 0), (1, 0, 7, 1)]
    line = "dropped 3 rows of repeated (user, item) pairs; the last row is kept, "
    assert got.account[1] == line + "which takes 'liked' from 1 that an earlier row has"


def test_last_rows_that_lose_nothing_are_not_said_to() -> None:
    got = clean(raw(REPEATED[2:]), DataConfig(repeats="last"))
    assert got.account[1] == "dropped 2 rows of repeated (user, item) pairs; the last row is kept"


@pytest.mark.parametrize("how", ["mean", "sum"])
def test_rows_that_were_added_up_are_no_exact_duplicates(how) -> None:
    got = clean(raw([(0, 0, 9, 1), (0, 0, 9, 1), (0, 1, 2, 0)]), DataConfig(repeats=how))
    assert got.account[1] == (
        "dropped 1 row of repeated (user, item) pairs; a pair has every kind of feedback of its rows, "
        f"with the {how} of their numbers"
    )


def test_every_row_is_an_event_on_request() -> None:
    got = clean(raw([*REPEATED, REPEATED[0]]), DataConfig(repeats="keep"))
    assert rows_of(got) == [(0, 0, 1, 1), (0, 1, 2, 0), (0, 1, 3, 0), (0, 0, 4, 0), (1, 0, 5, 0), (1, 0, 7, 1)]
    assert got.log.repeats
    assert got.account[1:3] == (
        "dropped 1 exact duplicate of a row",
        "kept 3 rows of (user, item) pairs that have an earlier one (data.repeats=keep)",
    )


def test_kinds_of_feedback_from_several_rows_join_at_the_last_row_that_has_one() -> None:
    log = raw([(0, 0, 1, 1), (0, 0, 2, 0), (0, 0, 3, 0)]).log
    log = dataclasses.replace(log, feedback=np.array([[1, 0], [0, 1], [0, 0]], np.float32), feedback_names=("a", "b"))
    got = clean(RawLog(log, ("u",), ("i",), ()), DataConfig())
    assert (got.log.time.tolist(), got.log.feedback.tolist()) == ([2], [[1, 1]])
    assert got.account[0].endswith("which gives 'a' to 1 and 'b' to 1 whose last row lacks it")


def test_context_and_reviews_stay_with_their_rows() -> None:
    made = raw([(0, 1, 9, 0), (0, 2, 3, 1), (0, 1, 4, 0)])
    context, review = np.array([[9.0], [3.0], [4.0]], np.float32), np.array(["nine", "three", "four"], object)
    log = dataclasses.replace(made.log, context=context, context_names=("time",), review=review)
    got = clean(dataclasses.replace(made, log=log), DataConfig()).log
    assert got.context is not None and got.review is not None
    assert got.context[:, 0].tolist() == got.time.tolist() == [3, 9]
    assert got.review.tolist() == ["three", "nine"]


def test_of_a_pair_at_one_time_the_last_in_the_file_stays() -> None:
    got = clean(raw([(0, 0, 4, 1), (0, 0, 4, 0)]), DataConfig(repeats="last"))
    assert rows_of(got) == [(0, 0, 4, 0)]


def test_the_k_core_is_repeated_until_both_bounds_hold() -> None:
    # item 2 has one row; without it user 1 has one row; without that user item 1 has one row
    rows = [(0, 0, 0, 1), (0, 1, 1, 1), (1, 1, 0, 1), (1, 2, 1, 1), (2, 0, 0, 1), (2, 3, 1, 1), (0, 3, 2, 1)]
    got = clean(raw(rows), DataConfig(min_user_rows=2, min_item_rows=2))
    assert rows_of(got) == [(0, 0, 0, 1), (0, 3, 2, 1), (2, 0, 0, 1), (2, 3, 1, 1)]
    assert got.account[1].startswith("dropped 3 rows outside the k-core in 3 rounds")


def test_an_empty_k_core_names_its_keys() -> None:
    with pytest.raises(InputError, match=r"k-core of 1 row is empty \(data.min_user_rows=2, data.min_item_rows=1"):
        clean(raw([(0, 0, 0, 1)]), DataConfig(min_user_rows=2))


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 3), st.sampled_from([0.0, 1.0]))).filter(
        bool
    ),
    st.integers(1, 3),
    st.integers(1, 3),
)
@settings(deadline=None)
def test_what_is_left_holds_the_bounds_and_is_sorted_and_single(rows, users, items) -> None:
    try:
        got = clean(raw(rows), dataclasses.replace(DataConfig(), min_user_rows=users, min_item_rows=items))
    except InputError:
        return
    kept = rows_of(got)
    assert set(kept) <= set(rows)
    assert len({row[:2] for row in kept}) == len(kept)
    assert [(u, t) for u, _, t, _ in kept] == sorted((u, t) for u, _, t, _ in kept)
    assert np.unique(got.log.user, return_counts=True)[1].min() >= users
    assert np.unique(got.log.item, return_counts=True)[1].min() >= items


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 1), st.sampled_from([0.0, 1.0])), min_size=1
    )
)
@settings(deadline=None)
def test_of_equal_rows_one_stays_and_the_others_are_counted(rows) -> None:
    got = clean(raw(rows), DataConfig(repeats="keep"))
    latest = {row: n for n, row in enumerate(rows)}  # the last of equal rows stays
    assert rows_of(got) == sorted(latest, key=lambda row: (row[0], row[2], latest[row]))
    again = len(rows) - len(latest)
    assert any(line.startswith(f"dropped {again} exact duplicate") for line in got.account) == (again > 0)
