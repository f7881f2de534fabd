import numpy as np
import pyarrow as pa

from jaxrec.data.values import numbers, times


def cells(*texts: str) -> pa.Array:
    return pa.array(texts, pa.string())


def test_only_finite_numbers_are_numbers() -> None:
    got = numbers(cells("1", "+2.5", "-.5e1", "", "nan", "inf", "1e999", "0x1", "1,5", "٣"))
    np.testing.assert_array_equal(got, [1, 2.5, -5] + [np.nan] * 7)


def test_whole_times_stay_exact_beyond_the_digits_of_a_float() -> None:
    got, bad = times(cells("1700000000123456789", "1700000000123456788", "-3", "later", "1e30"))
    np.testing.assert_array_equal(got[:3], [1700000000123456789, 1700000000123456788, -3])
    np.testing.assert_array_equal(bad, [False, False, False, True, True])


def test_times_with_fractions_become_millionths() -> None:
    got, bad = times(cells("1.5", "2"))
    np.testing.assert_array_equal(got, [1_500_000, 2_000_000])
    assert not bad.any()


def test_dates_become_microseconds_and_mind_their_zone() -> None:
    got, bad = times(cells("1970-01-02", "1970-01-01T00:00:01.5", "1970-01-01 01:00:00+01:00", "1970-13-01", "9"))
    np.testing.assert_array_equal(got[:3], [86_400_000_000, 1_500_000, 0])
    np.testing.assert_array_equal(bad, [False, False, False, True, True])
