"""Simulated return of any recommender, with coverage, diversity and novelty beside it.

Every recommender meets the same users: user n is reset and stepped with keys that depend on the seed, n and the step
alone, never on what was recommended.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrec.nets.policy import to_items
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array, Env, Observation, StepOutput, World

BATCH = 256  # users simulated at once; batches follow each other on the device
Z95 = 1.959964

Choose = Callable[[Any, Array, Any, Observation, World], Array]


def mean_and_half_width(values: np.ndarray) -> tuple[float, float]:
    """Mean of [N] values and half of its 95% interval (normal approximation)."""
    return float(values.mean()), float(Z95 * values.std(ddof=1) / math.sqrt(len(values)))


class Recommender(NamedTuple):
    """What chooses slates: `choose(arrays, key, env_state, obs, world) -> [B, K]` for a batch of users.

    `arrays` is a pytree of whatever it reads; the state of the environment is there for oracles only. The slate is in
    positions among the scores (`jaxrec.nets.policy.to_items` translates).
    """

    choose: Choose
    arrays: Any = None


class ItemFacts(struct.PyTreeNode):
    """What diversity and novelty are measured with."""

    rows: Array  # [I, E] unit length (text) vectors
    surprise: Array  # [I] -log2 share of the interactions, bits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Simulated:
    """Outcome of one recommender in one simulator."""

    returns: np.ndarray  # [N] total reward a user
    lengths: np.ndarray  # [N] steps a user
    rewards: np.ndarray  # [T] total reward of each step, up to the last in which anybody was there
    slate_size: int
    # Of items in a table; NaN for documents that are in none.
    coverage: float  # share of the recommendable items that were shown at least once
    diversity: float  # mean over slates of 1 - mean pairwise cosine; NaN for single items
    novelty: float  # mean surprise of the shown items, bits

    @property
    def present(self) -> np.ndarray:
        """[T] users who were there in each step."""
        return (self.lengths[:, None] > np.arange(len(self.rewards))).sum(0)

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def half_width(self) -> float:
        """Half of the 95% interval of the mean (normal approximation over users)."""
        return mean_and_half_width(self.returns)[1]

    def minus(self, other: "Simulated") -> tuple[float, float]:
        """Mean of how much more each user returned than with `other`, and half of its 95% interval.

        Both met the same users with the same keys, so this interval is narrower than the two intervals suggest.
        """
        return mean_and_half_width(self.returns - other.returns)

    def summary(self) -> dict[str, float | None]:
        """Plain numbers for a report."""
        values = {
            "return": self.mean,
            "return_95": self.half_width,
            "per_item": float(self.returns.sum() / (self.lengths.sum() * self.slate_size)),
            "length": float(self.lengths.mean()),
            "coverage": self.coverage,
            "diversity": self.diversity,
            "novelty": self.novelty,
        }
        return {name: value if math.isfinite(value) else None for name, value in values.items()}


class _Tally(struct.PyTreeNode):
    """What the device loop carries."""

    step: Array  # []
    env_state: Any  # [B, ...]
    obs: Observation
    active: Array  # [B] bool
    returns: Array  # [B]
    lengths: Array  # [B]
    rewards: Array  # [max_steps] sum over users
    shown: Array  # [I]
    diversity: Array  # [] sum over slates
    surprise: Array  # [] sum over shown items


def make_simulation(env: Env, recommender: Recommender, max_steps: int) -> Callable[..., Simulated]:
    """Compile once; the result is `run(world, facts, key, users, arrays=None) -> Simulated`."""
    program = compiled(partial(_batch, env, recommender.choose, max_steps))

    def run(world: World, facts: ItemFacts, key: Array, users: int, arrays: Any = None) -> Simulated:
        arrays = recommender.arrays if arrays is None else arrays
        size = min(BATCH, users)
        keys = jax.random.split(key, -(-users // size) * size)
        real = np.arange(len(keys)) < users
        tallies = [
            jax.device_get(program(keys[first : first + size], real[first : first + size], arrays, world, facts))
            for first in range(0, len(keys), size)
        ]
        return _simulated(tallies, users, env, world)

    return run


def _batch(
    env: Env, choose: Choose, max_steps: int, keys: Array, active: Array, arrays: Any, world: World, facts: ItemFacts
) -> _Tally:
    """Users with keys [B] from reset until all have left; `active` [B] is false where the last batch is padded."""
    parts = jax.vmap(lambda k: jax.random.split(k, 3))(keys)
    key_choose = parts[0, 2]  # one a batch; folding into keys[0] would repeat the first user's own key
    env_state, obs = jax.vmap(env.reset, in_axes=(0, None))(parts[:, 0], world)
    size = keys.shape[0]
    tally = _Tally(
        step=jnp.asarray(0, jnp.int32),
        env_state=env_state,
        obs=obs,
        active=active,
        returns=jnp.zeros(size),
        lengths=jnp.zeros(size, jnp.int32),
        rewards=jnp.zeros(max_steps),
        shown=jnp.zeros(env.spec.num_items),
        diversity=jnp.asarray(0.0),
        surprise=jnp.asarray(0.0),
    )

    def body(tally: _Tally) -> _Tally:
        key = jax.random.fold_in(key_choose, tally.step)
        slate = to_items(choose(arrays, key, tally.env_state, tally.obs, world), tally.obs, world)
        step_keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(parts[:, 1], tally.step)
        env_state, out = jax.vmap(env.step, in_axes=(0, 0, 0, None))(step_keys, tally.env_state, slate, world)
        return _count(tally, slate, env_state, out, facts)

    tally = jax.lax.while_loop(lambda t: t.active.any() & (t.step < max_steps), body, tally)
    return tally.replace(env_state=None, obs=None)


def _count(tally: _Tally, slate: Array, env_state: Any, out: StepOutput, facts: ItemFacts) -> _Tally:
    """The tally after a step in which `slate` [B, K] was shown; who has left counts nothing."""
    if tally.obs.candidate_features is None:
        tally = _count_items(tally, slate, facts)
    reward = jnp.where(tally.active, out.reward, 0.0)
    return tally.replace(
        step=tally.step + 1,
        env_state=env_state,
        obs=out.obs,
        active=tally.active & ~(out.terminated | out.truncated),
        returns=tally.returns + reward,
        rewards=tally.rewards.at[tally.step].add(reward.sum()),
        lengths=tally.lengths + tally.active.astype(jnp.int32),
    )


def _count_items(tally: _Tally, slate: Array, facts: ItemFacts) -> _Tally:
    """Coverage, diversity and surprise of a slate [B, K] of items that have rows in the table."""
    items = slate
    if tally.obs.candidates is not None:
        items = jnp.take_along_axis(tally.obs.candidates, slate, axis=-1)
    counted = jnp.broadcast_to(tally.active[:, None], items.shape).astype(jnp.float32)
    return tally.replace(
        shown=tally.shown.at[items].add(counted),
        diversity=tally.diversity + jnp.where(tally.active, slate_diversity(facts.rows[items]), 0.0).sum(),
        surprise=tally.surprise + (counted * facts.surprise[items]).sum(),
    )


def _simulated(tallies: list[_Tally], users: int, env: Env, world: World) -> Simulated:
    """All batches together, on the host."""
    lengths, in_table = np.concatenate([t.lengths for t in tallies]), not env.spec.candidate_size
    shown = np.sum([t.shown for t in tallies], axis=0)
    slates, slate_size = max(int(lengths.sum()), 1), env.spec.slate_size
    return Simulated(
        returns=np.concatenate([t.returns for t in tallies])[:users],
        lengths=lengths[:users],
        rewards=np.sum([t.rewards for t in tallies], axis=0)[: lengths.max()],
        slate_size=slate_size,
        coverage=float((shown > 0).sum() / world.num_recommendable) if in_table else math.nan,
        diversity=sum(float(t.diversity) for t in tallies) / slates if in_table and slate_size > 1 else math.nan,
        novelty=sum(float(t.surprise) for t in tallies) / (slates * slate_size) if in_table else math.nan,
    )


def slate_diversity(rows: Array) -> Array:
    """1 - mean cosine over the pairs of a slate, from unit rows; [..., K, E] -> [...]. Zero for single items."""
    slate_size = rows.shape[-2]
    if slate_size < 2:
        return jnp.zeros(rows.shape[:-2])
    total = jnp.square(rows.sum(-2)).sum(-1) - jnp.square(rows).sum((-1, -2))
    return 1.0 - total / (slate_size * (slate_size - 1))
