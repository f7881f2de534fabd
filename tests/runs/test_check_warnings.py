"""Warnings about a log; each case has a log that earns it and one that does not."""

import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jaxrec.config.data import DataConfig
from jaxrec.config.load import build_section
from jaxrec.data import Catalogue, Log, load_dataset
from jaxrec.runs.check_columns import column_finding
from jaxrec.runs.check_data import date_of, moments, quantiles
from jaxrec.runs.check_warnings import (
    kind_warnings,
    opposite_warnings,
    size_warnings,
    text_warnings,
    time_warnings,
    user_warnings,
)

NOON = int(datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC).timestamp())
DAY = 86_400


def make_log(user: list[int], time: list[int], liked: list[int] | None = None, items: int = 60) -> Log:
    rows = len(user)
    return Log(
        user=np.array(user, np.int32),
        item=np.arange(rows, dtype=np.int32) % items,
        time=np.array(time, np.int64),
        feedback=np.array(liked if liked is not None else [1, 0] * (rows // 2) + [1] * (rows % 2), np.float32)[:, None],
        feedback_names=("liked",),
        num_users=max(user) + 1,
        num_items=items,
    )


def catalogue(texts: list[str], titles: list[str] | None = None) -> Catalogue:
    ids = tuple(f"i{n}" for n in range(len(texts)))
    return Catalogue(ids, tuple(titles or [f"title {n}" for n in range(len(texts))]), tuple(texts))


def test_few_users_and_items_are_named() -> None:
    few = size_warnings(make_log([0, 1], [1, 2], items=2))
    assert [line.split(";")[0] for line in few] == ["only 2 users", "only 2 items"]
    assert size_warnings(make_log(list(range(100)), [1] * 100)) == []


@pytest.mark.parametrize(("given", "value"), [(3, 1), (997, 0)])
def test_a_kind_with_rare_values_is_named(given: int, value: int) -> None:
    lines = kind_warnings(make_log([0] * 1000, [1] * 1000, [1] * given + [0] * (1000 - given)))
    assert len(lines) == 1 and lines[0].startswith(f"'liked' is {value} in only 3 rows of 1,000 (0.30%)")


def test_balanced_kinds_and_kinds_of_one_value_are_not_rare() -> None:
    assert kind_warnings(make_log([0] * 1000, [1] * 1000)) == []
    assert kind_warnings(make_log([0] * 10, [1] * 10, [1] * 10)) == []


def opposite(log_file: Path, repeats: str) -> list[str]:
    feedback = {
        "liked": {"column": "stars", "at_least": 4},
        "disliked": {"column": "stars", "at_most": 2},
        "seen": {"column": "stars", "at_least": 1},
    }
    values = {"source": "files", "path": str(log_file.parent), "item_file": "", "feedback": feedback}
    config = build_section(DataConfig, values | {"repeats": repeats}, "data", "recipe")
    return opposite_warnings(config, load_dataset(config, 0).log)


def test_opinions_that_changed_are_counted(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,item,time,stars\na,x,1,2\na,x,2,5\na,y,3,1\nb,x,4,5\nb,x,5,1\nb,y,6,3\n")
    assert opposite(log, "maximum") == [
        "2 (user, item) pairs with several rows are 'liked' and 'disliked' at once; data.repeats=last takes the last "
        "opinion"
    ]
    for repeats in ("last", "mean", "keep"):
        assert opposite(log, repeats) == []
    log.write_text("user,item,time,stars\na,x,1,2\na,x,2,1\na,y,3,5\n")
    assert opposite(log, "maximum") == []


def test_equal_times_say_nothing() -> None:
    log = make_log([0, 0, 1, 1], [NOON] * 4)
    assert time_warnings(log, log.time.astype(float), NOON)[0].startswith("all times are equal")


def test_users_with_one_time_for_all_rows_have_no_past() -> None:
    log = make_log([0, 0, 1, 1, 2], [1, 1, 5, 5, 7])
    assert time_warnings(log, None, NOON)[0].startswith("2 of 2 users with several rows have one time")
    assert time_warnings(make_log([0, 0, 1, 1, 2], [1, 2, 5, 5, 7]), None, NOON) == []


def test_dates_without_a_clock_are_found() -> None:
    days = make_log([0, 0, 0, 0], [NOON - 12 * 3600 + n * DAY for n in range(4)])
    lines = time_warnings(days, days.time.astype(float), NOON + 100 * DAY)
    assert len(lines) == 1 and lines[0].startswith("100% of the rows are at 00:00:00 UTC")
    clock = make_log([0, 0, 0, 0], [NOON + n * (DAY + 3600) for n in range(4)])
    assert time_warnings(clock, clock.time.astype(float), NOON + 100 * DAY) == []


def test_times_that_stand_for_missing_ones_are_counted() -> None:
    log = make_log([0, 0, 0, 0], [-1, 0, NOON - 77, NOON])
    lines = time_warnings(log, log.time.astype(float), NOON)
    assert len(lines) == 1 and lines[0].startswith("2 rows before 1990")


def test_future_dates_are_counted_from_tomorrow_on() -> None:
    log = make_log([0, 0, 0], [NOON, NOON + 1000, NOON + 3 * DAY + 77])
    lines = time_warnings(log, log.time.astype(float), NOON)
    assert len(lines) == 1 and lines[0].startswith("1 row in the future")


def test_items_without_text_are_counted() -> None:
    lines = text_warnings(catalogue(["i0", "", "red lamp", "blue chair"]))
    assert lines == ["2 of 4 items have no text but their id, which the encoder cannot use"]


def test_texts_that_differ_in_numbers_and_common_words_are_alike() -> None:
    alike = text_warnings(catalogue([f"Product {n} of the shop" for n in range(30)]))
    assert len(alike) == 1 and alike[0].startswith("only 1 different text among 30 items")
    words = ["lamp", "chair", "desk", "sofa", "bed", "rug"]
    assert text_warnings(catalogue([f"{a} {b} of the shop" for a in words for b in words if a < b])) == []


def test_duplicate_titles_are_counted() -> None:
    titles = ["lamp", "lamp", "lamp", "desk", "desk", "bed"]
    texts = ["one", "two", "three", "four", "five", "six"]
    assert text_warnings(catalogue(texts, titles)) == [
        "5 items share 2 titles ('lamp': 3 items); they may be one item with several ids"
    ]


def test_users_with_thousands_of_rows_are_named() -> None:
    log = make_log([0] * 3000 + [1] * 1000, list(range(4000)))
    assert user_warnings(log)[0].startswith("1 user with 2,000 rows or more (most: 3,000), 75.0% of all rows")
    assert user_warnings(make_log([0] * 1999, list(range(1999)))) == []


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2", ""], "whole number"),
        (["1.5", "2"], "number"),
        (["true", "False"], "true or false"),
        (["2024-01-05", "2024-01-06T10:00:00Z"], "date"),
        (["red", "blue"], "text"),
        (["", ""], "empty"),
        ([*map(str, range(19)), "n/k"], "number in 95.0% of the cells, else text"),
    ],
)
def test_types_of_columns(cells: list[str], kind: str) -> None:
    assert column_finding(pa.array(cells))["type"] == kind


def test_words_for_missing_cells_and_decimal_commas_are_understood() -> None:
    found = column_finding(pa.array(["1,5", "2,5", "NA", ""]), ("NA",), decimal_comma=True)
    assert found == {
        "type": "number",
        "missing": 0.5,
        "distinct": 2,
        "least": 1.5,
        "greatest": 2.5,
        "values": {"1,5": 1, "2,5": 1},
    }


def test_quantiles_and_moments_are_those_of_the_counts() -> None:
    assert quantiles(np.array([1, 2, 3, 4, 5]))["median"] == 3 and quantiles(np.array([1, 2, 3, 6]))["mean"] == 3
    found = moments(make_log([0, 0, 0, 1, 1], [7, 7, 8, 8, 8]))
    assert (found["moments"], found["rows_together"], found["sizes"]) == (3, 0.8, {"2": 2, "1": 1})


def test_dates_are_written_in_utc() -> None:
    assert date_of(NOON + 61) == "2024-05-01 12:01"
