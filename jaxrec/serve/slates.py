"""From histories to slates, for many users in one compiled call.

XLA chooses how it adds the terms of a matrix product by the shape of the whole batch, so a program for one user and one
for 64 users differ in the last bits of their scores. Here every call therefore has the same number of rows: users are
padded to tiles of TILE rows, and 64 users take eight calls of the program that one user takes. Then a user's scores do
not depend on who else is in the batch. Slate sizes are padded too, so that a few programs serve every k.
"""

import abc
import dataclasses
import functools
import math
import zlib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError, check_range, check_shape
from jaxrec.config.policy import PolicyConfig
from jaxrec.data.windows import latest_rows
from jaxrec.nets.network import PolicyOutput
from jaxrec.nets.policy import Items, Policy, cooled, drawn_slate
from jaxrec.ops.exploration import epsilon_greedy_log_probs, epsilon_greedy_slate
from jaxrec.ops.slates import pick_log_probs
from jaxrec.ops.spread_slates import spread_log_probs
from jaxrec.progress import warn
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array, EnvSpec, Observation, Params, World

TILE = 8  # users in one call
SMALLEST, GROWTH = 16, 4  # of the slate sizes that are compiled: 16, 64, 256, ...
SEEDS = 2**32  # seeds count from 0 to this


@dataclasses.dataclass(frozen=True)
class Explore:
    """How slates deviate from the best one; `amount` is the temperature, or the share of random places."""

    kind: Literal["none", "softmax", "epsilon"] = "none"
    amount: float = 0.0


class Visit(NamedTuple):
    """One user who asks for a slate."""

    items: np.ndarray  # [N] int32, rows of the history, newest last
    feedback: np.ndarray  # [N, F]
    k: int = 10
    context: np.ndarray | None = None  # [C]; None: the mean context of the training log
    exclude: np.ndarray | None = None  # [X] int32, rows that are not shown
    include: np.ndarray | None = None  # [X] int32, the only rows that may be shown
    seed: int = 0


class Slate(NamedTuple):
    """The items of a slate, best first; fewer than asked for if no more may be shown."""

    rows: np.ndarray  # [K] int32
    scores: np.ndarray  # [K] float32
    log_probs: np.ndarray | None  # [K] float32, of every pick after those before it; None: not drawn


def padded_size(k: int) -> int:
    """The smallest of the compiled sizes that holds k items."""
    size = SMALLEST
    while size < k:
        size *= GROWTH
    return size


def usual_context(world: World, spec: EnvSpec) -> np.ndarray | None:
    """The context [C] of a visit of which none is known; None if the policy reads none."""
    if world.usual_context is not None:
        return np.asarray(world.usual_context)
    return np.zeros(spec.context_size, np.float32) if spec.context_size else None


def windows_of(visits: Sequence[Visit], tile: int, length: int, kinds: int) -> tuple[np.ndarray, np.ndarray]:
    """Latest `length` rows of a tile's histories, items and feedback; rows of the tile without a user are empty."""
    lengths = np.array([len(v.items) for v in visits] + [0] * (tile - len(visits)))
    ends = np.cumsum(lengths)
    items = np.concatenate([np.zeros(0, np.int32), *(v.items for v in visits)])
    feedback = np.concatenate([np.zeros((0, kinds), np.float32), *(v.feedback for v in visits)])
    return latest_rows((items, feedback), ends - lengths, ends, length)


class NotFinite(InputError):
    """The policy's scores for a user are not finite numbers."""


