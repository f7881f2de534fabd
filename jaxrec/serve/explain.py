"""How much each row of a history moved the scores of recommended items: leave-one-out, in compiled calls.

The policy scores the items again for the history without one row at a time, as if the user had never done that. It
reads the latest H rows, so without one of them the row before these comes in. Rows before that change nothing.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError
from jaxrec.data.windows import latest_rows
from jaxrec.foreign import quoted
from jaxrec.nets.policy import Items, Policy
from jaxrec.serve.reasons import Facts, Influence, Reason, make_reason
from jaxrec.serve.slates import NotFinite, padded_size, usual_context
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array, EnvSpec, Observation, Params, World

FEW, MANY = 16, 128  # histories in one call, of short and of long histories
MOST_SCORES = 2**24  # in one call; in a large catalogue it has fewer histories


class Explainer:
    """The compiled programs of one policy that explain its scores."""

    def __init__(
        self,
        policy: Policy,
        arrays: tuple[Params, Items, World],
        spec: EnvSpec,
        facts: Facts,
        names: tuple[Sequence[str], Sequence[str]],
    ):
        """Compile nothing yet; `names` are the ids and the titles of all items."""
        self._policy, self._arrays, self._spec, self._facts, self._names = policy, arrays, spec, facts, names
        world = arrays[2]
        self._place = np.full(world.item_table.shape[0], -1, np.int64)
        self._place[world.offered()] = np.arange(len(world.offered()))
        self._usual = usual_context(world, spec)
        self._program: Any = compiled(self._scores)
        self._rewards = np.asarray(spec.reward_weights or (1.0,) + (0.0,) * (len(spec.feedback) - 1), np.float32)

    def warm(self, most: int) -> None:
        """Compile the programs for slates of up to `most` items."""
        offered = self._arrays[2].offered()
        for k in sorted({padded_size(k) for k in range(1, min(most, len(offered)) + 1)}):
            for size in self._sizes:
                items = np.full(size - 1, offered[0], np.int32)
                self._all_scores(items, np.zeros((size - 1, len(self._spec.feedback))), np.zeros(k, int), 0, None)

    def changes(
        self, items: np.ndarray, feedback: np.ndarray, rows: np.ndarray, context: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores [K] of items `rows` [K] for a history [N] with feedback [N, F], and their changes [N, K].

        A change is the score minus the score without that row of the history. Raises InputError for an item that may
        not be recommended, and NotFinite if scores are not finite numbers.
        """
        places = self._place[rows]
        seen = np.zeros(len(rows), bool) if self._spec.repeats else np.isin(rows, items)
        if (wrong := (places < 0) | seen).any():
            first = int(np.argmax(wrong))
            item = quoted(self._names[0][rows[first]])
            why = "is in the history" if seen[first] else "may not be recommended"
            raise InputError(f"explain: item {item} {why}; leave it out.")
        first = max(0, len(items) - self._spec.history_length)
        scores = self._all_scores(items, feedback, places, first, context)
        if not np.isfinite(scores).all():
            raise NotFinite("explain: the policy's scores are not finite numbers; it diverged, so train it again.")
        changes = np.zeros((len(items), len(rows)), np.float32)
        changes[first:] = scores[0] - scores[1:]
        return scores[0], changes

    def explain(
        self, items: np.ndarray, feedback: np.ndarray, rows: np.ndarray, context: np.ndarray | None = None
    ) -> list[Reason]:
        """Give a reason for each of the recommended items `rows`; raises what `changes` raises."""
        scores, changes = self.changes(items, feedback, rows, context)
        first = max(0, len(items) - self._spec.history_length)
        rewarded = feedback @ self._rewards > 0
        ids, titles = self._names
        found = []
        for k, row in enumerate(map(int, rows)):
            influences = [
                Influence(
                    ids[other],
                    titles[other],
                    float(changes[n, k]),
                    bool(rewarded[n]),
                    self._facts.words(other, row),
                    self._facts.categories(other, row),
                )
                for n, other in enumerate(map(int, items))
                if n >= first
            ]
            found.append(make_reason((ids[row], titles[row]), float(scores[k]), influences))
        return found

    @property
    def _sizes(self) -> list[int]:
        """Histories in one call of each program."""
        most = max(2, min(MANY, MOST_SCORES // max(1, len(self._arrays[2].offered())), self._spec.history_length + 1))
        return sorted({min(FEW, most), most})

    def _all_scores(
        self, items: np.ndarray, feedback: np.ndarray, places: np.ndarray, first: int, context: np.ndarray | None
    ) -> np.ndarray:
        """Scores [1 + N - first, K] of the whole history, and of it without each row from `first` on."""
        left_out = [None, *range(first, len(items))]
        size = next((one for one in self._sizes if one >= len(left_out)), self._sizes[-1])
        padded = np.zeros(padded_size(len(places)), np.int32)
        padded[: len(places)] = places
        found = []
        for start in range(0, len(left_out), size):
            tile = left_out[start : start + size]
            obs = self._observed(items, feedback, tile, size, context)
            scores = jax.device_get(self._program(*self._arrays, obs, padded))
            found.append(scores[: len(tile), : len(places)])
        return np.concatenate(found)

    def _observed(
        self, items: np.ndarray, feedback: np.ndarray, left_out: Sequence[int | None], size: int, context: Any
    ) -> Observation:
        """One history for each row that is left out; the rest of `size` are empty."""
        kept = [np.arange(len(items)) if n is None else np.delete(np.arange(len(items)), n) for n in left_out]
        ends = np.cumsum([len(one) for one in kept] + [0] * (size - len(kept)))
        starts = np.concatenate([[0], ends[:-1]])
        order = np.concatenate(kept)
        columns = items[order].astype(np.int32), feedback[order].astype(np.float32)
        window, values = latest_rows(columns, starts, ends, self._spec.history_length)
        read: Any = {"history_items": window, "history_feedback": values}
        if self._usual is not None:
            given = self._usual if context is None else np.asarray(context, np.float32)
            read["context"] = np.broadcast_to(given, (size, len(given)))
        return Observation(**read)

    def _scores(self, params: Params, items: Items, world: World, obs: Observation, places: Array) -> Array:
        """Scores [T, K] of the items at `places` [K] for T histories, also where a policy would not retrieve them."""
        assert obs.history_items is not None
        keep = jnp.broadcast_to(places, (obs.history_items.shape[0], places.shape[0]))
        return self._policy.apply(params, items, obs, world, keep).logits[:, places]
