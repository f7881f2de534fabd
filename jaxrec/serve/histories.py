"""Histories of users, which a service keeps in its own file, or in Redis for all that share it (`serve.redis`).

With Redis, feedback is stored in the file first, as without it, and waits there in a table until Redis has it. It is
sent before the request is answered, so it is in the next slate of that user, whichever service chooses it. While Redis
does not answer, nothing is refused: slates follow from what the file has, and feedback is sent when Redis is back.
What is sent twice, because the process ended in between, is read once.

A user's history is a list under the key jaxrec:history:PSEUDONYM. Its elements are events as JSON: the request, the
item, the kind of feedback and its value.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import orjson

from jaxrec.checks import InputError
from jaxrec.foreign import quoted
from jaxrec.progress import note, warn
from jaxrec.serve.store import Store, Unsent, entries_of

PREFIX = "jaxrec:history:"
PASSWORD = "JAXREC_REDIS_PASSWORD"  # environment variable
PATIENCE = 0.25  # s for Redis to answer
PAUSE = 1.0  # s in which it is left alone after it did not
MOST = 1000  # events in one message


class Histories:
    """Reads and shares the histories of one service."""

    def __init__(self, store: Store, url: str, kept: int, missed: Callable[[], Any]):
        """Without `url` the store's own; `kept` events of each user remain, and `missed` is called when Redis is."""
        self._store, self._kept, self._missed = store, kept, missed
        self._redis = _client(url) if url else None
        self._sending = asyncio.Lock()
        self._not_before = 0.0  # on the monotonic clock
        self._lost = False

    async def start(self) -> None:
        """Connect, and share what the file has if it was never shared; raises InputError if Redis does not answer."""
        if self._redis is None:
            return
        import redis

        try:
            await self._redis.ping()
        except (redis.RedisError, OSError) as error:
            raise InputError(f"serve.redis: no answer ({_line(error)}); start Redis, or correct the address.") from None
        await self._store.alone(self._store.begin_sharing)
        await self.send()

    async def stop(self) -> None:
        """Send what waits, and close the connection."""
        if self._redis is not None:
            await self.send()
            await self._redis.aclose()

    async def read(self, user: str) -> list[dict[str, Any]]:
        """What a user did, oldest first, as entries of `jaxrec.serve.history`; one for each shown item."""
        if self._redis is not None and self._may_ask():
            import redis

            try:
                rows = await cast(Any, self._redis.lrange(f"{PREFIX}{user}", 0, -1))
                self._found()
                return entries_of(orjson.loads(row) for row in rows)
            except (redis.RedisError, OSError, ValueError) as error:
                self._lose(error)
        return self._store.history(user)

    async def send(self) -> None:
        """Send events that Redis does not have yet; if it does not answer, they are sent later."""
        if self._redis is None:
            return
        async with self._sending:
            while self._may_ask() and (waiting := await self._store.soon(_waiting)):
                if not await self._append(waiting):
                    return
                await self._store.soon(partial(_forget, last=waiting[-1].number))

    async def _append(self, events: Sequence[Unsent]) -> bool:
        """Whether Redis took the events."""
        import redis

        assert self._redis is not None
        rows: dict[str, list[bytes]] = {}
        for event in events:
            rows.setdefault(f"{PREFIX}{event.user}", []).append(orjson.dumps(event[2:]))
        message = self._redis.pipeline(transaction=True)
        for key, own in rows.items():
            message.rpush(key, *own)
            message.ltrim(key, -self._kept, -1)
        try:
            await message.execute()
        except (redis.RedisError, OSError) as error:
            self._lose(error)
            return False
        self._found()
        return True

    def _may_ask(self) -> bool:
        return time.monotonic() >= self._not_before

    def _found(self) -> None:
        if self._lost:
            self._lost = False
            note("serve.redis: answers again")

    def _lose(self, error: Exception) -> None:
        """Leave Redis alone for a while, and say so once."""
        self._not_before = time.monotonic() + PAUSE
        self._missed()
        if not self._lost:
            self._lost = True
            warn(f"serve.redis: no answer ({_line(error)}); histories are those of this service until there is one.")


def _waiting(db: sqlite3.Connection) -> list[Unsent]:
    rows = db.execute("SELECT number, user, request, item, kind, value FROM unsent ORDER BY number LIMIT ?", (MOST,))
    return [Unsent(*row) for row in rows]


def _forget(db: sqlite3.Connection, last: int) -> None:
    db.execute("DELETE FROM unsent WHERE number <= ?", (last,))


def _line(error: Exception) -> str:
    return quoted(str(error) or type(error).__name__)


def _client(url: str) -> Any:
    """A client that connects when it is asked; raises InputError if the address is wrong or redis is not installed."""
    try:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ModuleNotFoundError:
        raise InputError("serve.redis: redis is not installed; run pip install 'jaxrec[redis]'.") from None
    given: dict[str, Any] = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
    given |= {"retry": Retry(NoBackoff(), 0)}  # otherwise it tries again for seconds, in which requests would wait
    if PASSWORD in os.environ:
        given["password"] = os.environ[PASSWORD]
    try:
        return Redis.from_url(url, **given)
    except ValueError:  # whose message repeats parts of the address, which may hold a password
        raise InputError(
            "serve.redis: not an address of Redis; write redis://HOST:PORT/0, or rediss://HOST:PORT/0 for TLS."
        ) from None
