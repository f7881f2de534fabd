"""What the service remembers: slates that were shown, feedback on them, and the history of each user.

One SQLite file in WAL mode. A thread writes, and takes all jobs that wait into one transaction: feedback is forced to
the disk before its request is answered, at the cost of one fsync for many requests. Feedback rows are numbered, and
leave for Parquet parts in the order of their numbers (`jaxrec.serve.feedback_log`). User ids are pseudonyms here.

SQLite appends commits to a write-ahead log, and copies it into the file now and then, which forces both to the disk.
`Store.copy` does this on another thread, so that slates do not wait for it.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from jaxrec.checks import InputError
from jaxrec.serve.stored import Event, Noted, NotShown, Shown, Stored, UnknownRequest, entries_of, make_tables

STORED = ", ".join(Stored._fields)  # columns
BATCH = 512  # jobs in one transaction
APART = 1e-6  # s between the times of events of one message, which keep their order
UNCOPIED = 16_000  # pages of 4 KiB in the write-ahead log, from which on commits copy it themselves


class _Job(NamedTuple):
    run: Callable[[sqlite3.Connection], Any]
    durable: bool = False  # on the disk before its future is settled
    future: asyncio.Future | None = None
    alone: bool = False


class Store:
    """Writes on a thread of its own, reads in the thread that made it."""

    def __init__(self, path: Path, *, kept: int, remember_seconds: float):
        """Open or make the file; raises InputError if it is damaged. `kept` rows of each user's history remain."""
        self._path, self._kept, self._remember = path, kept, remember_seconds
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._copies = threading.Lock()
        try:
            self._reading = _open(path)
            make_tables(self._reading)
            if self._reading.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("its check fails")
            self.name: str = self._reading.execute("SELECT name FROM service").fetchone()[0]  # at random
            self._writing, self._copying = _open(path), _open(path)
            self._writing.execute(f"PRAGMA wal_autocheckpoint = {UNCOPIED}")
        except sqlite3.Error as error:
            raise InputError(f"{path}: cannot be used ({error}); restore it, or move it away to begin anew.") from None
        self._thread = threading.Thread(target=self._write, name="store", daemon=True)
        self._thread.start()

    def close_writer(self) -> None:
        """Write what waits, and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def close(self) -> None:
        """Close the file, after `close_writer`."""
        with self._copies:
            self._copying.close()
        self._reading.close()

    def copy(self) -> None:
        """Copy the write-ahead log into the file; for a thread on which waiting for the disk keeps nobody.

        If that fails, commits do it later, and say what is wrong.
        """
        with self._copies, contextlib.suppress(sqlite3.Error):
            self._copying.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def history(self, user: str) -> list[dict[str, Any]]:
        """What a user did, oldest first, as entries of `jaxrec.serve.history`; one for each shown item."""
        return entries_of(event[2:6] for event in self.latest(user))

    def latest(self, user: str) -> list[Stored]:
        """The latest events of a user, oldest first."""
        rows = self._reading.execute(
            f"SELECT {STORED} FROM history WHERE user = ? ORDER BY number DESC LIMIT ?", (user, self._kept)
        ).fetchall()
        return [Stored(*row) for row in reversed(rows)]

    def events(self, after: int, most: int) -> list[Stored]:
        """At most `most` events of all users with numbers above `after`, the lowest ones first."""
        rows = self._reading.execute(
            f"SELECT {STORED} FROM history WHERE number > ? ORDER BY number LIMIT ?", (after, most)
        )
        return [Stored(*row) for row in rows]

    def last(self) -> int:
        """The number of the last event; 0: there is none."""
        return self._reading.execute("SELECT coalesce(max(number), 0) FROM history").fetchone()[0]

    def add_shown(self, shown: Shown, logged: bool = False) -> asyncio.Future:
        """Remember a slate; once the future is done, a kill of the process does not lose it (a power cut may).

        With `logged`, it is also a row of the log of slates, in the same transaction.
        """
        probs = None if shown.log_probs is None else orjson.dumps(shown.log_probs).decode()
        row = (shown.request, shown.time, shown.user, orjson.dumps(shown.items).decode(), probs, shown.version)
        future = asyncio.get_running_loop().create_future()

        def insert(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO shown VALUES (?, ?, ?, ?, ?, ?)", row)
            if logged:
                fields = "(request, time, user, items, log_probs, version)"
                db.execute(f"INSERT INTO slates {fields} VALUES (?, ?, ?, ?, ?, ?)", row)

        self._jobs.put(_Job(insert, future=future))
        return future

    async def add_feedback(self, request: str, events: Sequence[Event]) -> Noted:
        """Store feedback; when this returns, it is on the disk. Raises UnknownRequest, NotShown or OSError."""
        future = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(lambda db: self._add_feedback(db, request, events), durable=True, future=future))
        return await future

    async def soon(self, job: Callable[[sqlite3.Connection], Any]) -> Any:
        """Run a job in the transaction of others, not forced to the disk, and give its result."""
        future = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(job, future=future))
        return await future

    async def alone(self, job: Callable[[sqlite3.Connection], Any]) -> Any:
        """Run a job in the thread that writes, in a transaction of its own, and give its result."""
        future = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(job, durable=True, future=future, alone=True))
        return await future

    def _add_feedback(self, db: sqlite3.Connection, request: str, events: Sequence[Event]) -> Noted:
        now = time.time()
        found = db.execute(
            "SELECT user, items FROM shown WHERE request = ? AND time > ?", (request, now - self._remember)
        ).fetchone()
        if found is None:
            raise UnknownRequest
        user, items = found[0], set(orjson.loads(found[1]))
        if missing := next((event.item for event in events if event.item not in items), None):
            raise NotShown(missing)
        stored: list[Event] = []
        last, latest = 0, _not_before(db, user, now)
        for event in events:
            when = now if event.time is None else event.time
            given = orjson.dumps([event.value, event.time]).decode()  # what tells an event from a repeated one
            row = (request, event.item, event.kind, event.value, when, now, given)
            added = db.execute(
                "INSERT OR IGNORE INTO feedback (request, item, kind, value, time, received, given) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            ).rowcount
            if not added:
                continue
            stored.append(event)
            if user:
                last = db.execute(
                    "INSERT INTO history (user, request, item, kind, value, time) VALUES (?, ?, ?, ?, ?, ?)",
                    (user, request, event.item, event.kind, event.value, latest + len(stored) * APART),
                ).lastrowid
        if stored and user:
            db.execute(
                "DELETE FROM history WHERE user = ? AND number <= (SELECT number FROM history WHERE user = ? "
                "ORDER BY number DESC LIMIT 1 OFFSET ?)",
                (user, user, self._kept),
            )
        return Noted(stored, len(events) - len(stored), last or 0)

    def _write(self) -> None:
        """Take jobs until the end; all that wait share a transaction."""
        db = self._writing
        ended = False
        while not ended:
            jobs = [self._jobs.get()]
            while len(jobs) < BATCH and jobs[-1] is not None and not self._jobs.empty():
                jobs.append(self._jobs.get())
            ended = jobs[-1] is None
            shared: list[_Job] = []
            for job in jobs:
                if job is None or job.alone:
                    _transact(db, shared)
                    shared = []
                if job is not None and job.alone:  # it writes files, and must not see what may be undone
                    _transact(db, [job])
                elif job is not None:
                    shared.append(job)
            _transact(db, shared)
        db.close()


def _not_before(db: sqlite3.Connection, user: str, now: float) -> float:
    """Now, or the time of the user's last event if that is later, as after a clock was set back."""
    found = db.execute("SELECT time FROM history WHERE user = ? ORDER BY number DESC LIMIT 1", (user,)).fetchone()
    return now if found is None else max(now, found[0])


