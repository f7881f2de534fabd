"""Recommendations and feedback of one policy, with a queue, a store and a log; HTTP is left to `app.py`."""

import asyncio
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.data import Columns
from jaxrec.config.serve import ServeConfig
from jaxrec.data.pseudonyms import pseudonymise
from jaxrec.foreign import quoted
from jaxrec.progress import warn
from jaxrec.serve.arms import Arm, Chosen, Load, fitting, in_share
from jaxrec.serve.batching import Batcher, Closed, Full
from jaxrec.serve.feedback_log import FeedbackLog
from jaxrec.serve.histories import Histories, client_of
from jaxrec.serve.history import ITEM, Entry
from jaxrec.serve.monitor import Monitor
from jaxrec.serve.page import MOST_FOUND, Titles, reaction, settings
from jaxrec.serve.reasons import as_json
from jaxrec.serve.requests import RecommendRequest, read_feedback, read_recommend
from jaxrec.serve.slate_log import NAME, SlateLog
from jaxrec.serve.slates import Visit
from jaxrec.serve.store import Store
from jaxrec.serve.stored import Event, Shown
from jaxrec.serve.upkeep import Upkeep

LOG, STORE = "log", "service.sqlite"  # in the folder of the state


class Serving(NamedTuple):
    """What is served: where policies come from, and how the log names columns and users."""

    load: Load
    columns: Columns
    secret: bytes  # key of the pseudonyms
    split: Load | None = None  # a policy that answers a share of the users
    shadow: Load | None = None  # a policy whose slates are logged, and not shown
    clean_id: Callable[[str], str] = str  # user ids as the log of the run reads them, before they are hashed


class _Unexplained(NamedTuple):
    """A slate without its reasons, and the visit that it was chosen for."""

    visit: Visit
    chosen: Chosen


