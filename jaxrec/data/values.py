"""Convert cells of text to numbers, times and feedback."""

import datetime
from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa

from jaxrec.checks import InputError
from jaxrec.config.data import FeedbackKind
from jaxrec.data.cells import compute

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
WHOLE = r"^[+-]?\d+$"
MILLIONTHS = 1_000_000
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
IN_WORDS = " UTC"  # after a date, as BigQuery writes it
IN_UTC = r"(Z|\+00:00| UTC)$"
USUAL_DATE = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|\+00:00| UTC)?)?$"
DECIMAL_COMMA = r"^([+-]?\d*),(\d+)$"
THOUSANDS_COMMAS = r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$"
LARGEST_TIME = 9.2e18  # of int64


def numbers(cells: pa.Array) -> np.ndarray:
    """Convert cells [R] of text to float64 [R]; NaN if a cell is not a finite number ('nan' and 'inf' are not)."""
    is_number = compute.match_substring_regex(cells, NUMBER)
    text = compute.utf8_ltrim(compute.if_else(is_number, cells, None), "+")
    values = compute.cast(text, pa.float64()).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values), values, np.nan)


def feedback_numbers(cells: pa.Array) -> np.ndarray:
    """Convert a column of feedback like `numbers`; it may also hold true (1) and false (0)."""
    values = numbers(cells)
    if np.isnan(values).any():
        words = compute.utf8_lower(cells)
        for word, value in (("true", 1.0), ("false", 0.0)):
            values[compute.equal(words, word).to_numpy(zero_copy_only=False)] = value
    return values


def times(cells: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Convert cells [R] of text to int64 [R]; also says which of them are not a time, [R] bool.

    A column is read as numbers or as ISO dates, whichever fits more of its rows. Whole numbers stay in the units of
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
    # float64 drops the last digits of nanoseconds, but the order of rows depends on them.
    long = np.abs(exact) >= 2**53
    if long.any():
        long &= compute.match_substring_regex(cells, WHOLE).to_numpy(zero_copy_only=False)
        exact[long] = compute.cast(compute.utf8_ltrim(cells.filter(pa.array(long)), "+"), pa.int64()).to_numpy()
    return exact, bad


def comma_advice(cells: pa.Array, decimal_setting: str) -> str:
    """Say how to read cells that are no numbers because of commas: '; set ...'; empty if that is not the reason."""
    commas = cells.filter(compute.match_substring(cells, ","))
    if len(commas) and compute.all(compute.match_substring_regex(commas, THOUSANDS_COMMAS)).as_py():
        other = f", or set {decimal_setting}.decimal=comma if they are decimal" if decimal_setting else ""
        return f"; remove commas that separate thousands{other}"
    if decimal_setting and compute.any(compute.match_substring_regex(cells, DECIMAL_COMMA)).as_py():
        return f"; set {decimal_setting}.decimal=comma if commas are decimal"
    return ""


def number_source(name: str, kind: FeedbackKind) -> str:
    """Name the numbers of a kind: its column, or the weights of the words in its column."""
    return f"{kind.column} by data.feedback.{name}.weights" if kind.weights else str(kind.column)


def binary_feedback(
    kinds: Mapping[str, FeedbackKind],
    values: Mapping[str, np.ndarray],
    keep: np.ndarray,
    where: Callable[[int], str],
    words: Mapping[str, np.ndarray] | None = None,
    of: str = "",
) -> np.ndarray:
    """Compute feedback [R, F] float32 of 0 and 1 from numeric columns [R]; a kind without a column is 1 everywhere.

    `words` has the values of kinds that are read from words; `of` says in messages what the numbers are of several
    rows ('the sum of '). A kind's number is its column (see `number_source`),
    divided by its column `over` if set; both thresholds together make a band.

    Raises InputError if a kept value is neither 0 nor 1 and the kind has no threshold; `where` names the row.
    """
    feedback = np.ones((len(keep), len(kinds)), np.float32)
    for f, (name, kind) in enumerate(kinds.items()):
        if words and name in words:
            feedback[:, f] = words[name]
            continue
        if kind.column is None:
            continue
        what = number_source(name, kind)
        column = values[what]
        if kind.over is not None:
            with np.errstate(divide="ignore", invalid="ignore"):  # in rows that are not kept
                column, what = column / values[kind.over], f"{kind.column} / {kind.over}"
        if kind.band is not None:
            feedback[:, f] = (column >= kind.band[0]) & (column <= kind.band[1])
            continue
        other = np.flatnonzero(keep & (column != 0) & (column != 1))
        if len(other):
            raise InputError(
                f"{where(other[0])}: {of}{what} is {column[other[0]]:g}, expected 0 or 1; set "
                f"data.feedback.{name}.at_least to the value from which it counts as 1 (or at_most)."
            )
        feedback[:, f] = column
    return feedback


def _dates(cells: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    encoded = cells.dictionary_encode()
    texts = encoded.dictionary
    try:
        parsed = compute.cast(_usual_dates(texts), pa.timestamp("us"))
    except pa.ArrowInvalid:  # there is no such day
        parsed = pa.nulls(len(texts), pa.timestamp("us"))
    values = compute.fill_null(parsed.cast(pa.int64()), 0).to_numpy().copy()
    bad = parsed.is_null().to_numpy(zero_copy_only=False).copy()
    for row in np.flatnonzero(bad):
        value = _microseconds(texts[int(row)].as_py())
        if value is not None:
            values[row], bad[row] = value, False
    rows = encoded.indices.to_numpy()
    return values[rows], bad[rows]


def _usual_dates(texts: pa.Array) -> pa.Array:
    """Keep dates in UTC or without a zone, which pyarrow reads twenty times as fast as Python; null elsewhere."""
    return compute.if_else(
        compute.match_substring_regex(texts, USUAL_DATE), compute.replace_substring_regex(texts, IN_UTC, ""), None
    )


def _microseconds(text: str) -> int | None:
    try:
        date = datetime.datetime.fromisoformat(text.removesuffix(IN_WORDS))
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
    return (date - EPOCH) // datetime.timedelta(microseconds=1)
