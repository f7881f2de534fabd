"""Histories of users, which a service keeps in its own file, or in Redis for all that share it (`serve.redis`).

With Redis, feedback is stored in the file first, as without it, and is sent before its request is answered. So it is
in the next slate of that user, whichever service chooses it. While Redis does not answer, nothing is refused: slates
follow from what the file has, and feedback is sent when Redis is back.

A user's history is a sorted set under the key jaxrec:history:PSEUDONYM. Its members are events as JSON (the request,
the item, the kind of feedback and its value), and their scores are the times at which services stored them. An event
that is sent twice is one member, so sending again is always right. The key jaxrec:data holds a random name of all that
is there: if it changes, the data were lost or the server is another one, and all that the file has is sent again.
"""

import asyncio
import contextlib
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import orjson

from jaxrec.checks import InputError
from jaxrec.foreign import quoted
from jaxrec.progress import note, warn
from jaxrec.serve.store import Store
from jaxrec.serve.stored import Shared, Stored, entries_of

PREFIX, DATA = "jaxrec:history:", "jaxrec:data"  # keys
PASSWORD = "JAXREC_REDIS_PASSWORD"  # environment variable
PATIENCE = 0.25  # s for Redis to answer
PAUSE = 1.0  # s in which it is left alone after it did not
MOST = 200  # events in one message, which Redis has to take in time
CONNECTIONS = 32  # messages at a time; further ones wait
CATCH_UP = 5.0  # s in which events are sent before the service ends


