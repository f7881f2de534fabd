"""Times of a log: named units and patterns, and clocks that cannot be what they seem."""

import datetime
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from jaxrec.checks import InputError
from jaxrec.data.cells import compute
from jaxrec.data.values import EPOCH, LARGEST_TIME, comma_advice, numbers, times

MICROSECONDS = {"s": 10**6, "ms": 10**3, "us": 1}
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # by the name of a unit
DAY_US, EXCEL_EPOCH = 86_400 * 10**6, 25_569  # days from 1899-12-30 to 1970-01-01
SINCE_1970 = 6.3e8, 4.2e9  # seconds of 1990 to 2103, in which the units are far apart
CALENDAR_ROWS = 2**16  # checked at a time
CALENDARS = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}  # by number of digits
FAST = frozenset("YmdHMSybBpI%")  # directives that pyarrow parses
DATES = (
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%Y/%m/%d",
    "%m/%d/%y",
    "%d/%m/%y",
    "%d.%m.%y",
    "%d-%b-%Y",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%m %d, %Y",
    "%Y.%m.%d",
    "%Y-%m-%d",
)
WHOLE_PATTERNS = (
    "%a %b %d %H:%M:%S %z %Y",  # Twitter
    "%a %b %d %H:%M:%S %Y",  # asctime of C
    "%a, %d %b %Y %H:%M:%S GMT",  # e-mail and HTTP
    "%a, %d %b %Y %H:%M:%S %z",
    "[%d/%b/%Y:%H:%M:%S %z]",  # servers
    "%d/%b/%Y:%H:%M:%S %z",
)
CLOCKS = (
    "",
    " %H:%M",
    " %H:%M:%S",
    " %H:%M:%S.%f",
    " %I:%M %p",
    " %I:%M:%S %p",
    ", %H:%M:%S",
    " %H:%M:%S %z",
    " %H:%M:%S UTC",
)
SPREADSHEET = r"^\d(\.\d{1,5})?E\+\d+$"  # 1.60E+12, which many times become
SAMPLE = 300  # cells that show the pattern
NEARLY_ALL = 0.9  # of the times have a size that tells their unit


def read_times(cells: pa.Array, time_format: str) -> tuple[np.ndarray, np.ndarray]:
    """Convert cells [R] to int64 [R] as `data.time_format` says; also says which are not a time, [R] bool.

    Units of time and patterns give microseconds since 1970 (UTC), except that nanoseconds stay what they are.
    """
    if time_format in ("", "ns"):
        return times(cells)
    if "%" in time_format:
        return _patterned(cells, time_format)
    values = numbers(cells)
    if time_format == "excel":
        values = np.rint((values - EXCEL_EPOCH) * (DAY_US / 1000)) * 1000  # floats of days are good to milliseconds
    elif time_format == "epoch":
        unit = _unit(values)
        values = np.where(unit > 0, values * (10**6 / np.maximum(unit, 1)), np.nan)
    else:
        values = values * MICROSECONDS[time_format]
    bad = ~(np.abs(values) < LARGEST_TIME)
    return np.rint(np.where(bad, 0, values)).astype(np.int64), bad


def shortened(cells: pa.Array) -> np.ndarray:
    """Find times [R] of which a spreadsheet has kept the first digits; [R] bool."""
    return compute.match_substring_regex(cells, SPREADSHEET).to_numpy(zero_copy_only=False)


def check_clock(time: np.ndarray, keep: np.ndarray, quote: Callable[[int], str], time_format: str = "") -> None:
    """Raise InputError if kept times [R], read by `read_times`, cannot be what they seem.

    Without a format they may have several units or be calendar dates: digits such as 2024013123 sort well, but they are
    no number of seconds. With a unit as format, their size may say another unit. `quote` names a row and its cell.
    """
    rows = np.flatnonzero(keep)
    if not len(rows) or (time_format and time_format not in PER_SECOND):
        return
    if time_format:
        _check_unit(time, rows, quote, time_format)
        return
    kept = time[rows]
    pattern = _calendar(kept)
    if pattern:
        raise InputError(
            f"{quote(rows[0])} and all other times are digits of a date, not a number of seconds; set "
            f'data.time_format="{pattern}".'
        )
    units = _unit(kept)
    found = [unit for unit in PER_SECOND.values() if (units == unit).any()]
    if len(found) > 1 and (units > 0).mean() > NEARLY_ALL:
        both = " and ".join(quote(rows[np.argmax(units == unit)]) for unit in found[:2])
        raise InputError(
            f"{both} are times of different units, such as seconds and milliseconds; set data.time_format=epoch to "
            "tell the unit of each by its size, or mend the column."
        )


def time_advice(cells: pa.Array, bad: np.ndarray, time_format: str, decimal_setting: str) -> str:
    """Find the setting with which all cells [N] would be times, if `bad` [N] bool of them are not: '; set ...'."""
    if commas := comma_advice(cells.filter(pa.array(bad)), decimal_setting):
        return commas
    several = (cells.filter(pa.array(bad)), cells)  # a format must fit the good ones too
    texts = [text for some in several for text in compute.unique(some.slice(0, 10 * SAMPLE)).to_pylist()[:SAMPLE]]
    sample = pa.array(texts, pa.string())
    if time_format and not times(sample)[1].any():
        unit = usual_unit(numbers(sample))
        return f"; set data.time_format={unit}" if unit else "; set data.time_format= (empty), which reads them"
    if patterns := [pattern for pattern in fitting_patterns(texts) if pattern != time_format]:
        named = " or ".join(f'"{pattern}"' for pattern in patterns[:2])
        return f"; set data.time_format={named}{', whichever it is' if len(patterns) > 1 else ''}"
    if time_format or bad.mean() <= 0.5:  # one that fits a few cells would not fit the others
        return ""
    return "; set data.time_format to what they are (s, ms, epoch, excel, or a pattern such as %d/%m/%Y %H:%M)"


