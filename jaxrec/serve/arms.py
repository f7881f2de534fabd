"""The policies of a service: the one that answers, one that answers a share of the users, and a shadow policy."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxrec.checks import InputError
from jaxrec.config.serve import ServeConfig
from jaxrec.progress import warn
from jaxrec.serve.batching import Batcher
from jaxrec.serve.policy import SavedPolicy
from jaxrec.serve.slates import Explore, NotFinite, Slate, Slates, Visit

Load = Callable[[], tuple[SavedPolicy, str]]  # the policy as it is now, and its version; raises InputError


class Current(NamedTuple):
    """The policy that answers; a reload replaces all of it in one step."""

    saved: SavedPolicy
    version: str
    slates: Slates


class Chosen(NamedTuple):
    """A slate, and the policy that chose it."""

    slate: Slate
    by: Current


class Arm:
    """One policy with a queue of its own."""

    def __init__(self, load: Load, config: ServeConfig, observe: Callable[[int], Any], *, explains: bool = True):
        """Load the policy; `observe` gets the size of every batch, and a policy that `explains` gives reasons too."""
        self._source, self._config, self._explains = load, config, explains
        self.now = self.load()
        self._batcher = Batcher(
            self._choose,
            most=config.batch_size,
            wait=config.max_wait_ms / 1000.0,
            queue=config.queue,
            observe=observe,
        )

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return self._batcher.waiting

    async def start(self) -> None:
        """Compile all programs, and begin to answer."""
        await asyncio.to_thread(self.warm, self.now)
        self._batcher.start()

    async def stop(self) -> None:
        """Answer what is in the queue, and end."""
        await self._batcher.stop()

    async def choose(self, visit: Visit) -> Chosen:
        """Give the slate of a visit; raises Full, Closed or NotFinite."""
        return await self._batcher.submit(visit)

    def load(self) -> Current:
        """The policy as it is now, not compiled yet."""
        saved, version = self._source()
        slates = saved.slates.exploring(explore_of(self._config, saved), self._config.batch_size)
        return Current(saved, version, slates)

    def warm(self, now: Current) -> None:
        """Compile all programs of a policy."""
        now.slates.warm(self._config.max_k)
        if self._explains:
            now.saved.explainer.warm(self._config.max_k)

    def _choose(self, visits: Sequence[Visit]) -> list[Chosen | NotFinite]:
        """Answer a batch with one policy, on the thread of the device; a user's failure is that user's alone."""
        now = self.now
        visits = [visit._replace(k=min(visit.k, now.slates.most)) for visit in visits]
        found = now.slates.choose_each(visits)
        return [slate if isinstance(slate, NotFinite) else Chosen(slate, now) for slate in found]


def in_share(name: str, share: float) -> bool:
    """Whether a name is in the share of all names that the second policy answers; the same one always is or never."""
    digest = hashlib.sha256(f"split {name}".encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64


def check_fits(what: str, before: SavedPolicy, now: SavedPolicy, mend: str) -> None:
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


def explore_of(config: ServeConfig, saved: SavedPolicy) -> Explore | None:
    """The exploration that the settings ask for; None: that of the policy. Warns where it changes the slates."""
    if config.explore == "policy":
        return None
    if config.explore == "epsilon":
        return Explore("epsilon", config.epsilon)
    if saved.network.diversity:
        warn("serve.explore: slates that are drawn are not made diverse as learner.policy.diversity asks for.")
    return Explore("softmax", config.temperature)
