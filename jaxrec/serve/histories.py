"""Histories of users, which a service keeps in its own file, or in Redis for all that share it (`serve.redis`).

With Redis, feedback is stored in the file first, as without it, and then sent. Whatever Redis does, nothing is refused:
slates follow from what the file has together with what Redis gives in time, and feedback that waits is sent later.

A user's history is a sorted set under the key jaxrec:history:PSEUDONYM. Its members are events as JSON (the request,
the item, the kind of feedback and its value), and their scores are the times at which services stored them. An event
that is sent twice is one member, so events may be sent again. The hash jaxrec:sent has, for each service, the number of
the last event that Redis has of it, written with the events. So whatever Redis loses, all of it or the latest moments,
it says by itself where to go on.
"""

import asyncio
import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

import orjson

from jaxrec.checks import InputError
from jaxrec.foreign import quoted
from jaxrec.progress import note, warn
from jaxrec.serve.store import Store
from jaxrec.serve.stored import Stored, entries_of

PREFIX, SENT = "jaxrec:history:", "jaxrec:sent"  # keys
PASSWORD = "JAXREC_REDIS_PASSWORD"  # environment variable
PATIENCE = 0.25  # s for Redis to answer
PAUSE, LONGEST = 1.0, 10.0  # s in which it is left alone after it did not; twice as long each time, up to the longest
MOST = 200  # events in one message, few enough for an answer in time
CONNECTIONS = 32  # messages at a time; further ones wait
CATCH_UP = 5.0  # s for which waiting events are sent at a time


class Outage:
    """Whether something may be asked of Redis: not for a while after it failed, and then one message tries."""

    def __init__(self, what: str, follows: str, after: str):
        """What is said when it begins, what follows from it, and what is said when it is over."""
        self._what, self._follows, self._after = what, follows, after
        self._failures, self._not_before = 0, 0.0

    def may_ask(self) -> bool:
        """Whether a message may be sent now."""
        return time.monotonic() >= self._not_before

    def asking(self) -> None:
        """Keep others away while one message tries."""
        if self._failures:
            self._pause()

    def failed(self, error: Exception) -> None:
        """Leave Redis alone for a while, and say so the first time."""
        if not self._failures:
            reason = str(error).rpartition("caused error: ")[2] or type(error).__name__
            warn(f"serve.redis: {self._what} ({quoted(reason)}); {self._follows}.")
        self._failures += 1
        self._pause()

    def over(self) -> None:
        """It works, again perhaps."""
        if self._failures:
            self._failures, self._not_before = 0, 0.0
            note(f"serve.redis: {self._after}")

    def _pause(self) -> None:
        self._not_before = time.monotonic() + min(PAUSE * 2.0 ** min(self._failures - 1, 9), LONGEST)


