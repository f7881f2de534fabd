"""What the service remembers, as rows of its file (`jaxrec.serve.store`)."""

import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

SCHEMA = """
CREATE TABLE IF NOT EXISTS shown (
    request TEXT PRIMARY KEY, time REAL NOT NULL, user TEXT NOT NULL, items TEXT NOT NULL, log_probs TEXT,
    version TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS shown_time ON shown (time);
CREATE TABLE IF NOT EXISTS feedback (
    number INTEGER PRIMARY KEY AUTOINCREMENT, request TEXT NOT NULL, item TEXT NOT NULL, kind TEXT NOT NULL, value,
    time REAL NOT NULL, received REAL NOT NULL, given TEXT NOT NULL, UNIQUE (request, item, kind, given));
CREATE TABLE IF NOT EXISTS history (
    number INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, request TEXT NOT NULL, item TEXT NOT NULL,
    kind TEXT NOT NULL, value, time REAL NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS history_user ON history (user, number);
CREATE TABLE IF NOT EXISTS written (one INTEGER PRIMARY KEY CHECK (one = 1), last INTEGER NOT NULL);
INSERT OR IGNORE INTO written VALUES (1, 0);
CREATE TABLE IF NOT EXISTS service (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL);
"""


class Shown(NamedTuple):
    """A slate that was answered."""

    request: str
    time: float  # s since 1970
    user: str  # pseudonym; empty: not known
    items: list[str]
    log_probs: list[float] | None
    version: str


class Event(NamedTuple):
    """What a user did with one item of a slate."""

    item: str
    kind: str
    value: float | str
    time: float | None  # s since 1970, as the client says; None: when it arrived


class Noted(NamedTuple):
    """What became of a request with feedback."""

    stored: list[Event]
    already: int  # events that were stored before: a client that got no answer sends them again
    last: int  # number of the last one in the history of its user; 0: no user, or nothing new


class Stored(NamedTuple):
    """An event in the history of a user."""

    number: int  # later events have higher ones
    user: str
    request: str
    item: str
    kind: str
    value: float | str
    time: float  # s since 1970 when it was stored; 0: by a version that did not note it


class UnknownRequest(Exception):
    """No slate of that name is remembered."""


class NotShown(Exception):
    """An item was not in the slate."""


def make_tables(db: sqlite3.Connection) -> None:
    """Make what is missing; files of earlier versions have histories without times."""
    db.executescript(SCHEMA)
    db.execute("INSERT OR IGNORE INTO service VALUES (1, ?)", (secrets.token_hex(8),))
    if not any(column[1] == "time" for column in db.execute("PRAGMA table_info(history)")):
        db.execute("ALTER TABLE history ADD COLUMN time REAL NOT NULL DEFAULT 0")


def entries_of(rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """Entries of `jaxrec.serve.history` from events of a user, oldest first: one for each shown item."""
    entries: dict[tuple[str, str], dict[str, Any]] = {}
    for request, item, kind, value in rows:
        entry = entries.pop((request, item), {"item": item})
        entries[request, item] = {**entry, kind: value}
    return list(entries.values())
