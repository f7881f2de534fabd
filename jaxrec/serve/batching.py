"""Micro-batches: requests that arrive within a short time share one call of the device.

Calls run one after another on a thread, so the event loop goes on reading requests. While a call runs, the next batch
fills. A request waits at most `wait` seconds for others, and not at all when a batch is full.

A request is refused at once if it would wait longer than `patience` seconds in the queue: a queue that is always full
only makes answers late. How long it would wait follows from the calls before its own and how long calls took lately.
There is always room in the next call.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

RECENT = 0.1  # weight of the latest call in the mean seconds per call


class Full(Exception):
    """The queue holds as many requests as it may, or answers them too slowly for one more."""


class Closed(Exception):
    """The service is stopping and accepts nothing new."""


class _Waiting(NamedTuple):
    visit: Any
    answer: asyncio.Future
    since: float


class Batcher:
    """Collects visits and answers them through `choose`, `most` at a time."""

    def __init__(
        self,
        choose: Callable[[Sequence[Any]], Sequence[Any]],
        *,
        most: int,
        wait: float,
        queue: int,
        patience: float = math.inf,
        observe: Callable[[int], Any] = lambda size: None,
    ):
        """Call `start` inside an event loop; `observe` gets the size of every batch."""
        self._choose, self._most, self._wait, self._limit, self._observe = choose, most, wait, queue, observe
        self._patience, self._seconds = patience, 0.0  # for one call, which is padded to `most`, on average
        self._queue: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._task: asyncio.Task | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    def start(self) -> None:
        """Begin to answer."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Answer what is in the queue, and end."""
        self._closed = True
        self._arrived.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    @property
    def has_room(self) -> bool:
        """Whether a request would be taken now."""
        waiting = len(self._queue)
        seconds = waiting // self._most * self._seconds  # of the calls before its own
        return not self._closed and waiting < self._limit and seconds <= self._patience

    def check_room(self) -> None:
        """Raise Full or Closed if a request would be refused now."""
        if self._closed:
            raise Closed
        if not self.has_room:
            raise Full

    async def submit(self, visit: Any) -> Any:
        """Give what `choose` gives for a visit; raises Full or Closed at once, and what `choose` raises.

        An exception that `choose` gives in the place of a visit's answer is raised for that visit alone.
        """
        self.check_room()
        answer = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(visit, answer, time.monotonic()))
        self._arrived.set()
        return await answer

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._fill()
            if not self._queue:
                return
            batch = [self._queue.popleft() for _ in range(min(self._most, len(self._queue)))]
            batch = [one for one in batch if not one.answer.done()]  # leave out those whose client has gone
            if not batch:
                continue
            self._observe(len(batch))
            begun = time.monotonic()
            try:
                slates = await loop.run_in_executor(self._thread, self._choose, [one.visit for one in batch])
            except Exception as error:
                for one in batch:
                    if not one.answer.done():
                        one.answer.set_exception(error)
                continue
            self._seconds += RECENT * (time.monotonic() - begun - self._seconds)
            for one, slate in zip(batch, slates, strict=True):
                if one.answer.done():
                    continue
                if isinstance(slate, Exception):
                    one.answer.set_exception(slate)
                else:
                    one.answer.set_result(slate)

    async def _fill(self) -> None:
        """Wait until a batch is full, the first request has waited long enough, or nothing more can come."""
        while not self._closed and len(self._queue) < self._most:
            left = self._queue[0].since + self._wait - time.monotonic() if self._queue else None
            if left is not None and left <= 0:
                return
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left)
            except TimeoutError:
                return
