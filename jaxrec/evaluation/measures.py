"""The metrics of simulated evaluation: one object per metric, all of them in `MEASURES`.

A metric that is added to `MEASURES` is computed in every simulation, written to `evaluation.json` under its name, and
printed as a column of the table.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrec.ops.vectors import slate_diversity, unit_rows
from jaxrec.types import Array, EnvSpec, Observation, StepOutput

Z95 = 1.959964


class ItemFacts(struct.PyTreeNode):
    """Item data from which diversity and novelty are computed."""

    rows: Array  # [I, E] unit length (text) vectors
    surprise: Array  # [I] -log2 share of the interactions, bits


def item_facts(vectors: Array | np.ndarray, counts: np.ndarray | None = None) -> ItemFacts:
    """Facts from vectors [I, E] of any length and positive interaction counts [I]; without counts all are equal."""
    vectors = np.asarray(vectors, np.float32)
    counts = np.ones(len(vectors)) if counts is None else counts
    surprise = -np.log2(counts / counts.sum())
    return ItemFacts(rows=jnp.asarray(unit_rows(vectors, 1e-8)), surprise=jnp.asarray(surprise, jnp.float32))


class Sizes(NamedTuple):
    """Sizes of the axes that a tally may have."""

    users: int  # B, simulated at once
    steps: int  # T, at most
    items: int  # I


class Step(NamedTuple):
    """One step of a batch of users. Inactive users are part of it, but must not be counted."""

    number: Array  # [] int32
    active: Array  # [B] bool, false after the user's episode
    items: Array | None  # [B, K] int32 ids of the shown items; None for documents outside the item table
    reward: Array  # [B], 0 for inactive users
    out: StepOutput
    facts: ItemFacts

    @property
    def counted(self) -> Array:
        """[B, K] float32, 1 for items shown to active users, else 0."""
        assert self.items is not None
        return jnp.broadcast_to(self.active[:, None], self.items.shape).astype(jnp.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Episodes:
    """Results that every simulation keeps: one episode of each of N users."""

    returns: np.ndarray  # [N] total reward per user
    lengths: np.ndarray  # [N] steps per user
    known: np.ndarray  # [N] rows of the history that policies saw at the start
    rewards: np.ndarray  # [T] total reward of each step, up to the last step with an active user
    shown: np.ndarray | None  # [I] times that each item was shown; None for documents outside the item table
    slate_size: int
    num_recommendable: int

    @property
    def slates(self) -> int:
        """Number of slates shown, at least 1."""
        return max(int(self.lengths.sum()), 1)

    @property
    def present(self) -> np.ndarray:
        """[T] number of active users in each step."""
        return (self.lengths[:, None] > np.arange(len(self.rewards))).sum(0)

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def half_width(self) -> float:
        """Half the width of the 95% confidence interval of the mean (normal approximation over users)."""
        return mean_and_half_width(self.returns)[1]


KNOWN = ((0, 4), (5, 19), (20, None))  # rows of a history: groups of users in reports


def by_known_rows(episodes: Episodes) -> dict[str, dict[str, float]]:
    """Mean return of users by the rows of their first history, for groups with users."""
    account = {}
    for low, high in KNOWN:
        inside = (episodes.known >= low) & (episodes.known <= (np.inf if high is None else high))
        if inside.sum() > 1:
            mean, half_width = mean_and_half_width(episodes.returns[inside])
            name = f"{low}-{high}" if high is not None else f"{low}+"
            account[name] = {"users": int(inside.sum()), "return": mean, "half_width": half_width}
    return account


def mean_and_half_width(values: np.ndarray) -> tuple[float, float]:
    """Mean of [N] values and half the width of its 95% interval (normal approximation), NaN for a single value."""
    half_width = Z95 * values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return float(values.mean()), float(half_width)


class EpisodeTally(struct.PyTreeNode):
    """Counters of episodes on the device."""

    returns: Array  # [B]
    lengths: Array  # [B] int32
    known: Array  # [B] int32, rows of the first history
    rewards: Array  # [T] sum over users
    shown: Array | None  # [I] times shown


def start_episodes(spec: EnvSpec, sizes: Sizes, obs: Observation) -> EpisodeTally:
    """Create the tally before the first step, of users who see `obs` first."""
    zeros, none = jnp.zeros(sizes.users), jnp.zeros(sizes.users, jnp.int32)
    known = none if obs.history_items is None else (obs.history_items >= 0).sum(-1, dtype=jnp.int32)
    shown = jnp.zeros(sizes.items) if _in_table(spec) else None
    return EpisodeTally(zeros, none, known, jnp.zeros(sizes.steps), shown)


def add_to_episodes(tally: EpisodeTally, step: Step) -> EpisodeTally:
    """Add one step to the tally."""
    return tally.replace(
        returns=tally.returns + step.reward,
        lengths=tally.lengths + step.active.astype(jnp.int32),
        rewards=tally.rewards.at[step.number].add(step.reward.sum()),
        shown=None if tally.shown is None else tally.shown.at[step.items].add(step.counted),
    )


def _nothing(sizes: Sizes) -> tuple[()]:
    return ()


def _unchanged(tally: Any, step: Step) -> Any:
    return tally


def _always(spec: EnvSpec) -> bool:
    return True


class Measure(NamedTuple):
    """One metric. Its counters on the device are its tally, a pytree; by default it has none.

    `finish` turns the tallies of all batches, leaves [batches, ...], and the episodes into a number, on the host. A
    leaf with one number per user has the users of all batches in order, then the padding of the last batch.
    """

    title: str  # of the column in the printed table
    cell: str  # format of the number there
    finish: Callable[[Any, Episodes], float]
    start: Callable[[Sizes], Any] = _nothing
    add: Callable[[Any, Step], Any] = _unchanged
    applies: Callable[[EnvSpec], bool] = _always  # to an environment; the number is NaN where it does not


Measures = Mapping[str, Measure]


def start_tallies(measures: Measures, spec: EnvSpec, sizes: Sizes) -> dict[str, Any]:
    """Create the tallies of the measures that apply, before the first step."""
    return {name: measure.start(sizes) for name, measure in measures.items() if measure.applies(spec)}


def add_to_tallies(measures: Measures, tallies: dict[str, Any], step: Step) -> dict[str, Any]:
    """Add one step to every tally."""
    return {name: measures[name].add(tally, step) for name, tally in tallies.items()}


def finished(measures: Measures, tallies: Mapping[str, Any], episodes: Episodes) -> dict[str, float]:
    """Compute each measure; NaN where it does not apply and so has no tally."""
    return {
        name: measure.finish(tallies[name], episodes) if name in tallies else math.nan
        for name, measure in measures.items()
    }


def _in_table(spec: EnvSpec) -> bool:
    """True if items have rows in a table; generated documents have none."""
    return not spec.candidate_size


def _slates_of_table(spec: EnvSpec) -> bool:
    return _in_table(spec) and spec.slate_size > 1


def _zero(sizes: Sizes) -> Array:
    return jnp.asarray(0.0)


def _total(tally: np.ndarray) -> float:
    """Sum over batches, in double precision."""
    return float(tally.sum(dtype=np.float64))


def _per_item(tally: Any, episodes: Episodes) -> float:
    return float(episodes.returns.sum() / (episodes.lengths.sum() * episodes.slate_size))


def _share_shown(_: Any, episodes: Episodes) -> float:
    return math.nan if episodes.shown is None else float((episodes.shown > 0).sum() / episodes.num_recommendable)


def _add_diversity(total: Array, step: Step) -> Array:
    return total + jnp.where(step.active, slate_diversity(step.facts.rows[step.items]), 0.0).sum()


def _add_surprise(total: Array, step: Step) -> Array:
    return total + (step.counted * step.facts.surprise[step.items]).sum()


MEASURES: Measures = {
    "return": Measure("return", "{:.3f}", lambda _, episodes: episodes.mean),
    "return_95": Measure("95% CI", "±{:.3f}", lambda _, episodes: episodes.half_width),
    "per_item": Measure("per item", "{:.4f}", _per_item),
    "length": Measure("steps", "{:.1f}", lambda _, episodes: float(episodes.lengths.mean())),
    "coverage": Measure("coverage", "{:.1%}", _share_shown),  # share of recommendable items that were shown at all
    "diversity": Measure(  # mean over slates of 1 - mean pairwise cosine
        "diversity",
        "{:.3f}",
        start=_zero,
        add=_add_diversity,
        finish=lambda total, episodes: _total(total) / episodes.slates,
        applies=_slates_of_table,
    ),
    "novelty": Measure(  # mean surprise of the shown items, bits
        "novelty",
        "{:.2f}",
        start=_zero,
        add=_add_surprise,
        finish=lambda total, episodes: _total(total) / (episodes.slates * episodes.slate_size),
        applies=_in_table,
    ),
}
