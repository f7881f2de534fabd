"""Checks of input; an error is one line that says what is wrong, where, what was expected and how to fix it."""

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any

from jaxrec.foreign import one_line, quoted

LONGEST_NAME = 200  # characters of a name that is compared with known ones


class InputError(ValueError):
    """An error that a person can fix; the command line prints its one line and exits with status 2.

    The message becomes one line without control characters, and the middle of a very long one is left out. The
    command line also reports errors of the operating system in one line. Any other exception is a bug of ours and keeps
    its traceback.
    """

    def __init__(self, message: object):
        """Keep the message as one line that is safe to print."""
        super().__init__(one_line(str(message)))


def check_shape(name: str, x: Any, want: tuple[int | None, ...]) -> None:
    """Raise InputError unless `x.shape` equals `want`; None matches any length. It costs nothing after tracing."""
    shape = tuple(x.shape)
    if len(shape) != len(want) or any(w is not None and w != s for w, s in zip(want, shape, strict=True)):
        wanted = "(" + ", ".join("any" if w is None else str(w) for w in want) + ")"
        raise InputError(f"{name}: expected shape {wanted}, got {shape}.")


def check_range(
    name: str, value: float, low: float = -math.inf, high: float = math.inf, *, open_low: bool = False
) -> None:
    """Raise InputError unless low <= value <= high (low < value with `open_low`); NaN and infinities never pass."""
    above = value > low if open_low else value >= low
    if not (above and value <= high and math.isfinite(value)):
        lower = f"above {low:g}" if open_low else f"at least {low:g}"
        wanted = lower if high == math.inf else f"{lower} and at most {high:g}"
        raise InputError(f"{name}: expected a value {wanted}, got {quoted(value)}.")


def check_name(name: str, value: str, known: Iterable[str]) -> None:
    """Raise InputError unless `value` is one of `known`; the message suggests the nearest one."""
    known = list(known)
    if value not in known:
        raise InputError(f"{name}: no {quoted(value)}{suggest(value, known)} (known: {', '.join(sorted(known))}).")


def check_renamed(name: str, value: str, renamed: Mapping[str, str]) -> None:
    """Raise InputError if `value` is an old name; the message gives the new one."""
    if value in renamed:
        raise InputError(f"{name}: {quoted(value)} is now called {quoted(renamed[value])}; rename it.")


def suggest(value: str, known: Iterable[str]) -> str:
    """Give '; did you mean ...?' with the nearest known name, or an empty text."""
    if len(str(value)) > LONGEST_NAME:  # comparing takes the square of the length
        return ""
    near = difflib.get_close_matches(str(value), list(known), n=1, cutoff=0.6)
    return f"; did you mean {quoted(near[0])}?" if near else ""
