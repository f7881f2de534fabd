import numpy as np
import pyarrow as pa
import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import FeedbackKind
from jaxrec.data.values import binary_feedback, feedback_numbers, numbers, times


def cells(*texts: str) -> pa.Array:
    return pa.array(texts, pa.string())


def test_only_finite_numbers_are_numbers() -> None:
    got = numbers(cells("1", "+2.5", "-.5e1", "", "nan", "inf", "1e999", "0x1", "1,5", "٣"))
    np.testing.assert_array_equal(got, [1, 2.5, -5] + [np.nan] * 7)


def test_whole_times_stay_exact_beyond_the_digits_of_a_float() -> None:
    got, bad = times(cells("1700000000123456789", "+1700000000123456788", "-3", "9e15", "later", "1e30"))
    np.testing.assert_array_equal(got[:4], [1700000000123456789, 1700000000123456788, -3, 9_000_000_000_000_000])
    np.testing.assert_array_equal(bad, [False, False, False, False, True, True])


def test_times_with_fractions_become_millionths() -> None:
    got, bad = times(cells("1.5", "2"))
    np.testing.assert_array_equal(got, [1_500_000, 2_000_000])
    assert not bad.any()


def test_dates_become_microseconds_and_mind_their_zone() -> None:
    got, bad = times(cells("1970-01-02", "1970-01-01T00:00:01.5", "1970-01-01 01:00:00+01:00", "1970-13-01", "9"))
    np.testing.assert_array_equal(got[:3], [86_400_000_000, 1_500_000, 0])
    np.testing.assert_array_equal(bad, [False, False, False, True, True])


def test_dates_read_alike_however_they_are_written_and_whatever_stands_beside_them() -> None:
    same = ("1970-01-02T00:00", "1970-01-02 00:00:00.0", "1970-01-02T00:00:00Z", "1970-01-02T00:00:00.000000+00:00")
    rare = ("19700102", "1970-W01-5", "1970-01-02T02:00+02:00")
    for texts in (same, rare, (*same, *rare), (*same, *rare, "1970-02-30")):  # one bad day stops the fast way
        got, bad = times(cells(*texts))
        np.testing.assert_array_equal(got[~bad], [86_400_000_000] * (~bad).sum())
        assert bad.sum() == ("1970-02-30" in texts)


def test_true_and_false_are_feedback_but_no_numbers() -> None:
    got = feedback_numbers(cells("true", "False", "TRUE", "2", "yes"))
    np.testing.assert_array_equal(got, [1, 0, 1, 2, np.nan])
    np.testing.assert_array_equal(numbers(cells("true", "1")), [np.nan, 1])


def test_thresholds_make_half_lines_and_bands_and_ratios_are_divided_first() -> None:
    kinds = {
        "high": FeedbackKind(column="x", at_least=4),
        "low": FeedbackKind(column="x", at_most=2),
        "middle": FeedbackKind(column="x", at_least=2, at_most=4),
        "most": FeedbackKind(column="x", over="y", at_least=0.5),
        "shown": FeedbackKind(),
    }
    values = {"x": np.array([1.0, 2, 3, 4, 5]), "y": np.array([2.0, 8, 6, 0, -5])}
    keep = np.array([True, True, True, False, True])  # a row of duration 0 is never kept
    got = binary_feedback(kinds, values, keep, str)[keep]
    # ratios 0.5, 0.25, 0.5, -1
    want = [[0, 1, 0, 1, 1], [0, 1, 1, 0, 1], [0, 0, 1, 1, 1], [1, 0, 0, 0, 1]]
    np.testing.assert_array_equal(got, want)


def test_a_ratio_without_threshold_must_be_0_or_1_in_kept_rows() -> None:
    kinds = {"done": FeedbackKind(column="x", over="y")}
    values = {"x": np.array([3.0, 3, 0, 1]), "y": np.array([3.0, 0, 7, 2])}
    keep = np.array([True, False, True, False])
    np.testing.assert_array_equal(binary_feedback(kinds, values, keep, str)[keep], [[1], [0]])
    with pytest.raises(InputError, match=r"row 3: x / y is 0.5, expected 0 or 1.*data.feedback.done.at_least"):
        binary_feedback(kinds, values, ~np.array([False, True, False, False]), lambda row: f"row {row}")