class Histories:
    """Reads and shares the histories of one service."""

    def __init__(self, store: Store, client: Any, kept: int, missed: Callable[[], Any]):
        """`client` is one from `client_of`, or None to use the store alone.

        The last `kept` events of each user remain. `missed` is called when Redis gives no answer that can be used.
        """
        self._store, self._redis, self._kept, self._missed = store, client, kept, missed
        self._shares = client is not None and kept > 0
        self._sending = asyncio.Lock()
        self._asking = asyncio.Semaphore(CONNECTIONS)
        self._sent: int | None = None  # number up to which Redis has all events; reads lower it, messages raise it
        self._away = Outage("no answer", "histories are those of this service until there is one", "answers again")
        self._refused = Outage("feedback was refused", "it waits in the file of this service", "takes feedback again")

    async def start(self) -> None:
        """Connect, and send what Redis does not have; raises InputError if it refuses the password."""
        if not self._shares:
            return
        import redis

        try:
            async with asyncio.timeout(PATIENCE):
                await self._redis.ping()
        except redis.AuthenticationError as error:
            raise InputError(
                f"serve.redis: refused ({quoted(str(error))}); set the password in {PASSWORD}, and the user in the "
                "address."
            ) from None
        except Exception as error:
            self._lose(error)
        await self.catch_up()

    async def close(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            with contextlib.suppress(Exception):  # of a server that does not answer; they are gone in any case
                await self._redis.aclose()

    async def read(self, user: str) -> list[dict[str, Any]]:
        """What a user did, oldest first, as entries of `jaxrec.serve.history`; one for each shown item."""
        times = await self._shared(user) if self._shares and self._away.may_ask() else {}
        if not times:
            return self._store.history(user)
        for event in self._store.latest(user):  # Redis may lack some, or have lost them
            member, when = _member(event), _time(event)
            times[member] = max(when, times.get(member, when))
        members = sorted(times, key=lambda member: times[member])[-self._kept :]
        return entries_of(orjson.loads(member) for member in members)

    async def send(self, last: int) -> None:
        """Send the events up to number `last`, if they are so few that they take one message; others are sent later."""
        if not self._shares or self._sent is None or not 0 < last - self._sent <= MOST:
            return
        async with self._sending:
            if last > self._sent:  # others may have sent it meanwhile
                await self._send_some()

    async def catch_up(self) -> None:
        """Ask what Redis has, and send all that it does not, for a few seconds at most."""
        if not self._shares or not self._away.may_ask():
            return
        found = await self._ask(self._away, [("hget", SENT, self._store.name)])
        if found is None:
            return
        self._lower(found[0])
        end, more = time.monotonic() + CATCH_UP, True
        while more and time.monotonic() < end:
            async with self._sending:
                more = await self._send_some()

    async def _send_some(self) -> bool:
        """Send one message, and give whether more events wait for a Redis that takes them."""
        assert self._sent is not None
        try:
            # Events of a file that was restored from a copy have numbers that Redis may have seen.
            before = self._sent if self._sent <= self._store.last() else 0
            waiting = self._store.events(before, MOST)
        except sqlite3.Error:  # they are stored, and are sent when they can be read
            return False
        if not waiting or not self._refused.may_ask() or not self._away.may_ask():
            return False
        keys: dict[str, dict[bytes, float]] = {}
        for event in waiting:
            keys.setdefault(f"{PREFIX}{event.user}", {})[_member(event)] = _time(event)
        calls: list[tuple[Any, ...]] = [("hget", SENT, self._store.name)]
        for key, times in keys.items():
            calls += [("zadd", key, times, False, False, False, False, True)]  # never lower the time of an event
            calls += [("zremrangebyrank", key, 0, -self._kept - 1)]
        calls += [("hset", SENT, self._store.name, waiting[-1].number)]
        was = self._sent
        found = await self._ask(self._refused, calls, writes=True)
        if found is None:
            return False
        if self._sent == was and _number(found[0]) >= before:
            self._sent = waiting[-1].number
        else:  # Redis lost some before this message: go back
            self._sent = min(self._sent, _number(found[0]), before)
            return True
        return len(waiting) == MOST

    async def _shared(self, user: str) -> dict[bytes, float]:
        """What Redis has of a user: events as JSON, and their times; nothing if it gives nothing that can be used."""
        calls = [("hget", SENT, self._store.name), ("zrange", f"{PREFIX}{user}", -self._kept, -1, False, True)]
        found = await self._ask(self._away, calls)
        if found is None:
            return {}
        self._lower(found[0])
        try:
            times = {bytes(member): float(when) for member, when in found[1]}
            entries_of(orjson.loads(member) for member in times)
            return times
        except (TypeError, ValueError):  # the key is not ours
            self._missed()
            return {}

    def _lower(self, answer: Any) -> None:
        """Go back to what Redis has, if that is less."""
        number = _number(answer)
        self._sent = number if self._sent is None else min(self._sent, number)

    async def _ask(self, outage: Outage, calls: Sequence[tuple[Any, ...]], *, writes: bool = False) -> list[Any] | None:
        """The answers to the commands of one message, a transaction if it `writes`; None if they do not come in time.

        What Redis refuses is an `outage`. The answer to a command on a history whose key is of another type is an
        exception.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                await self._asking.acquire()
        except TimeoutError:  # many messages wait, which may be no fault of Redis
            self._missed()
            return None
        try:
            return await self._message(outage, calls, writes) if self._away.may_ask() else None
        finally:
            self._asking.release()

    async def _message(self, outage: Outage, calls: Sequence[tuple[Any, ...]], writes: bool) -> list[Any] | None:
        import redis

        message = self._redis.pipeline(transaction=writes)  # a Redis that is full takes no transactions, but gives
        for name, *words in calls:
            getattr(message, name)(*words)
        self._away.asking()
        outage.asking()
        try:
            async with asyncio.timeout(PATIENCE):
                found = await cast(Any, message.execute(raise_on_error=False))
            for (name, *_), answer in zip(calls, found, strict=True):
                if isinstance(answer, Exception) and not (name.startswith("z") and "WRONGTYPE" in str(answer)):
                    raise answer
        except redis.ResponseError as error:
            if outage is not self._away:
                self._away.over()
            self._lose(error, outage)
        except Exception as error:  # whatever it is, requests are answered without Redis
            self._lose(error)
        else:
            self._away.over()
            outage.over()
            return found
        return None

    def _lose(self, error: Exception, outage: Outage | None = None) -> None:
        self._missed()
        (outage or self._away).failed(error)


def _number(answer: Any) -> int:
    """The number of an answer; 0 where there is none."""
    return int(answer) if isinstance(answer, bytes) and answer.isdigit() else 0


def _member(event: Stored) -> bytes:
    return orjson.dumps([event.request, event.item, event.kind, event.value])


def _time(event: Stored) -> float:
    """Of files of earlier versions nothing but the order is known."""
    return event.time or event.number / 1e6


def client_of(url: str) -> Any:
    """A client that connects when it is asked; raises InputError if the address is wrong or redis is not installed."""
    try:
        from redis.asyncio import ConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ModuleNotFoundError:
        raise InputError("serve.redis: redis is not installed; run pip install 'jaxrec[redis]'.") from None
    # A second try, for connections that a restart of the server closed; more of them would keep requests waiting.
    given: dict[str, Any] = {"retry": Retry(NoBackoff(), 1), "decode_responses": False}
    given |= {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
    if PASSWORD in os.environ:
        given["password"] = os.environ[PASSWORD]
    try:
        if urlsplit(url).scheme != "unix" and not re.fullmatch(r"(/\d*)?", urlsplit(url).path):
            raise ValueError("the part after / is no number")
        pool = ConnectionPool.from_url(url)
        pool.max_connections = CONNECTIONS + 1
        pool.connection_kwargs |= given  # also over what the address says
        pool.connection_class(**pool.connection_kwargs)  # which fails for options that it does not know
    except Exception:  # of many types, whose messages repeat parts of the address, which may hold a password
        raise InputError(
            "serve.redis: not an address of Redis; write redis://HOST:PORT/0, or rediss://HOST:PORT/0 for TLS."
        ) from None
    return Redis.from_pool(pool)
