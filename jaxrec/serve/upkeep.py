"""What a service does by itself now and then: parts of its logs, copies of its file, what it may forget."""

import asyncio
import contextlib
import time

from jaxrec.config.serve import ServeConfig
from jaxrec.progress import warn
from jaxrec.serve.feedback_log import FeedbackLog, forget
from jaxrec.serve.histories import Histories
from jaxrec.serve.monitor import Monitor
from jaxrec.serve.slate_log import SETTLE, SlateLog
from jaxrec.serve.store import Store

TICK = 1.0  # s between looks at what is due
FORGET = 600.0  # s between removals of old slates


class Upkeep:
    """The task that looks after the state of a service."""

    def __init__(
        self,
        store: Store,
        log: FeedbackLog,
        slates: SlateLog | None,
        histories: Histories,
        config: ServeConfig,
        monitor: Monitor,
    ):
        """Do nothing yet; `slates` is the log of slates, None without one."""
        self._store, self._log, self._slates, self._histories = store, log, slates, histories
        self._config, self._monitor = config, monitor
        self._task: asyncio.Task | None = None

    async def start(self) -> None:
        """Write what a killed process left in no part, and begin."""
        await self._store.alone(self._log.continue_numbers)
        if self._slates is not None:
            await self._store.alone(self._slates.begin)
        await self.write_parts(all_=True)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End; parts and histories that wait are left to `write_parts` and `Histories.catch_up`."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def write_parts(self, all_: bool = False) -> None:
        """Write one part of each log, or with `all_` all that is in none."""
        most = self._config.part_rows
        if self._slates is not None:
            write, settle = self._slates.write, 0.0 if all_ else SETTLE
            while await self._store.alone(lambda db: write(db, most, settle)) and all_:
                pass
        while await self._store.alone(lambda db: self._log.write(db, most)):
            self._monitor.parts.inc()
            if not all_:
                return

    async def _run(self) -> None:
        """Do what is due; a failure is reported and tried again."""
        config = self._config
        written = forgotten = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            await asyncio.to_thread(self._store.copy)
            try:
                await self._histories.catch_up()
                waiting = await self._store.alone(self._log.waiting)
                if self._slates is not None:
                    waiting = max(waiting, await self._store.alone(self._slates.waiting))
                if waiting >= config.part_rows or (waiting and now - written >= config.part_seconds):
                    await self.write_parts()
                if not waiting or waiting >= config.part_rows or now - written >= config.part_seconds:
                    written = now
                if now - forgotten >= FORGET:
                    forgotten, before = now, time.time() - config.remember_hours * 3600.0
                    await self._store.alone(lambda db, before=before: forget(db, before))
            except OSError as error:
                warn(f"{self._log.folder}: the feedback log cannot be written ({error}); it is tried again.")
            except Exception as error:  # a task that ended would write no more parts, and say nothing
                warn(f"serve: upkeep failed ({type(error).__name__}: {error}); it is tried again.")