class Histories:
    """Reads and shares the histories of one service."""

    def __init__(self, store: Store, client: Any, kept: int, missed: Callable[[], Any]):
        """`client` is None for the store's own histories, or of `client_of`.

        The last `kept` events of each user remain; `missed` is called when Redis does not answer.
        """
        self._store, self._redis, self._kept, self._missed = store, client, kept, missed
        self._sending = asyncio.Lock()
        self._asking = asyncio.Semaphore(CONNECTIONS)
        self._shared = Shared("", 0)
        self._not_before = 0.0  # on the monotonic clock
        self._lost = False

    async def start(self) -> None:
        """Connect, and begin to send what Redis does not have; raises InputError if it refuses the password."""
        if self._redis is None:
            return
        import redis

        self._shared = self._store.shared()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._redis.ping()
        except redis.AuthenticationError as error:
            raise InputError(
                f"serve.redis: refused ({_line(error)}); set the password in {PASSWORD}, and the user in the address."
            ) from None
        except (redis.RedisError, OSError) as error:
            self._lose(error)
        await self.catch_up()

    async def close(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            await self._redis.aclose()

    async def read(self, user: str) -> list[dict[str, Any]]:
        """What a user did, oldest first, as entries of `jaxrec.serve.history`; one for each shown item."""
        own = self._store.history(user)
        if self._redis is None or not self._kept or not self._may_ask():
            return own
        before = self._shared
        found = await self._ask([("get", DATA), ("zrange", f"{PREFIX}{user}", -self._kept, -1, False, True)])
        if found is None:
            return own
        if (name := _name(found[0])) != before.data:
            self._shared = before = Shared(name, 0)
        try:
            times = {bytes(member): float(when) for member, when in found[1]}
            # Those that Redis does not have yet are the service's own.
            times |= {_member(event): _time(event) for event in self._store.events(before.last, self._kept, user)}
            members = sorted(times, key=lambda member: times[member])
            return entries_of(orjson.loads(member) for member in members[-self._kept :])
        except (TypeError, ValueError):  # the key is not ours
            self._missed()
            return own

    async def send(self, last: int) -> None:
        """Send the oldest events that Redis does not have yet, unless it has all up to number `last`.

        If Redis does not answer, they are sent later.
        """
        if self._redis is None or last <= self._shared.last:
            return
        async with self._sending:
            if last > self._shared.last and self._may_ask():  # others may have sent it meanwhile
                await self._send_some()

    async def catch_up(self) -> None:
        """Send all that Redis does not have yet, for a few seconds at most."""
        if self._redis is None:
            return
        end, more = time.monotonic() + CATCH_UP, True
        while more and self._may_ask() and time.monotonic() < end:
            async with self._sending:
                more = await self._send_some()

    async def _send_some(self) -> bool:
        """Whether there may be more to send to a Redis that answers."""
        before = self._shared
        try:
            waiting = self._store.events(before.last, MOST)
        except sqlite3.Error:  # they are stored, and are sent when they can be read
            return False
        if not waiting and before.data:
            return False
        keys: dict[str, dict[bytes, float]] = {}
        for event in waiting:
            keys.setdefault(f"{PREFIX}{event.user}", {})[_member(event)] = _time(event)
        calls: list[tuple[Any, ...]] = [("set", DATA, secrets.token_hex(8), None, None, True), ("get", DATA)]
        for key, times in keys.items():
            calls += [("zadd", key, times), ("zremrangebyrank", key, 0, -self._kept - 1)]
        found = await self._ask(calls)
        if found is None:
            return False
        if (name := _name(found[1])) != before.data or self._shared != before:  # a read may have seen it first
            self._shared = Shared(name, 0)
            return True
        if waiting:
            self._shared = Shared(name, waiting[-1].number)
            with contextlib.suppress(OSError):  # the next start sends them again
                await self._store.soon(self._shared.write)
        return len(waiting) == MOST

    async def _ask(self, calls: Sequence[tuple[Any, ...]]) -> list[Any] | None:
        """The answers to commands in one transaction; None if Redis does not give them in time.

        The answer to a command about the history of a user is an exception if the key is of another type.
        """
        import redis

        assert self._redis is not None
        message = self._redis.pipeline(transaction=True)
        for name, *words in calls:
            getattr(message, name)(*words)
        try:
            async with self._asking:
                if not self._may_ask():  # others found out meanwhile
                    return None
                async with asyncio.timeout(PATIENCE):
                    found = await cast(Any, message.execute(raise_on_error=False))
            for (name, *_), answer in zip(calls, found, strict=True):
                if isinstance(answer, Exception) and not (name.startswith("z") and "WRONGTYPE" in str(answer)):
                    raise answer
        except (redis.RedisError, OSError) as error:  # TimeoutError is an OSError
            self._lose(error)
            return None
        if self._lost:
            self._lost = False
            note("serve.redis: answers again")
        return found

    def _may_ask(self) -> bool:
        return time.monotonic() >= self._not_before

    def _lose(self, error: Exception) -> None:
        """Leave Redis alone for a while, and say so once."""
        self._not_before = time.monotonic() + PAUSE
        self._missed()
        if not self._lost:
            self._lost = True
            warn(f"serve.redis: no answer ({_line(error)}); histories are those of this service until there is one.")


def _name(answer: Any) -> str:
    return answer.decode() if isinstance(answer, bytes) else ""


def _member(event: Stored) -> bytes:
    return orjson.dumps([event.request, event.item, event.kind, event.value])


def _time(event: Stored) -> float:
    """Of files of earlier versions nothing but the order is known."""
    return event.time or event.number / 1e6


def _line(error: Exception) -> str:
    return quoted(str(error) or type(error).__name__)


def client_of(url: str) -> Any:
    """A client that connects when it is asked; raises InputError if the address is wrong or redis is not installed."""
    try:
        from redis.asyncio import ConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ModuleNotFoundError:
        raise InputError("serve.redis: redis is not installed; run pip install 'jaxrec[redis]'.") from None
    # With retries it would try for seconds, in which requests would wait.
    given: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "decode_responses": False}
    given |= {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
    if PASSWORD in os.environ:
        given["password"] = os.environ[PASSWORD]
    try:
        pool = ConnectionPool.from_url(url)
        pool.connection_kwargs |= given  # also over what the address says
        pool.connection_class(**pool.connection_kwargs)  # which fails for words after ? that it does not know
    except (TypeError, ValueError):  # whose messages repeat parts of the address, which may hold a password
        raise InputError(
            "serve.redis: not an address of Redis; write redis://HOST:PORT/0, or rediss://HOST:PORT/0 for TLS."
        ) from None
    return Redis.from_pool(pool)
