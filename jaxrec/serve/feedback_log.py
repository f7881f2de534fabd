"""The feedback log: Parquet parts that `data.source: files` reads as they are.

A part holds the feedback rows of a range of numbers, which its name gives: feedback-FIRST-LAST.parquet. Rows leave the
store in the order of their numbers, a part gets its name only when it is on the disk, and the last number of the parts
is the mark up to which rows have left. So each row is in exactly one part, also if the process is killed at any moment.

A row has the user (a pseudonym), the item, the time and the columns of feedback, named as in the recipe, and columns
whose names begin with serve_: the request, when and by which version it was answered, the slate, the place in it, and
the log-probabilities of the whole slate and of each pick, if it was drawn.
"""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from jaxrec.config.data import Columns, FeedbackKind
from jaxrec.storage.files import atomic_path, remove_unfinished

PART = re.compile(r"[a-z]+-(\d{12})-(\d{12})\.parquet")
SELECT = """
SELECT f.number, f.request, f.item, f.kind, f.value, f.time, f.received, s.time, s.user, s.items, s.log_probs, s.version
FROM feedback f JOIN shown s USING (request) WHERE f.number > ? ORDER BY f.number LIMIT ?
"""
ANSWERED = (
    ("serve_request", pa.string()),
    ("serve_shown", pa.float64()),
    ("serve_received", pa.float64()),
    ("serve_version", pa.string()),
    ("serve_slate", pa.list_(pa.string())),
    ("serve_position", pa.int32()),
    ("serve_log_propensity", pa.float64()),
    ("serve_log_probs", pa.list_(pa.float64())),
)


class _Stored(NamedTuple):
    """A row of SELECT: an event, and the slate that it belongs to."""

    number: int
    request: str
    item: str
    kind: str
    value: float | str
    time: float  # s since 1970, as are the next two
    received: float
    shown: float
    user: str
    items: str  # JSON
    log_probs: str | None  # JSON
    version: str


class FeedbackLog:
    """Writes rows of the store to parts in `folder`, in the columns of a recipe."""

    def __init__(self, folder: Path, columns: Columns, feedback: Mapping[str, FeedbackKind]):
        """Make the folder, and remove what a killed process left unfinished."""
        folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(folder)
        self.folder, self._user, self._item, self._time = folder, columns.user, columns.item, columns.time or "time"
        self._numbers: dict[str, float] = {}  # columns of numbers, and what they hold where nothing is known
        self._words: list[str] = []
        for kind in feedback.values():
            if kind.column is not None and (kind.words or kind.weights):
                self._words.append(kind.column)
            elif kind.column is not None:
                self._numbers[kind.column] = 0.0
        self._numbers |= {kind.over: 1.0 for kind in feedback.values() if kind.over}
        self._words = [name for name in dict.fromkeys(self._words) if name not in self._numbers]

    def continue_numbers(self, db: sqlite3.Connection) -> None:
        """Number new rows after those of the parts, also in a new file of the store; call it before any row is stored.

        Rows of lower numbers would count as written, and would never reach a part.
        """
        last = self._last_part()
        if not db.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'feedback'", (last,)).rowcount:
            db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('feedback', ?)", (last,))

    def write(self, db: sqlite3.Connection, most: int) -> int:
        """Write at most `most` rows to one part, inside a transaction; gives how many there were."""
        last = max(self._last_part(), db.execute("SELECT last FROM written").fetchone()[0])
        rows = [_Stored(*row) for row in db.execute(SELECT, (last, most))]
        if rows:
            path = self.folder / f"feedback-{rows[0].number:012}-{rows[-1].number:012}.parquet"
            with atomic_path(path) as temporary:
                pq.write_table(self._table(rows), temporary)
            last = rows[-1].number
        db.execute("UPDATE written SET last = ?", (last,))
        return len(rows)

    def waiting(self, db: sqlite3.Connection) -> int:
        """How many rows are in no part yet."""
        return db.execute("SELECT count(*) FROM feedback WHERE number > (SELECT last FROM written)").fetchone()[0]

    def _last_part(self) -> int:
        return max((last for _, last in parts(self.folder)), default=0)

    def _table(self, rows: list[_Stored]) -> pa.Table:
        found = [self._row(row) for row in rows]
        fields = [(self._user, pa.string()), (self._item, pa.string()), (self._time, pa.int64())]
        fields += [(name, pa.float64()) for name in self._numbers] + [(name, pa.string()) for name in self._words]
        return pa.Table.from_pylist(found, schema=pa.schema([*fields, *ANSWERED]))

    def _row(self, of: _Stored) -> dict[str, Any]:
        slate, probs = orjson.loads(of.items), None if of.log_probs is None else orjson.loads(of.log_probs)
        row: dict[str, Any] = {**self._numbers, **dict.fromkeys(self._words, "")}
        if of.kind in row:
            row[of.kind] = of.value
        return {
            **row,
            self._user: of.user or f"visit-{of.request}",  # somebody who gave a history and no id
            self._item: of.item,
            self._time: int(of.time),
            "serve_request": of.request,
            "serve_shown": of.shown,
            "serve_received": of.received,
            "serve_version": of.version,
            "serve_slate": slate,
            "serve_position": slate.index(of.item),
            "serve_log_propensity": None if probs is None else sum(probs),
            "serve_log_probs": probs,
        }


def parts(folder: Path, name: str = "feedback") -> Iterator[tuple[int, int]]:
    """First and last numbers of the parts in a folder, whose names begin with `name`."""
    for path in folder.glob(f"{name}-*.parquet"):
        if found := PART.fullmatch(path.name):
            yield int(found[1]), int(found[2])


def forget(db: sqlite3.Connection, before: float) -> None:
    """Remove slates that were shown before a time, and the feedback on them that is in parts."""
    done = "number <= (SELECT last FROM written)"
    old = "request IN (SELECT request FROM shown WHERE time < ?)"
    db.execute(f"DELETE FROM feedback WHERE {done} AND {old}", (before,))
    db.execute(
        "DELETE FROM shown WHERE time < ? AND NOT EXISTS (SELECT 1 FROM feedback f WHERE f.request = shown.request)",
        (before,),
    )
