"""Bodies of requests: strict JSON of known fields, checked before anything is computed.

Every fault is an `InputError` of one line. Ids are not compared with those of the catalogue to suggest another one:
that takes a second in a large catalogue, and strangers could ask for it.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import orjson

from jaxrec.checks import InputError, check_range
from jaxrec.config.data import FeedbackKind
from jaxrec.config.serve import ServeConfig
from jaxrec.foreign import quoted
from jaxrec.serve.history import ITEM, Entry
from jaxrec.serve.stored import Event

LONGEST_ID = 512  # characters of an id
MOST_EVENTS = 1000  # in one request
MOST_CONTEXT = 1e12  # a larger number, or its square in a layer, may be infinite in float32
LATEST_TIME = 253402300799  # s since 1970, the end of the year 9999


class RecommendRequest(NamedTuple):
    """Who asks for how many items."""

    user: str
    history: list[Entry]
    k: int
    exclude: list[str]
    include: list[str] | None
    context: list[float] | None
    explain: bool = False  # whether the answer has reasons


class FeedbackRequest(NamedTuple):
    """What a user did with items of a slate."""

    request: str
    events: list[Event]


def parse_object(body: bytes, known: Collection[str]) -> dict[str, Any]:
    """Read a JSON object with no other fields than the `known` ones."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InputError(f"body: not JSON ({error}).") from None
    return _object("body", value, known)


def default_k(config: ServeConfig) -> int:
    """The size of a slate where a request names none."""
    return min(10, config.max_k)


def read_recommend(body: bytes, config: ServeConfig, context_size: int) -> RecommendRequest:
    """Read the body of POST /recommend; raises InputError for a wrong one."""
    value = parse_object(body, ("user", "history", "k", "exclude", "include", "context", "explain"))
    if "user" in value and "history" in value:
        raise InputError("body: has user and history; give one of them.")
    k = value.get("k", default_k(config))
    if type(k) is not int:
        raise InputError(f"k: expected a whole number, got {quoted(k)}.")
    check_range("k", k, 1, config.max_k)
    if type(explain := value.get("explain", False)) is not bool:
        raise InputError(f"explain: expected true or false, got {quoted(explain)}.")
    history = _list("history", value.get("history", []), config.max_history)
    include = value.get("include")
    return RecommendRequest(
        _id("user", value["user"]) if "user" in value else "",
        [_entry(f"history[{n}]", entry) for n, entry in enumerate(history)],
        k,
        _ids("exclude", value.get("exclude", []), config.max_history),
        None if include is None else _ids("include", include, config.max_history),
        _context(value.get("context"), context_size),
        explain,
    )


def read_feedback(body: bytes, kinds: Mapping[str, FeedbackKind], now: float) -> FeedbackRequest:
    """Read the body of POST /feedback: one event, or several under `events`.

    `now` is in seconds since 1970. Raises InputError for a wrong body.
    """
    fields = ("item", "kind", "value", "time")
    value = parse_object(body, ("request", "events", *fields))
    if "request" not in value:
        raise InputError("request: missing; give the id that the answer of /recommend has.")
    request = _id("request", value.pop("request"))
    if "events" not in value:
        return FeedbackRequest(request, [_event("", value, kinds, now)])
    if len(value) > 1:
        raise InputError("body: has events and an event of its own; put that into events.")
    events = _list("events", value["events"], MOST_EVENTS)
    if not events:
        raise InputError("events: expected at least one, got none.")
    rows = [_object(f"events[{n}]", event, fields) for n, event in enumerate(events)]
    return FeedbackRequest(request, [_event(f"events[{n}].", row, kinds, now) for n, row in enumerate(rows)])


def reported_as(kinds: Mapping[str, FeedbackKind]) -> dict[str, FeedbackKind]:
    """What `kind` of an event may be: a feedback column of the log, or a kind that every row of the log has."""
    return {kind.column or name: kind for name, kind in reversed(list(kinds.items()))}


def _event(where: str, row: Mapping[str, Any], kinds: Mapping[str, FeedbackKind], now: float) -> Event:
    for name in ("item", "kind"):
        if name not in row:
            raise InputError(f"{where}{name}: missing.")
    known = reported_as(kinds)
    kind = row["kind"]
    if not isinstance(kind, str) or kind not in known:
        raise InputError(f"{where}kind: expected one of {', '.join(known)}, got {quoted(kind)}.")
    time = row.get("time")
    if time is not None:
        time = _number(f"{where}time", time)
        check_range(f"{where}time, in seconds since 1970", time, 0, min(now + 3600.0, LATEST_TIME))
    return Event(_id(f"{where}item", row["item"]), kind, _value(where, row.get("value", 1), known[kind]), time)


def _value(where: str, value: Any, kind: FeedbackKind) -> float | str:
    """The value of an event in the column of the log."""
    if kind.column is not None and (kind.words or kind.weights):
        if not isinstance(value, str) or len(value) > LONGEST_ID:
            raise InputError(f"{where}value: expected a word, got {quoted(value)}.")
        return value
    number = _number(f"{where}value", value)
    if kind.column is None and number != 1.0:
        raise InputError(f"{where}value: every reported row counts as 1, got {number:g}; leave value out.")
    if kind.column is not None and kind.band is None and number not in (0.0, 1.0):
        raise InputError(f"{where}value: expected 0 or 1, got {number:g}.")
    return number


def _entry(where: str, entry: Any) -> Entry:
    if isinstance(entry, dict):
        if ITEM not in entry:
            raise InputError(f"{where}: no item in {quoted(entry)}; give the id of the item there.")
        known = {name: value for name, value in entry.items() if isinstance(value, str | int | float)}
        if len(known) < len(entry) or len(entry) > 64:
            raise InputError(f"{where}: expected numbers and words of at most 63 kinds of feedback.")
        return {**known, ITEM: _id(f"{where}.item", entry[ITEM])}
    return _id(where, entry)


def _context(value: Any, size: int) -> list[float] | None:
    if value is None:
        return None
    numbers = [_number(f"context[{n}]", one) for n, one in enumerate(_list("context", value, size))]
    for n, number in enumerate(numbers):
        check_range(f"context[{n}]", number, -MOST_CONTEXT, MOST_CONTEXT)
    if len(numbers) != size:
        raise InputError(f"context: expected {size} numbers, got {len(numbers)}.")
    return numbers


def _object(where: str, value: Any, known: Collection[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected an object, got {quoted(value)}.")
    for name in value:
        if name not in known:
            raise InputError(f"{where}: has no field {quoted(name)} (known: {', '.join(known)}).")
    return value


def _list(where: str, value: Any, most: int) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{where}: expected a list, got {quoted(value)}.")
    if len(value) > most:
        raise InputError(f"{where}: expected at most {most:,} entries, got {len(value):,}.")
    return value


def _ids(where: str, value: Any, most: int) -> list[str]:
    return [_id(f"{where}[{n}]", one) for n, one in enumerate(_list(where, value, most))]


def _id(where: str, value: Any) -> str:
    """An id as text; whole numbers are ids in many logs."""
    if type(value) is int:
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_ID:
        raise InputError(f"{where}: expected an id of 1 to {LONGEST_ID} characters, got {quoted(value)}.")
    return value


def _number(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{where}: expected a finite number, got {quoted(value)}.")
    return float(value)
