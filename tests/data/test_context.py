import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import Columns, DataConfig, FeedbackKind
from jaxrec.data import load_dataset
from jaxrec.data.context import in_columns, seconds, visit_context

MONDAY_6H = 1_704_088_800  # 2024-01-01 06:00:00 UTC
HALF = 2**-0.5
LOG = """user,item,time,stars,device
anna,a,2024-01-01,5,tv
ben,a,2024-01-01,1,phone
anna,b,2024-01-02,4,phone
carl,b,2024-01-02,4,
dora,b,2024-01-02,4,tablet
ben,b,2024-01-02,4,phone
"""
USERS = "id,country,device\nben,FR,old\nanna,DE,new\nanna,IT,new\neve,DE,new\n"


@pytest.fixture
def shop(tmp_path: Path) -> DataConfig:
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "users.csv").write_text(USERS)
    return DataConfig(
        source="files",
        path=str(tmp_path),
        item_file="",
        columns=Columns(user_id="id"),
        feedback={"liked": FeedbackKind(column="stars", at_least=4)},
    )


def test_hours_lie_on_a_circle_and_weekdays_are_one_hot() -> None:
    times = MONDAY_6H + np.array([0, 3 * 3600, 18 * 3600, 6 * 86_400])  # Mon 6h, Mon 9h, Tue 0h, Sun 6h
    context, names = visit_context(DataConfig(context=("hour", "weekday")), times, {})
    assert names == (
        "hour_sin",
        "hour_cos",
        *(f"weekday={d}" for d in ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")),
    )
    assert context is not None and context.dtype == np.float32
    np.testing.assert_allclose(context[:, :2], [[1, 0], [HALF, -HALF], [0, 1], [1, 0]], atol=1e-6)
    np.testing.assert_array_equal(context[:, 2:], np.eye(7)[[0, 0, 1, 6]])


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_the_unit_of_times_is_read_from_their_size(unit: int) -> None:
    times = np.array([0, MONDAY_6H, MONDAY_6H + 60, -5]) * unit  # the middle counts, not what is far off
    np.testing.assert_allclose(seconds(times), [0, MONDAY_6H, MONDAY_6H + 60, -5], rtol=1e-12)


@pytest.mark.parametrize("times", [[1, 2, 3], [10**10, 10**10], [-MONDAY_6H]])
def test_counters_are_no_clock(times: list[int]) -> None:
    with pytest.raises(InputError, match=r"data.context: hour and weekday need dates, or times in seconds"):
        visit_context(DataConfig(context=("weekday",)), np.array(times), {})


def test_the_most_frequent_values_are_told_apart_and_the_rest_is_zero() -> None:
    cells = pa.array(["b", "c", "a", "", "b", None, "c", "d", "a", "b"])
    context, names = visit_context(DataConfig(context=("x",), context_values=2), np.zeros(10), {"x": cells})
    assert names == ("x=b", "x=a")  # a and c are equally frequent
    want = {"b": [1, 0], "a": [0, 1]}
    np.testing.assert_array_equal(context, [want.get(cell, [0, 0]) for cell in cells.to_pylist()])


def test_columns_come_from_the_log_where_there_is_no_user_table(shop: DataConfig) -> None:
    log = load_dataset(dataclasses.replace(shop, context=("device", "weekday"), context_values=2), 0).log
    assert log.context_names[:3] == ("device=phone", "device=tablet", "weekday=Mon")
    assert log.context is not None
    # anna's two rows, ben's two, carl without a device, dora's tablet
    np.testing.assert_array_equal(log.context[:, :2], [[0, 0], [1, 0], [1, 0], [1, 0], [0, 0], [0, 1]])
    np.testing.assert_array_equal(log.context[:, 2], [1, 0, 1, 0, 0, 0])
    assert len(log.take(log.user == 1).context) == 2


def test_the_user_table_comes_first_and_its_first_row_of_a_user_counts(shop: DataConfig) -> None:
    data = load_dataset(dataclasses.replace(shop, user_file="users.csv", context=("country", "device")), 0)
    assert data.log.context_names == ("country=DE", "country=FR", "device=new", "device=old")
    np.testing.assert_array_equal(data.log.context, [[1, 0, 1, 0]] * 2 + [[0, 1, 0, 1]] * 2 + [[0, 0, 0, 0]] * 2)
    assert "users.csv: read 4 users" in data.account
    assert "users.csv: 1 repeated id, the first row of each is kept" in data.account


def test_a_later_log_is_read_in_the_columns_of_the_earlier_one(shop: DataConfig) -> None:
    log = load_dataset(dataclasses.replace(shop, context=("weekday", "device")), 0).log
    assert log.context_names[-3:] == ("device=phone", "device=tablet", "device=tv")
    names = ("device=tv", "device=radio", "device=phone", "weekday=Mon")
    got = in_columns(log, names)
    assert got.context_names == names and got.context is not None and log.context is not None
    np.testing.assert_array_equal(got.context[:, [0, 2, 3]], log.context[:, [-1, -3, 0]])
    assert not got.context[:, 1].any() and got.context.dtype == np.float32
    for others in (("device=tv",), (*names, "hour_sin"), ()):
        with pytest.raises(InputError, match=r"data.context: the earlier run and this recipe differ \(.*device"):
            in_columns(log, others)
    assert in_columns(load_dataset(shop, 0).log, ()).context is None


def test_a_log_without_context_has_none(shop: DataConfig) -> None:
    log = load_dataset(shop, 0).log
    assert log.context is None and log.context_names == ()


def test_the_generated_log_and_movielens_have_a_clock(tmp_path: Path) -> None:
    generated = load_dataset(DataConfig(context=("hour", "weekday")), 0).log
    assert generated.context is not None and generated.context.shape == (len(generated), 9)
    (tmp_path / "ratings.csv").write_text(f"userId,movieId,rating,timestamp\n7,20,4.0,{MONDAY_6H}\n")
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n20,Twenty,Drama\n")
    movielens = DataConfig(source="movielens", path=str(tmp_path), context=("weekday",))
    np.testing.assert_array_equal(load_dataset(movielens, 0).log.context, np.eye(7)[:1])