def fitting_patterns(texts: Sequence[str]) -> list[str]:
    """Find the usual patterns of dates that fit all texts."""
    patterns = [*(date + clock for date in DATES for clock in CLOCKS), *WHOLE_PATTERNS]
    return [p for p in patterns if texts and all(_parsed(text, p) is not None for text in texts)]


def usual_unit(values: np.ndarray) -> str:
    """Name the unit that the size of nearly all times [R] says; empty if it says none."""
    units = _unit(values)
    return next((name for name, ticks in PER_SECOND.items() if (units == ticks).mean() > NEARLY_ALL), "")


def _check_unit(time: np.ndarray, rows: np.ndarray, quote: Callable[[int], str], time_format: str) -> None:
    """Raise InputError if nearly all times [R] in `rows` have a size that says a unit, and one says another unit."""
    read = time[rows] if time_format == "ns" else time[rows] / MICROSECONDS[time_format]
    units = _unit(read)
    others = rows[(units > 0) & (units != PER_SECOND[time_format])]
    if not len(others) or (units > 0).mean() <= NEARLY_ALL:
        return
    unit = usual_unit(read)
    if unit in ("", time_format):  # no other unit fits all of them
        unit = "epoch, which tells the unit of each by its size, or mend the column"
    raise InputError(
        f"{quote(others[0])} is too large or too small for a time in {time_format} since 1970; set "
        f"data.time_format={unit}."
    )


def _unit(values: np.ndarray) -> np.ndarray:
    """Ticks per second of times [R] between 1990 and 2103, by their size; 0 for others, which are seconds to nobody."""
    size = np.where(np.isfinite(values), values, 0).astype(np.float64)
    units = np.zeros(len(size))
    for unit in PER_SECOND.values():
        units[(size >= SINCE_1970[0] * unit) & (size < SINCE_1970[1] * unit)] = unit
    return units


def _calendar(kept: np.ndarray) -> str:
    """Give the pattern of integers that are all digits of a calendar, such as 20240131; empty for others."""
    low, high = int(kept.min()), int(kept.max())
    digits = len(str(low))
    if low <= 0 or digits not in CALENDARS or len(str(high)) != digits:
        return ""
    starts = range(0, len(kept), CALENDAR_ROWS)  # the first part rules out nearly every log without such times
    dates = all(_all_calendar(kept[start : start + CALENDAR_ROWS], digits) for start in starts)
    return CALENDARS[digits] if dates else ""


def _all_calendar(kept: np.ndarray, digits: int) -> bool:
    """Whether integers [R] of `digits` digits are all digits of a calendar."""
    rest, parts = kept, []
    for _ in range((digits - 4) // 2):
        rest, part = np.divmod(rest, 100)
        parts.append(part)
    limits = (("month", 1, 12), ("day", 1, 31), ("hour", 0, 23), ("minute", 0, 59), ("second", 0, 59))
    valid = (rest >= 1990) & (rest <= 2100)
    for part, (_, least, most) in zip(reversed(parts), limits, strict=False):
        valid &= (part >= least) & (part <= most)
    return bool(valid.all())


def _patterned(cells: pa.Array, pattern: str) -> tuple[np.ndarray, np.ndarray]:
    encoded = cells.dictionary_encode()
    texts = encoded.dictionary
    values, bad = np.zeros(len(texts), np.int64), np.ones(len(texts), bool)
    if {part[:1] for part in pattern.split("%")[1:]} <= FAST and "%%" not in pattern:
        parsed = compute.strptime(texts, format=pattern, unit="s", error_is_null=True)
        years = compute.year(parsed)
        # It takes 31/02 for a day in March, so a date counts only if it is written back as it was.
        written = compute.strftime(parsed, format=pattern)
        same = compute.equal(_padded(written), _padded(texts))
        good = compute.and_(same, compute.and_(compute.greater(years, 1899), compute.less(years, 2200)))
        bad = ~compute.fill_null(good, False).to_numpy(zero_copy_only=False)
        values = compute.fill_null(parsed.cast(pa.int64()), 0).to_numpy() * 10**6
    for row in np.flatnonzero(bad):
        value = _parsed(texts[int(row)].as_py(), pattern)
        if value is not None:
            values[row], bad[row] = value, False
    rows = encoded.indices.to_numpy()
    return values[rows], bad[rows]


def _padded(texts: pa.Array) -> pa.Array:
    return compute.utf8_lower(compute.replace_substring_regex(texts, r"\b(\d)\b", r"0\1"))


def _parsed(text: str, pattern: str) -> int | None:
    try:
        date = datetime.datetime.strptime(text, pattern)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
    return (date - EPOCH) // datetime.timedelta(microseconds=1)
