"""Text cells as numbers, times and feedback."""

import datetime
from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa

from jaxrec.checks import InputError
from jaxrec.config.data import FeedbackKind
from jaxrec.data.table import compute

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
MILLIONTHS = 1_000_000
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
LARGEST_TIME = 9.2e18  # of int64


def numbers(cells: pa.Array) -> np.ndarray:
    """Cells [R] of text as float64 [R]; NaN where a cell is no finite number ('nan' and 'inf' are none)."""
    is_number = compute.match_substring_regex(cells, NUMBER)
    text = compute.utf8_ltrim(compute.if_else(is_number, cells, None), "+")
    values = compute.cast(text, pa.float64()).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values), values, np.nan)


def times(cells: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Cells [R] of text as int64 [R], and which of them are no time, [R] bool.

    A column holds numbers or ISO dates, whichever reads more of its rows. Whole numbers stay in the units of
    the file, numbers with fractions become millionths of them, dates become microseconds since 1970 (UTC).
    """
    values = numbers(cells)
    bad = np.isnan(values)
    if bad.mean() > 0.5:
        dates, bad_dates = _dates(cells)
        if bad_dates.sum() < bad.sum():
            return dates, bad_dates
    if np.any(values[~bad] != np.floor(values[~bad])):
        values = values * MILLIONTHS
    bad |= ~(np.abs(values) < LARGEST_TIME)
    exact = np.rint(np.where(bad, 0.0, values)).astype(np.int64)
    # float64 drops the last digits of nanoseconds, which order the rows.
    for row in np.flatnonzero(np.abs(exact) >= 2**53):
        text = cells[int(row)].as_py()
        exact[row] = int(text) if text.lstrip("+-").isdigit() else exact[row]
    return exact, bad


def binary_feedback(
    kinds: Mapping[str, FeedbackKind],
    values: Mapping[str, np.ndarray],
    keep: np.ndarray,
    where: Callable[[int], str],
) -> np.ndarray:
    """Feedback [R, F] float32 of 0 and 1 from numeric columns [R]; a kind without a column is 1 everywhere.

    Raises InputError, with `where` naming the row, when a kept value is neither 0 nor 1 and the kind has no
    threshold.
    """
    feedback = np.ones((len(keep), len(kinds)), np.float32)
    for f, (name, kind) in enumerate(kinds.items()):
        if kind.column is None:
            continue
        column = values[kind.column]
        if kind.at_least is not None:
            feedback[:, f] = column >= kind.at_least
            continue
        other = np.flatnonzero(keep & (column != 0) & (column != 1))
        if len(other):
            raise InputError(
                f"{where(other[0])}: {kind.column} is {column[other[0]]:g}, wanted 0 or 1; set "
                f"data.feedback.{name}.at_least to the value from which it counts as 1."
            )
        feedback[:, f] = column
    return feedback


def _dates(cells: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    encoded = cells.dictionary_encode()
    parsed = [_microseconds(text) for text in encoded.dictionary.to_pylist()]
    bad = np.array([value is None for value in parsed])
    values = np.array([0 if value is None else value for value in parsed], np.int64)
    rows = encoded.indices.to_numpy()
    return values[rows], bad[rows]


def _microseconds(text: str) -> int | None:
    try:
        date = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
    return (date - EPOCH) // datetime.timedelta(microseconds=1)