def _transact(db: sqlite3.Connection, jobs: Sequence[_Job]) -> None:
    """Run jobs in one transaction; a job that fails is undone alone. Futures get what came of them."""
    results: list[Any] = []
    if not jobs:
        return
    try:
        # In WAL mode, FULL forces every commit to the disk; after NORMAL, a commit outlives the process only.
        db.execute(f"PRAGMA synchronous = {'FULL' if any(job.durable for job in jobs) else 'NORMAL'}")
        db.execute("BEGIN IMMEDIATE")
        for job in jobs:
            db.execute("SAVEPOINT job")
            try:
                results.append(job.run(db))
            except (UnknownRequest, NotShown) as error:
                db.execute("ROLLBACK TO job")
                results.append(error)
            db.execute("RELEASE job")
        db.execute("COMMIT")
    except Exception as error:  # a full disk, for instance: nothing of the transaction is stored or acknowledged
        with contextlib.suppress(sqlite3.Error):  # the thread must live on; SQLite may have rolled back by itself
            if db.in_transaction:
                db.execute("ROLLBACK")
        results = [OSError(f"{error}")] * len(jobs)
    for job, result in zip(jobs, results, strict=True):
        if job.future is None:
            continue
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            job.future.get_loop().call_soon_threadsafe(_settle, job.future, result)


def _settle(future: asyncio.Future, result: Any) -> None:
    if future.done():  # whoever waited has gone
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=10.0, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    return db
