"""A saved generator with the interface of a policy: it reads histories of item ids and finds slates by beam search."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError, check_range, check_shape
from jaxrec.config.data import FeedbackKind
from jaxrec.generate.recommender import Catalogue, slates
from jaxrec.generate.saved import SavedGenerator
from jaxrec.serve.history import Entry, HistoryReader
from jaxrec.serve.policy import Recommendation
from jaxrec.serve.slates import TILE, Explore, NotFinite, Slate, Tiled, Visit, windows_of
from jaxrec.sharding.compile import compiled
from jaxrec.types import PADDING, EnvSpec, Observation, Params

SMALLEST, GROWTH = 64, 8  # numbers of hidden items that are compiled: 64, 512, 4096, ...
WARM = 4096  # of hidden items, for which programs are compiled in advance
NO_LIST = (
    "include: a generator searches its whole catalogue and not a list of items; leave include out, or use exclude."
)
NO_REASONS = "explain: a generator scores codes and gives no reasons; leave explain out."
NO_DRAWS = (
    "serve.explore: the slates of a generator are found by beam search and not drawn, so they have no propensity; set "
    "serve.explore=policy."
)


class GeneratorSlates(Tiled):
    """The compiled programs of one generator, `tile` users at a time.

    A program has room for a number of items that are not shown: those of the history, unless the log repeats items, and
    those that the request excludes. So a few programs serve all requests.
    """

    gives_reasons = False

    def __init__(self, saved: SavedGenerator, *, tile: int = TILE):
        """Compile nothing yet."""
        self._saved, self.tile = saved, tile
        self._offered = frozenset(saved.recommendable.tolist())
        self._program = compiled(self._answer)

    @property
    def most(self) -> int:
        """The largest k: the beams of the generator, or the items that may be recommended."""
        return min(self._saved.beams, len(self._offered))

    def offers(self, row: int) -> bool:
        """Whether an item may be recommended at all."""
        return row in self._offered

    def fault_of(self, visit: Visit, explained: bool = False) -> InputError | None:
        """Reasons, and slates from a list of items, are what a generator cannot do."""
        reason = NO_REASONS if explained else NO_LIST if visit.include is not None else ""
        return InputError(reason) if reason else None

    def exploring(self, explore: Explore | None, tile: int = TILE) -> "GeneratorSlates":
        """The same generator with another number of users in one call; raises InputError for an exploration."""
        if explore is not None:
            raise InputError(NO_DRAWS)
        return GeneratorSlates(self._saved, tile=tile)

    def warm(self, most: int) -> list[int]:
        """Compile the programs, which give slates of any size; gives their numbers of hidden items."""
        empty = Visit(np.zeros(0, np.int32), np.zeros((0, len(self._saved.spec.feedback)), np.float32), k=1)
        sizes = [SMALLEST]
        while sizes[-1] < min(WARM, len(self._saved.ids)):
            sizes.append(sizes[-1] * GROWTH)
        for size in sizes:
            self._choose_tile([empty], size)
        return sizes

    def _check(self, visit: Visit) -> None:
        check_range("k", visit.k, 1, self.most)
        if (fault := self.fault_of(visit)) is not None:
            raise fault

    def _key(self, visit: Visit) -> int:
        size = SMALLEST
        while size < len(self._hidden(visit)):
            size *= GROWTH
        return size

    def _hidden(self, visit: Visit) -> np.ndarray:
        """Rows of the items that are not shown."""
        shown_before = visit.items if not self._saved.spec.repeats else np.zeros(0, np.int32)
        excluded = np.zeros(0, np.int32) if visit.exclude is None else visit.exclude
        return np.union1d(shown_before, excluded).astype(np.int32)

    def _choose_tile(self, visits: Sequence[Visit], key: int) -> list[Slate | NotFinite]:
        hidden = np.full((self.tile, key), PADDING, np.int32)
        for row, visit in zip(hidden, visits, strict=False):
            barred = self._hidden(visit)
            row[: len(barred)] = barred
        found = self._program(self._saved.params, self._saved.catalogue, self._observed(visits), hidden)
        items, scores = jax.device_get((found.items, found.scores))
        return [_slate(visit, items[n], scores[n]) for n, visit in enumerate(visits)]

    def _observed(self, visits: Sequence[Visit]) -> Observation:
        """The histories of a tile; its rows without a user have an empty one."""
        spec, usual = self._saved.spec, self._saved.usual_context
        empty = self.tile - len(visits)
        window, values = windows_of(visits, self.tile, self._saved.rows, len(spec.feedback))
        read: Any = {"history_items": window, "history_feedback": values}
        if usual is not None:
            given = [usual if visit.context is None else visit.context for visit in visits]
            for context in given:
                check_shape("context", context, (spec.context_size,))
            read["context"] = np.asarray([*given, *[usual] * empty], np.float32)
        return jax.tree.map(jnp.asarray, Observation(**read))

    def _answer(self, params: Params, catalogue: Catalogue, obs: Observation, hidden: Any) -> Any:
        """Items [T, K] and scores of T users."""
        saved = self._saved
        return slates(saved.shape, params, catalogue, obs, saved.rows, saved.beams, hidden=hidden)


def _slate(visit: Visit, items: np.ndarray, scores: np.ndarray) -> Slate | NotFinite:
    if np.isnan(scores).any():
        return NotFinite("recommend: the generator's scores are not numbers; it diverged, so train it again.")
    real = np.flatnonzero(items >= 0)[: visit.k]
    return Slate(items[real].astype(np.int32), scores[real], None)


@dataclasses.dataclass(frozen=True)
class GenerativePolicy:
    """Slates of a generator from histories of item ids."""

    saved: SavedGenerator

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the items as in the log."""
        return self.saved.ids

    @property
    def titles(self) -> tuple[str, ...]:
        """Titles of the items."""
        return self.saved.titles

    @property
    def spec(self) -> EnvSpec:
        """Sizes and feedback kinds of the log."""
        return self.saved.spec

    @property
    def feedback(self) -> dict[str, FeedbackKind]:
        """How the kinds of feedback are read."""
        return self.saved.feedback

    @property
    def step(self) -> int:
        """The step whose parameters these are."""
        return self.saved.step

    @functools.cached_property
    def histories(self) -> HistoryReader:
        """Reads histories of items of the catalogue."""
        rewarded = [weight > 0 for weight in self.spec.reward_weights] or [True]
        return HistoryReader(self.ids, self.saved.feedback, rewarded)

    @functools.cached_property
    def slates(self) -> GeneratorSlates:
        """The compiled programs from histories to slates of many users."""
        return GeneratorSlates(self.saved)

    def recommend(
        self, history: Sequence[Entry] = (), k: int = 10, context: np.ndarray | None = None
    ) -> list[Recommendation]:
        """The k items of the highest chance after a history, best first; the score is the log of the chance.

        The slate is shorter if the catalogue without the history is. Raises InputError for an id that the catalogue
        lacks, and for a k that is larger than the beam.
        """
        return self.recommend_rows(*self.histories.read(history), k, context)

    def recommend_rows(
        self, items: np.ndarray, feedback: np.ndarray, k: int = 10, context: np.ndarray | None = None
    ) -> list[Recommendation]:
        """The same for a history of item rows [N] int32 with feedback [N, F], in a context [C]."""
        return self.titled(Slate(*self.saved.best(items, feedback, k, context), None))

    def titled(self, slate: Slate) -> list[Recommendation]:
        """Give the items of a slate with their ids and titles."""
        pairs = zip(slate.rows.tolist(), slate.scores.tolist(), strict=True)
        return [Recommendation(self.ids[row], self.titles[row], score) for row, score in pairs]
