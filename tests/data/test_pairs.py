"""Rows that belong together: of a user and an item, of a user and a request."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import Columns, DataConfig, FeedbackKind
from jaxrec.data import Dataset, load_dataset
from jaxrec.data.pairs import changed, combined, groups, times_of_requests

ROWS = """user,item,time,request,seconds,event
a,x,10,r1,200,view
a,y,12,r1,50,view
a,z,11,,10,view
a,x,30,r2,500,buy
b,x,10,r1,700,view
b,y,40,r3,100,view
b,y,41,r3,900,view
c,x,1,,5,view
"""


def read(folder: Path, **options) -> Dataset:
    (folder / "log.csv").write_text(ROWS)
    kinds = {
        "played": FeedbackKind(column="seconds", at_least=600),
        "bought": FeedbackKind(column="event", equals="buy"),
    }
    return load_dataset(
        DataConfig(source="files", path=str(folder), item_file="", text="{title}", feedback=kinds, **options), 0
    )


def answers(data: Dataset) -> dict[str, list[list[float]]]:
    """Feedback of the rows of each item, in the order of time."""
    log = data.log
    return {name: log.feedback[log.item == n].tolist() for n, name in enumerate(data.catalogue.ids)}


@pytest.mark.parametrize(
    ("how", "x", "y"),
    [
        # of x: user a has 200 and 500, b 700, c 5; of y: a has 50, b 100 and 900
        ("maximum", [[0, 1], [0, 0], [1, 0]], [[0, 0], [1, 0]]),
        ("last", [[0, 1], [0, 0], [1, 0]], [[0, 0], [1, 0]]),
        ("sum", [[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 0]]),  # 700 and 1,000
        ("mean", [[0, 1], [0, 0], [1, 0]], [[0, 0], [0, 0]]),  # 350 and 500
        ("keep", [[0, 0], [0, 1], [0, 0], [1, 0]], [[0, 0], [0, 0], [1, 0]]),
    ],
)
def test_numbers_of_a_pair_are_combined_before_the_threshold(tmp_path: Path, how: str, x: list, y: list) -> None:
    got = answers(read(tmp_path, repeats=how))
    assert sorted(got["x"]) == sorted(x)
    assert sorted(got["y"]) == sorted(y)


@pytest.mark.parametrize(
    ("how", "change"),
    [
        ("sum", "gives 'played' to 1, compared with their rows alone"),  # a and x: 200 + 500
        ("mean", "takes 'played' from 1, compared with their rows alone"),  # b and y: 100 and 900
    ],
)
def test_the_account_counts_what_adding_up_and_averaging_change(tmp_path: Path, how: str, change: str) -> None:
    account = read(tmp_path, repeats=how).account
    assert f"log.csv: the {how} of the numbers of (user, item) pairs {change}" in account


def test_gains_and_losses_are_counted_by_group_and_kind() -> None:
    group = np.array([0, 0, 1, 1, 2, 3])
    alone = np.array([[0, 0], [0, 0], [1, 0], [0, 1], [1, 0], [0, 1]])
    together = np.array([[1, 0], [1, 0], [0, 0], [0, 0], [1, 0], [0, 1]])  # 0 gains a, 1 loses a and b
    got = changed(("a", "b"), alone, together, group)
    assert got == "gives 'a' to 1 and takes 'a' from 1 and takes 'b' from 1, compared with their rows alone"
    assert changed(("a", "b"), alone, alone, group) == "changes no feedback"
    assert changed(("a", "b"), alone[:2], alone[:2], np.array([4, 7])) == ""


def test_a_sum_that_is_no_feedback_is_called_a_sum(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,item,time,click\na,x,1,1\na,y,2,0\na,x,3,1\n")
    kinds = {"clicked": FeedbackKind(column="click")}
    config = DataConfig(source="files", path=str(tmp_path), item_file="", feedback=kinds, repeats="sum")
    with pytest.raises(InputError, match=r"line 2: the sum of click is 2, expected 0 or 1; .*clicked\.at_least"):
        load_dataset(config, 0)


def test_rows_of_a_request_have_the_time_of_its_first_row(tmp_path: Path) -> None:
    log = read(tmp_path, columns=Columns(request="request"), repeats="keep").log
    # a: r1 at 10 (x, y), z at 11, r2 at 30; b: r1 at 10 is another request, r3 at 40 twice; c at 1
    assert sorted(log.time.tolist()) == [1, 10, 10, 10, 11, 30, 40, 40]
    sizes = sorted(np.bincount(log.moments)[np.unique(log.moments)].tolist())
    assert sizes == [1, 1, 1, 1, 2, 2]


def test_groups_number_equal_cells_of_all_columns() -> None:
    group = groups(pa.array(["a", "a", "b", "a"]), pa.array(["1", "2", "1", "1"]))
    assert len(set(group)) == 3 and group[0] == group[3]


def test_rows_that_are_not_kept_count_nothing() -> None:
    group, keep = np.array([0, 0, 1, 0]), np.array([True, True, True, False])
    values = np.array([1.0, 3.0, 5.0, np.nan])
    np.testing.assert_array_equal(combined(values, group, keep, "mean"), [2, 2, 5, np.nan])
    np.testing.assert_array_equal(combined(values, group, keep, "sum"), [4, 4, 5, np.nan])


def test_rows_without_a_request_keep_their_time() -> None:
    time = times_of_requests(np.array([5, 3, 4]), np.array([0, 0, 0]), np.array([True, True, False]))
    np.testing.assert_array_equal(time, [3, 3, 4])


@pytest.mark.parametrize("owner", ["user", "item"])
@pytest.mark.parametrize("key", ["review", "request"])
def test_the_columns_of_users_and_items_are_nothing_else(key: str, owner: str) -> None:
    with pytest.raises(InputError, match=rf"data\.columns\.{key}: '{owner}' is the column of the {owner}s"):
        Columns(**{key: owner})
