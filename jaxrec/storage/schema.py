"""What a value of JSON must look like: small checks that are put together, and name the place of what is wrong.

A check is a function (value, where) that raises `Misfit`. Fields that a record does not name are allowed, since later
versions add some; those that it names are of the type and size that the code relies on.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from jaxrec.foreign import quoted

Check = Callable[[Any, str], None]
WHOLE, LISTED = 2**53, 200_000_000  # the largest whole number that JSON holds everywhere; entries of a list


class Misfit(ValueError):
    """A value that is not what its place needs; the message says where, what was expected, and what is there."""

    def __init__(self, where: str, wanted: str, got: Any):
        """Say it in one line."""
        super().__init__(f"{where or 'the top'}: expected {wanted}, got {quoted(got)}")


def whole(low: int = 0, high: int = WHOLE) -> Check:
    """A whole number of at least `low` and at most `high`."""

    def check(value: Any, where: str) -> None:
        if type(value) is not int or not low <= value <= high:
            raise Misfit(where, f"a whole number from {low:,} to {high:,}", value)

    return check


def number(low: float = -math.inf, high: float = math.inf) -> Check:
    """A finite number of at least `low` and at most `high`."""
    bounds = "" if (low, high) == (-math.inf, math.inf) else f" from {low:g} to {high:g}"

    def check(value: Any, where: str) -> None:
        real = type(value) is float or (type(value) is int and abs(value) <= WHOLE)
        if not (real and math.isfinite(value) and low <= value <= high):
            raise Misfit(where, f"a finite number{bounds}", value)

    return check


def text(value: Any, where: str) -> None:
    """A text without halves of escaped characters."""
    if type(value) is not str:
        raise Misfit(where, "a text", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Misfit(where, "a text of whole characters", value) from None


def flag(value: Any, where: str) -> None:
    """True or false."""
    if type(value) is not bool:
        raise Misfit(where, "true or false", value)


def anything(value: Any, where: str) -> None:
    """Any value."""


def maybe(check: Check) -> Check:
    """The same or null."""
    return lambda value, where: None if value is None else check(value, where)


def either(*options: tuple[type, Check]) -> Check:
    """The check of the first type that the value has."""

    def check(value: Any, where: str) -> None:
        for kind, option in options:
            if isinstance(value, kind):
                return option(value, where)
        raise Misfit(where, " or ".join(kind.__name__ for kind, _ in options), value)

    return check


def listed(check: Check, least: int = 0, most: int = LISTED) -> Check:
    """A list of such values."""

    def check_all(value: Any, where: str) -> None:
        if type(value) is not list or not least <= len(value) <= most:
            got = f"{len(value):,} values" if type(value) is list else value
            raise Misfit(where, f"a list of {least:,} to {most:,} values", got)
        for n, one in enumerate(value):
            check(one, f"{where}[{n}]")

    return check_all


def texts(most: int = LISTED) -> Check:
    """A list of texts; of a million, at once."""
    one_by_one = listed(text, most=most)

    def check(value: Any, where: str) -> None:
        try:
            if type(value) is list and len(value) <= most:
                "".join(value).encode()
                return
        except (TypeError, UnicodeEncodeError):
            pass  # the slow way finds which one
        one_by_one(value, where)

    return check


def named(check: Check) -> Check:
    """An object whose values are such values, under any names."""

    def check_all(value: Any, where: str) -> None:
        if type(value) is not dict:
            raise Misfit(where, "an object", value)
        for name, one in value.items():
            text(name, where)
            check(one, f"{where}.{name[:40]}" if where else name[:40])

    return check_all


def record(needed: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object that has at least the fields `needed`; those in `optional` too are checked if they are there."""
    known = {**needed, **(optional or {})}

    def check(value: Any, where: str) -> None:
        if type(value) is not dict:
            raise Misfit(where, "an object", value)
        for name, one in known.items():
            if name in value:
                one(value[name], f"{where}.{name}" if where else name)
            elif name in needed:
                raise Misfit(where, f"a field {name!r}", list(value))

    return check


def both(*checks: Check) -> Check:
    """All of the checks."""

    def check(value: Any, where: str) -> None:
        for one in checks:
            one(value, where)

    return check