class Tiled(abc.ABC):
    """Compiled programs that choose slates, `tile` users at a time; a key names the program that a visit needs."""

    tile: int
    gives_reasons = True  # whether its slates can be explained

    def fault_of(self, visit: Visit, explained: bool = False) -> InputError | None:
        """What is asked of it that it cannot do for any user; None: nothing. `explained`: with reasons."""
        return None

    @property
    @abc.abstractmethod
    def most(self) -> int:
        """The largest k."""

    @abc.abstractmethod
    def _check(self, visit: Visit) -> None:
        """Raise InputError for a visit that cannot be answered."""

    @abc.abstractmethod
    def _key(self, visit: Visit) -> int:
        """The program for a visit."""

    @abc.abstractmethod
    def _choose_tile(self, visits: Sequence[Visit], key: int) -> "list[Slate | NotFinite]":
        """Choose the slates of at most `tile` users with one call of a program."""

    def choose(self, visits: Sequence[Visit]) -> list[Slate]:
        """Choose the slates of users; raises InputError for sizes out of range, or NotFinite for the first of them."""
        found: list[Slate] = []
        for slate in self.choose_each(visits):
            if isinstance(slate, NotFinite):
                raise slate
            found.append(slate)
        return found

    def choose_each(self, visits: Sequence[Visit]) -> "list[Slate | NotFinite]":
        """Choose like `choose`, but give NotFinite in the place of a user whose scores are not finite."""
        for visit in visits:
            self._check(visit)
        found: list[Slate | NotFinite | None] = [None] * len(visits)
        keys = [self._key(visit) for visit in visits]
        for key in sorted(set(keys)):
            places = [n for n, one in enumerate(keys) if one == key]
            for start in range(0, len(places), self.tile):
                tile = places[start : start + self.tile]
                slates = self._choose_tile([visits[n] for n in tile], key)
                for place, slate in zip(tile, slates, strict=True):
                    found[place] = slate
        return [slate for slate in found if slate is not None]


