"""The log of all slates, also those without feedback, for comparisons of policies (`jaxrec serve-report`).

It is kept where a service has a second policy. Parts are written as those of the feedback log are: slates are numbered,
a part has the numbers of its first and last slate in its name, and that mark says up to where slates have left the
store. A slate stays in the store for SETTLE seconds, in which the shadow policy may answer.
"""

import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from jaxrec.serve.feedback_log import parts
from jaxrec.storage.files import atomic_path, remove_unfinished

NAME = "slates"
SETTLE = 10.0  # s
TABLE = """
CREATE TABLE IF NOT EXISTS slates (
    number INTEGER PRIMARY KEY AUTOINCREMENT, request TEXT NOT NULL UNIQUE, time REAL NOT NULL, user TEXT NOT NULL,
    items TEXT NOT NULL, log_probs TEXT, version TEXT NOT NULL, shadow_version TEXT, shadow_items TEXT);
"""
COLUMNS = pa.schema(
    [
        ("request", pa.string()),
        ("time", pa.float64()),  # s since 1970
        ("user", pa.string()),  # pseudonym, or visit- and the request
        ("items", pa.list_(pa.string())),
        ("log_probs", pa.list_(pa.float64())),  # of each pick, if the slate was drawn
        ("version", pa.string()),
        ("shadow_version", pa.string()),
        ("shadow_items", pa.list_(pa.string())),
    ]
)


class _Row(NamedTuple):
    number: int
    request: str
    time: float
    user: str
    items: str  # JSON
    log_probs: str | None  # JSON
    version: str
    shadow_version: str | None
    shadow_items: str | None  # JSON


class SlateLog:
    """Writes slates of the store to parts in `folder`."""

    def __init__(self, folder: Path):
        """Make the folder, and remove what a killed process left unfinished."""
        folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(folder)
        self.folder = folder

    def begin(self, db: sqlite3.Connection) -> None:
        """Make the table, and number new slates after those of the parts."""
        db.execute(TABLE)
        last = self._last()
        if not db.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'slates'", (last,)).rowcount:
            db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('slates', ?)", (last,))

    def watched(self, db: sqlite3.Connection, request: str, version: str, items: list[str]) -> None:
        """Note what the shadow policy would have shown."""
        values = (version, orjson.dumps(items).decode(), request)
        db.execute("UPDATE slates SET shadow_version = ?, shadow_items = ? WHERE request = ?", values)

    def waiting(self, db: sqlite3.Connection) -> int:
        """How many slates are in no part yet and old enough for one."""
        return db.execute("SELECT count(*) FROM slates WHERE time <= ?", (time.time() - SETTLE,)).fetchone()[0]

    def write(self, db: sqlite3.Connection, most: int, settle: float = SETTLE) -> int:
        """Write at most `most` slates to one part, inside a transaction; gives how many there were."""
        last = self._last()
        db.execute("DELETE FROM slates WHERE number <= ?", (last,))
        # Up to the first slate that is younger: after a step of the clock, older ones may have higher numbers.
        first = "SELECT coalesce(min(number), 1 << 62) FROM slates WHERE time > ?"
        select = f"SELECT * FROM slates WHERE number < ({first}) ORDER BY number LIMIT ?"
        rows = [_Row(*row) for row in db.execute(select, (time.time() - settle, most))]
        if rows:
            path = self.folder / f"{NAME}-{rows[0].number:012}-{rows[-1].number:012}.parquet"
            with atomic_path(path) as temporary:
                pq.write_table(pa.Table.from_pylist([_readable(row) for row in rows], schema=COLUMNS), temporary)
            db.execute("DELETE FROM slates WHERE number <= ?", (rows[-1].number,))
        return len(rows)

    def _last(self) -> int:
        return max((last for _, last in parts(self.folder, NAME)), default=0)


def _readable(row: _Row) -> dict:
    lists = {name: getattr(row, name) for name in ("items", "log_probs", "shadow_items")}
    read = {name: None if text is None else orjson.loads(text) for name, text in lists.items()}
    return {**row._asdict(), **read, "user": row.user or f"visit-{row.request}"}
