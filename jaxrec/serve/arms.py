"""The policies of a service: the one that answers, one that answers a share of the users, and a shadow policy."""

import asyncio
import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxrec.checks import InputError
from jaxrec.config.serve import ServeConfig
from jaxrec.serve.batching import Batcher
from jaxrec.serve.generator import NO_REASONS, GenerativePolicy, GeneratorSlates
from jaxrec.serve.new_catalogue import in_order, turned
from jaxrec.serve.policy import SavedPolicy
from jaxrec.serve.reasons import Reason
from jaxrec.serve.slates import Explore, Slate, Slates, Visit

Served = SavedPolicy | GenerativePolicy
Load = Callable[[], tuple[Served, str]]  # the policy as it is now, and its version; raises InputError


class Current(NamedTuple):
    """The policy that answers; a reload replaces all of it in one step."""

    saved: Served
    version: str
    slates: Slates | GeneratorSlates


class Chosen(NamedTuple):
    """A slate, and the policy that chose it."""

    slate: Slate
    by: Current

    def reasons(self, visit: Visit) -> list[Reason]:
        """Give a reason for each item; raises NotFinite, and InputError for a generator."""
        if not isinstance(self.by.saved, SavedPolicy):
            raise InputError(NO_REASONS)
        return self.by.saved.explainer.explain(visit.items, visit.feedback, self.slate.rows, visit.context)


class Arm:
    """One policy with a queue of its own."""

    def __init__(self, load: Load, config: ServeConfig, observe: Callable[[int], Any], *, shadow: bool = False):
        """Load the policy; `observe` gets sizes of batches. Nobody waits for a `shadow`, which gives no reasons."""
        self._source, self._config, self._explains = load, config, not shadow
        self.now = self.load()
        self._batcher = Batcher(
            self._choose,
            most=config.batch_size,
            wait=config.max_wait_ms / 1000.0,
            queue=config.queue,
            patience=math.inf if shadow else config.max_queue_ms / 1000.0 or math.inf,
            observe=observe,
        )

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return self._batcher.waiting

    @property
    def has_room(self) -> bool:
        """Whether a visit would be taken now."""
        return self._batcher.has_room

    def check_room(self) -> None:
        """Raise Full or Closed if a visit would be refused now."""
        self._batcher.check_room()

    async def start(self) -> None:
        """Compile all programs, and begin to answer."""
        await asyncio.to_thread(self.warm, self.now)
        self._batcher.start()

    async def stop(self) -> None:
        """Answer what is in the queue, and end."""
        await self._batcher.stop()

    async def choose(self, visit: Visit, explained: bool = False) -> Chosen:
        """Give the slate of a visit; raises Full, Closed, NotFinite, or InputError for what a generator cannot do."""
        if (fault := self.now.slates.fault_of(visit, explained)) is not None:
            raise fault
        return await self._batcher.submit(visit)

    def load(self) -> Current:
        """The policy as it is now, not compiled yet."""
        saved, version = self._source()
        return Current(saved, version, saved.slates.exploring(explore_of(self._config), self._config.batch_size))

    def warm(self, now: Current) -> None:
        """Compile all programs of a policy."""
        now.slates.warm(self._config.max_k)
        if self._explains and isinstance(now.saved, SavedPolicy):
            now.saved.explainer.warm(self._config.max_k)

    def _choose(self, visits: Sequence[Visit]) -> list[Chosen | InputError]:
        """Answer a batch with one policy, on the thread of the device; a user's failure is that user's alone."""
        now = self.now
        visits = [visit._replace(k=min(visit.k, now.slates.most)) for visit in visits]
        faults = [now.slates.fault_of(visit) for visit in visits]  # perhaps loaded after these visits were let in
        able = [visit for visit, fault in zip(visits, faults, strict=True) if fault is None]
        found = iter(now.slates.choose_each(able))
        slates = [next(found) if fault is None else fault for fault in faults]
        return [Chosen(slate, now) if isinstance(slate, Slate) else slate for slate in slates]


def in_share(name: str, share: float) -> bool:
    """Whether a name is in the share of all names that the second policy answers; the same one always is or never."""
    digest = hashlib.sha256(f"split {name}".encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64


def fitting(what: str, before: Served, now: Current, mend: str) -> Current:
    """A policy that can answer requests that were read for another one, with the items in its order.

    Raises InputError if it has other items, kinds of feedback, reward weights or context.
    """
    saved = now.saved
    if isinstance(saved, SavedPolicy) and isinstance(now.slates, Slates) and turned(before.ids, saved.ids):
        saved = in_order(saved, before.ids)
        now = Current(saved, now.version, saved.slates.exploring(now.slates.explore, now.slates.tile))
    elif turned(before.ids, saved.ids):
        raise InputError(f"{what} has the same items in another order, which a generator cannot take; {mend}.")
    _check_fits(what, before, now.saved, mend)
    return now


def _check_fits(what: str, before: Served, now: Served, mend: str) -> None:
    """Raise InputError unless a policy can answer requests that were read for another one."""
    facts = {
        "items": (before.ids, now.ids),
        "kinds of feedback": (list(before.feedback.items()), list(now.feedback.items())),
        "names of feedback": (before.spec.feedback, now.spec.feedback),
        "reward weights": (before.spec.reward_weights, now.spec.reward_weights),
        "context": (before.spec.context_size, now.spec.context_size),
    }
    for name, (old, new) in facts.items():
        if old != new:
            raise InputError(f"{what} has other {name}; {mend}.")


def explore_of(config: ServeConfig) -> Explore | None:
    """The exploration that the settings ask for; None: that of the policy."""
    if config.explore == "policy":
        return None
    amount = config.epsilon if config.explore == "epsilon" else config.temperature
    return Explore(config.explore, amount)