class Service:
    """Answers bodies of requests with values for JSON."""

    def __init__(self, serving: Serving, config: ServeConfig, state: Path):
        """Open the state; raises InputError if the policy reads no history or the state is damaged."""
        self.config, self._serving = config, serving
        redis = client_of(config.redis) if config.redis else None
        self._main, self._split, self._shadow = self._arms(serving)
        saved = self._main.now.saved
        self._reader, self._kinds, self._titles = saved.histories, saved.feedback, Titles(saved.titles)
        self._row = {item_id: row for row, item_id in enumerate(saved.ids)}
        # Reasons wait in a queue of their own, so that slates do not wait for them.
        self._explainer = Batcher(self._explain, most=1, wait=0.0, queue=config.queue)
        self.monitor = Monitor(
            len(saved.ids),
            lambda: self._explainer.waiting + sum(arm.waiting for arm in self._every if arm is not self._shadow),
        )
        state.mkdir(parents=True, exist_ok=True)
        kept, remembered = config.history_kept, config.remember_hours * 3600.0
        self._store = Store(state / STORE, kept=kept, remember_seconds=remembered)
        self._histories = Histories(self._store, redis, kept, self.monitor.missed.inc)
        log = FeedbackLog(state / LOG, serving.columns, saved.feedback)
        self._slates = SlateLog(state / NAME) if len(self._every) > 1 else None
        self._upkeep = Upkeep(self._store, log, self._slates, self._histories, config, self.monitor)
        self._watching: set[asyncio.Task] = set()
        self._reloading = asyncio.Lock()
        self.ready = False

    async def start(self) -> None:
        """Compile all programs, write what a killed process left in no part, and begin to answer."""
        await self._histories.start()
        for arm in self._every:
            await arm.start()
        await self._upkeep.start()
        self._explainer.start()
        self.ready = True

    async def stop(self) -> None:
        """Answer what was accepted, write the last part and close the state."""
        started, self.ready = self.ready, False
        try:
            if started:
                await self._upkeep.stop()
                for queue in (*self._every, self._explainer):
                    await queue.stop()
                await asyncio.gather(*self._watching, return_exceptions=True)
                await self._upkeep.write_parts(all_=True)
                await self._histories.catch_up()
        finally:
            await self._histories.close()
            await asyncio.to_thread(self._store.close_writer)
            self._store.close()

    def check_room(self) -> None:
        """Raise Full or Closed if no policy would take a request now; cheap, so it comes before the body is read."""
        arms = [self._main] if self._split is None else [self._main, self._split]
        if not any(arm.has_room for arm in arms):
            self._main.check_room()

    async def recommend(self, body: bytes) -> dict[str, Any]:
        """Answer POST /recommend, once the slate is stored; raises InputError, Full, Closed or OSError."""
        asked = read_recommend(body, self.config, self._main.now.saved.spec.context_size)
        user = self._pseudonym(asked.user)
        history = await self._histories.read(user) if user else asked.history
        visit, ignored = self._visit(asked, history, bool(user))
        request = secrets.token_hex(16)
        share = 0.0 if self._split is None else self.config.split_share
        arm = self._split if self._split is not None and in_share(user or request, share) else self._main
        slate, by = chosen = await arm.choose(visit, asked.explain)
        reasons = await self._explainer.submit(_Unexplained(visit, chosen)) if asked.explain else None
        items = by.saved.titled(slate)
        probs = None if slate.log_probs is None else [float(x) for x in slate.log_probs]
        shown = Shown(request, time.time(), user, [i.id for i in items], probs, by.version)
        await self._store.add_shown(shown, logged=self._slates is not None)
        if self._shadow is not None:
            self._watching.add(task := asyncio.create_task(self._watch(self._shadow, visit, request)))
            task.add_done_callback(self._watching.discard)
        self.monitor.shown(slate.rows)
        self.monitor.cold.inc(len(visit.items) == 0)
        self.monitor.unknown.inc(ignored)
        log_propensity = None if probs is None else sum(probs)
        return {
            "request": shown.request,
            "version": shown.version,
            "items": [{"id": i.id, "title": i.title, "score": i.score} for i in items],
            "propensity": None if log_propensity is None else math.exp(log_propensity),
            "log_propensity": log_propensity,
            "ignored": ignored,
            **({} if reasons is None else {"reasons": reasons}),
        }

    async def feedback(self, body: bytes) -> dict[str, Any]:
        """Answer POST /feedback, once it is on the disk; raises InputError, UnknownRequest, NotShown or OSError."""
        asked = read_feedback(body, self._kinds, time.time())
        noted = await self._store.add_feedback(asked.request, asked.events)
        for event in noted.stored:
            self.monitor.feedback.labels(event.kind).inc()
            self.monitor.reward.inc(self._reward(event))
        await self._histories.send(noted.last)
        return {"stored": len(noted.stored), "already": noted.already}

    def _reward(self, event: Event) -> float:
        """The positive reward of an event; 0 if its item is of an earlier catalogue: that is no fault of the client."""
        weights = self._main.now.saved.spec.reward_weights
        if not weights or event.item not in self._row:
            return 0.0
        try:
            _, values = self._reader.read([{ITEM: event.item, event.kind: event.value}])
        except InputError:
            return 0.0
        return max(0.0, float(values[0] @ np.asarray(weights)))

    async def reload(self) -> dict[str, Any]:
        """Load the policy again, compile it, and let it answer from then on; the old one answers meanwhile.

        Raises InputError if the new one is damaged or does not fit the service; then the old one stays.
        """
        async with self._reloading:
            before = self._main.now
            found = [(arm, await asyncio.to_thread(arm.load)) for arm in self._every]
            changed = [(arm, now) for arm, now in found if now.version != arm.now.version]
            what, mend = "reload: the new policy", "stop the service and start it again"
            changed = [(arm, await asyncio.to_thread(fitting, what, before.saved, now, mend)) for arm, now in changed]
            for arm, now in changed:
                await asyncio.to_thread(arm.warm, now)
            for arm, now in changed:
                arm.now = now
            if changed:  # titles may be corrected
                self._titles = await asyncio.to_thread(Titles, self._main.now.saved.titles)
            return {"version": self._main.now.version, "changed": bool(changed)}

    def item(self, item_id: str) -> dict[str, Any] | None:
        """What is known of an item; None if the catalogue lacks it."""
        row = self._row.get(item_id)
        if row is None:
            return None
        return {
            "id": item_id,
            "title": self._main.now.saved.titles[row],
            "recommendable": self._main.now.slates.offers(row),
        }

    async def search(self, words: str) -> dict[str, Any]:
        """Items with these words in their titles, a few of them."""
        rows = await asyncio.to_thread(self._titles.search, words, MOST_FOUND + 1)
        saved = self._main.now.saved
        items = [{"id": saved.ids[row], "title": saved.titles[row]} for row in rows[:MOST_FOUND]]
        return {"items": items, "more": len(rows) > MOST_FOUND}

    def page_settings(self) -> dict[str, Any]:
        """What the page at / has to know."""
        reported = reaction(self._kinds, self._main.now.saved.spec.reward_weights)
        explain = all(arm.now.slates.gives_reasons for arm in (self._main, self._split) if arm is not None)
        return settings(reported, self.config.max_history, self.config.max_k, explain)

    def _arms(self, serving: Serving) -> tuple[Arm, Arm | None, Arm | None]:
        """Load the policies; raises InputError for a second one that cannot answer the same requests."""

        def arm(load: Load, shadow: bool = False) -> Arm:
            return Arm(load, self.config, lambda size: self.monitor.batch.observe(size), shadow=shadow)

        main, found = arm(serving.load), []
        for name, load in (("split", serving.split), ("shadow", serving.shadow)):
            found.append(None if load is None else arm(load, shadow=name == "shadow"))
            if found[-1] is not None:
                what = f"serve.{name}: this policy"
                mend = "choose one that was trained on the same log"
                found[-1].now = fitting(what, main.now.saved, found[-1].now, mend)
        return main, *found

    @property
    def _every(self) -> list[Arm]:
        return [arm for arm in (self._main, self._split, self._shadow) if arm is not None]

    async def _watch(self, arm: Arm, visit: Visit, request: str) -> None:
        """Log what the shadow would have shown; the user has the answer already, and no failure concerns them."""
        assert self._slates is not None
        watched = self._slates.watched
        try:
            slate, by = await arm.choose(visit)
            items = [by.saved.ids[row] for row in slate.rows]
            await self._store.soon(lambda db: watched(db, request, by.version, items))
        except Exception as error:
            self.monitor.unwatched.inc()
            if not isinstance(error, Full | Closed | InputError | OSError):
                warn(f"serve.shadow: its policy failed ({type(error).__name__}: {error}); answers are not affected.")

    def _explain(self, waiting: Sequence[_Unexplained]) -> list[list[dict[str, Any]] | InputError]:
        """Give the reasons of slates, on a thread of their own, by the policies that chose them."""
        found: list[list[dict[str, Any]] | InputError] = []
        for visit, chosen in waiting:
            try:
                found.append([as_json(reason) for reason in chosen.reasons(visit)])
            except InputError as error:  # of numbers that are not finite, or of a generator that was loaded meanwhile
                found.append(error)
        return found

    def _visit(self, asked: RecommendRequest, history: Sequence[Entry], stored: bool) -> tuple[Visit, int]:
        """What the policy reads, and how many items were ignored; those of stored histories are never refused."""
        known, ignored = self._reader.known(history)
        lacking: list[Entry] = [one for one in (*asked.exclude, *(asked.include or ())) if one not in self._row]
        if self.config.unknown_items == "refuse":
            if ignored and not stored:
                lacking += [entry for entry in history if self._reader.known([entry])[1]]
            if lacking:
                raise InputError(f"the catalogue has no item {quoted(lacking[0])}; leave it out.")
        ignored += len(lacking)
        hidden = self._reader.rows(asked.exclude, "ignore")
        only = None if asked.include is None else self._reader.rows(asked.include, "ignore")
        items, feedback = self._read_stored(known) if stored else self._reader.read(known)
        context = None if asked.context is None else np.asarray(asked.context, np.float32)
        return Visit(items, feedback, asked.k, context, hidden, only, secrets.randbits(32)), ignored

    def _read_stored(self, history: Sequence[Entry]) -> tuple[np.ndarray, np.ndarray]:
        """Read what the store has of a user, which may be of a policy with other kinds of feedback."""
        try:
            return self._reader.read(history)
        except InputError:
            return self._reader.read(self._reader.legible([one for one in history if isinstance(one, Mapping)]))

    def _pseudonym(self, user: str) -> str:
        return pseudonymise([self._serving.clean_id(user)], self._serving.secret)[0] if user else ""
