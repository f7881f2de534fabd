"""Rows of one moment tell nothing of each other: slates of four with one click that pure chance draws."""

import numpy as np
import pytest

from jaxrec.config.logged import ResponseConfig
from jaxrec.config.tastes import TastesConfig
from jaxrec.data.log import Log
from jaxrec.nets.tastes import Drawing
from jaxrec.supervised.contrast import draw_items
from jaxrec.supervised.histories import row_histories, running_totals
from jaxrec.supervised.validity import validity_of_response, validity_of_tastes

USERS, SLATES, SIZE, ITEMS = 150, 10, 4, 50


def chance_clicks(order: str) -> Log:
    """One clicked row in every slate, the first one, the last one, or any; all rows of a slate have one time."""
    rng = np.random.default_rng(7)
    places = {"first": 0, "last": SIZE - 1, "shuffled": rng.integers(SIZE, size=(USERS, SLATES))}
    clicked = np.zeros((USERS, SLATES, SIZE), np.float32)
    np.put_along_axis(clicked, np.broadcast_to(places[order], (USERS, SLATES))[..., None], 1.0, axis=-1)
    return Log(
        user=np.repeat(np.arange(USERS), SLATES * SIZE).astype(np.int32),
        item=np.concatenate([rng.permutation(ITEMS)[: SLATES * SIZE] for _ in range(USERS)]).astype(np.int32),
        time=np.tile(np.repeat(np.arange(SLATES), SIZE), USERS),
        feedback=clicked.reshape(-1, 1),
        feedback_names=("clicked",),
        num_users=USERS,
        num_items=ITEMS,
    )


@pytest.mark.parametrize("order", ["first", "last", "shuffled"])
def test_clicks_by_chance_cannot_be_predicted(order: str) -> None:
    log = chance_clicks(order)
    config = ResponseConfig(history_length=8, width=8, heads=2, epochs=4, batch_size=64)
    tastes = TastesConfig(width=2, steps=100, draws=1, search=False)
    for report in (validity_of_response(log, None, config, 0).report, validity_of_tastes(log, None, tastes, 0).report):
        row = report["feedback"]["clicked"]
        assert 0.45 < row["auc"] < 0.55
        assert 0.45 < row["auc_running_means"] < 0.55


def moments_log() -> Log:
    """Two users; the first has two rows at time 3, the second one three rows at time 1."""
    return Log(
        user=np.array([0, 0, 0, 0, 1, 1, 1, 1], np.int32),
        item=np.array([0, 1, 2, 0, 1, 2, 0, 3], np.int32),
        time=np.array([1, 3, 3, 4, 1, 1, 1, 4]),
        feedback=np.array([[1], [0], [1], [1], [1], [1], [0], [1]], np.float32),
        feedback_names=("clicked",),
        num_users=2,
        num_items=4,
    )


def test_a_moment_begins_with_its_first_row() -> None:
    np.testing.assert_array_equal(moments_log().moments, [0, 1, 1, 3, 4, 4, 4, 7])
    assert len(moments_log().take(np.zeros(8, bool)).moments) == 0


def test_histories_end_at_strictly_earlier_times() -> None:
    history = row_histories(moments_log(), np.array([2, 3, 6, 7]), 3)
    np.testing.assert_array_equal(history.items, [[-1, -1, 0], [0, 1, 2], [-1, -1, -1], [1, 2, 0]])
    np.testing.assert_array_equal(history.count, [1, 3, 0, 3])
    np.testing.assert_array_equal(history.totals[:, 0], [1, 2, 0, 2])


def test_totals_count_strictly_earlier_rows_of_the_whole_log() -> None:
    log = moments_log()
    count, totals = running_totals(log, log.user)
    np.testing.assert_array_equal(count, [0, 1, 1, 3, 0, 0, 0, 3])
    np.testing.assert_array_equal(totals[:, 0], [0, 1, 1, 2, 0, 0, 0, 2])
    count, totals = running_totals(log, log.item)
    # Item 0 at times 1 (clicked), 1 (not) and 4; item 1 at 1 (clicked) and 3; item 2 at 1 (clicked) and 3; item 3 at 4.
    np.testing.assert_array_equal(count, [0, 1, 1, 2, 0, 0, 0, 0])
    np.testing.assert_array_equal(totals[:, 0], [0, 1, 1, 1, 0, 0, 0, 0])


def test_items_of_the_same_moment_are_not_drawn_against_each_other() -> None:
    log = moments_log()
    even = Drawing(np.full(4, 0.25, np.float32), np.ones(1, np.float32), np.zeros((4, 1), np.float32), 20)
    drawn = draw_items(even, log, 0, before=True)
    open_to = [{1, 2, 3}, {3}, {3}, {3}, {3}, {3}, {3}, set()]  # items of the moment and of earlier ones are left out
    for row, items in enumerate(open_to):
        assert set(drawn[row]) - {-1} == items