class Slates(Tiled):
    """The compiled programs of one policy, `tile` users at a time."""

    def __init__(
        self,
        policy: Policy,
        params: Params,
        items: Items,
        world: World,
        spec: EnvSpec,
        network: PolicyConfig,
        *,
        explore: Explore | None = None,
        tile: int = TILE,
    ):
        """Compile nothing yet; `explore` replaces the policy's own `serving_temperature`."""
        own = Explore("softmax", network.serving_temperature) if network.serving_temperature else Explore()
        self.explore, self.tile = own if explore is None else explore, tile
        self._policy, self._arrays, self._spec, self._network = policy, (params, items, world), spec, network
        self._num_items = world.item_table.shape[0]
        self._offered = world.offered()
        self._is_offered = np.zeros(self._num_items, bool)
        self._is_offered[self._offered] = True
        self._usual = usual_context(world, spec)
        self._programs: dict[int, Any] = {}

    @property
    def most(self) -> int:
        """The largest k: of the items that may be recommended, or of those that the policy retrieves."""
        return int(min(len(self._offered), self._network.retrieve or math.inf))

    def offers(self, row: int) -> bool:
        """Whether an item may be recommended at all."""
        return bool(self._is_offered[row])

    def exploring(self, explore: Explore | None, tile: int = TILE) -> "Slates":
        """The same policy with another exploration; None: its own. Warns if its slates were to be diverse."""
        params, items, world = self._arrays
        if explore not in (None, self.explore) and self._network.diversity:
            warn("serve.explore: slates that are drawn are not made diverse as learner.policy.diversity asks for.")
        return Slates(self._policy, params, items, world, self._spec, self._network, explore=explore, tile=tile)

    def warm(self, most: int) -> list[int]:
        """Compile the programs for slates of up to `most` items; gives their sizes."""
        empty = Visit(np.zeros(0, np.int32), np.zeros((0, len(self._spec.feedback)), np.float32))
        sizes = sorted({self._size(k) for k in range(1, min(most, self.most) + 1)})
        for size in sizes:
            self.choose([empty._replace(k=size)])
        return sizes

    def _check(self, visit: Visit) -> None:
        check_range("k", visit.k, 1, self._num_items)
        check_range("k", visit.k, 1, self.most)
        check_range("seed", visit.seed, 0, SEEDS - 1)

    def _key(self, visit: Visit) -> int:
        return self._size(visit.k)

    def _size(self, k: int) -> int:
        """The slate size of the program for k items."""
        if self._network.choice:  # the best slate of a choice model is not the beginning of a longer one
            return k
        return min(padded_size(k), self.most)

    def _choose_tile(self, visits: Sequence[Visit], key: int) -> list["Slate | NotFinite"]:
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = compiled(functools.partial(self._answer, size=key))
        obs, seeds, ks = self._inputs(visits)
        positions, scores, log_probs = jax.device_get(program(*self._arrays, obs, seeds, ks))
        return [self._slate(v, positions[n], scores[n], log_probs, n) for n, v in enumerate(visits)]

    def _slate(
        self, visit: Visit, positions: np.ndarray, scores: np.ndarray, log_probs: np.ndarray | None, n: int
    ) -> "Slate | NotFinite":
        positions, scores = positions[: visit.k], scores[: visit.k]
        if not (scores < np.inf).all():  # -inf are items that may not be shown
            return NotFinite("recommend: the policy's scores are not finite numbers; it diverged, so train it again.")
        real = np.isfinite(scores)
        probs = None if log_probs is None else log_probs[n][: visit.k][real]
        return Slate(self._offered[positions[real]].astype(np.int32), scores[real], probs)

    def _inputs(self, visits: Sequence[Visit]) -> tuple[Observation, np.ndarray, np.ndarray]:
        """Arrays of a tile; its rows without a user have an empty history."""
        window, values = windows_of(visits, self.tile, self._spec.history_length, len(self._spec.feedback))
        shown = np.ones((self.tile, self._num_items), bool)
        for row, visit in zip(shown, visits, strict=False):
            if visit.include is not None:
                row[:] = False
                row[visit.include] = True
            if not self._spec.repeats:  # the policy itself knows only its window
                row[visit.items] = False
            if visit.exclude is not None:
                row[visit.exclude] = False
        seeds = np.zeros((self.tile, 2), np.uint32)
        for row, visit in zip(seeds, visits, strict=False):  # another draw for every history
            row[:] = visit.seed, zlib.crc32(visit.items.astype(np.int32).tobytes())
        ks = np.array([v.k for v in visits] + [1] * (self.tile - len(visits)), np.int32)
        read: Any = {"history_items": window, "history_feedback": values, "context": self._contexts(visits)}
        read["mask"] = shown[:, self._offered]  # before a policy retrieves, so that it retrieves what may be shown
        return Observation(**read), seeds, ks

    def _contexts(self, visits: Sequence[Visit]) -> np.ndarray | None:
        for visit in visits:
            if visit.context is not None:
                check_shape("context", visit.context, (self._spec.context_size,))
        usual = self._usual
        if usual is None:
            return None
        given = [usual if v.context is None else np.asarray(v.context, np.float32) for v in visits]
        return np.stack([*given, *[usual] * (self.tile - len(visits))])

    def _answer(
        self,
        params: Params,
        items: Items,
        world: World,
        obs: Observation,
        seeds: Array,
        ks: Array,
        *,
        size: int,
    ) -> tuple[Array, Array, Array | None]:
        """Positions [T, K], their scores and, if they are drawn, the log-probabilities of the picks."""
        output = self._policy.apply(params, items, obs, world)
        keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed[0]), seed[1]))(seeds)
        if self.explore.kind == "none":
            positions, log_probs = self._policy.slate(output, items, obs, world, size), None
        elif self.explore.kind == "softmax":
            positions, log_probs = _drawn(keys, cooled(output, self.explore.amount), size)
        else:
            best = self._policy.slate(output, items, obs, world, size)
            positions, log_probs = _mixed(keys, output.logits, best, ks, self.explore.amount)
        scores = jnp.take_along_axis(output.logits, positions, axis=-1)
        return positions, scores, log_probs


def _drawn(keys: Array, output: PolicyOutput, size: int) -> tuple[Array, Array]:
    """Draw slates from the Plackett-Luce model of the logits, a key for each user."""
    slate = jax.vmap(lambda key, one: drawn_slate(key, one, size))(keys, output)
    if output.spread is None:
        return slate, pick_log_probs(output.logits, slate)
    return slate, spread_log_probs(output.logits, output.spread, slate)


def _mixed(keys: Array, logits: Array, best: Array, ks: Array, epsilon: float) -> tuple[Array, Array]:
    """Replace items of the best slates at random; places from k on are no part of them."""
    inside = jnp.arange(best.shape[-1])[None] < ks[:, None]
    kept = jnp.where(inside, best, logits.shape[-1]).astype(best.dtype)
    slate = jax.vmap(functools.partial(epsilon_greedy_slate, epsilon=epsilon))(keys, logits, kept)
    log_probs = epsilon_greedy_log_probs(logits, kept, slate, epsilon)
    return jnp.where(inside, slate, 0), log_probs
