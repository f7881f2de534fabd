"""Run a recommender with simulated users and compute the measures of `jaxrec.evaluation.measures`.

Every recommender meets the same users: the keys with which user n is reset and stepped depend only on the seed, n and
the step, never on what was recommended.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrec.evaluation.measures import (
    MEASURES,
    Episodes,
    EpisodeTally,
    ItemFacts,
    Measures,
    Sizes,
    Step,
    add_to_episodes,
    add_to_tallies,
    finished,
    mean_and_half_width,
    start_episodes,
    start_tallies,
)
from jaxrec.nets.policy import to_items
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array, Env, Observation, World

__all__ = ["ItemFacts", "Recommender", "Simulated", "Tally", "make_simulation", "make_simulations", "simulated"]

BATCH = 256  # users simulated at once; the device runs one batch after another

Choose = Callable[[Any, Array, Any, Observation, World], Array]
ScoreAll = Callable[[Any, Observation, World], Array]


class Recommender(NamedTuple):
    """A function that chooses slates: `choose(arrays, key, env_state, obs, world) -> [B, K]` for a batch of users.

    `arrays` is a pytree of whatever it reads. Only oracles read the state of the environment. The slate holds positions
    among the scores, which `jaxrec.nets.policy.to_items` turns into ids.

    `score(arrays, obs, world) -> [B, I]`, over the whole catalogue, is what it chooses by. It is None for oracles and
    random slates.
    """

    choose: Choose
    arrays: Any = None
    score: ScoreAll | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Simulated(Episodes):
    """Results of one recommender in one simulator."""

    measured: dict[str, float]  # value of each measure by name; NaN where it does not apply

    @property
    def coverage(self) -> float:
        """Share of the recommendable items that were shown at least once; NaN for documents outside the item table."""
        return self.measured["coverage"]

    @property
    def diversity(self) -> float:
        """Mean over slates of 1 - mean pairwise cosine; NaN for single items and documents outside the item table."""
        return self.measured["diversity"]

    @property
    def novelty(self) -> float:
        """Mean surprise of the shown items, in bits; NaN for documents outside the item table."""
        return self.measured["novelty"]

    def minus(self, other: "Simulated") -> tuple[float, float]:
        """Mean paired difference of each user's return from `other`, and half the width of its 95% interval.

        Both met the same users with the same keys, so this interval is narrower than the two separate ones suggest.
        """
        return mean_and_half_width(self.returns - other.returns)

    def summary(self) -> dict[str, float | None]:
        """Plain numbers for a report, by name of the measure; None where the value is not finite."""
        return {name: value if math.isfinite(value) else None for name, value in self.measured.items()}


class Tally(struct.PyTreeNode):
    """Counters of a batch of users on the device."""

    episodes: EpisodeTally
    measures: dict[str, Any]  # tally of each measure


class _Loop(struct.PyTreeNode):
    """The carry of the device loop."""

    step: Array  # []
    env_state: Any  # [B, ...]
    obs: Observation
    active: Array  # [B] bool
    tally: Tally


def make_simulation(
    env: Env, recommender: Recommender, max_steps: int, measures: Measures = MEASURES
) -> Callable[..., Simulated]:
    """Compile a simulation; returns `run(world, facts, key, users, arrays=None) -> Simulated`."""
    run_all = make_simulations(env, {"": recommender}, max_steps, measures)

    def run(world: World, facts: ItemFacts, key: Array, users: int, arrays: Any = None) -> Simulated:
        return run_all(world, facts, key, users, {"": recommender.arrays if arrays is None else arrays})[""]

    return run


def make_simulations(
    env: Env, recommenders: Mapping[str, Recommender], max_steps: int, measures: Measures = MEASURES
) -> Callable[..., dict[str, Simulated]]:
    """Compile the simulations of several recommenders; returns `run(world, facts, key, users) -> Simulated by name`.

    All share one program, in which the slate comes from one branch per recommender: the users are most of it, and a
    program for each recommender would take many times as long to compile. Users begin in a program of their own, which
    alone reads where in the log they begin. So worlds that differ only in the size of their log share the rest.
    """
    begin = compiled(partial(_begin, env))
    play = compiled(partial(_play, env, [one.choose for one in recommenders.values()], max_steps, measures))
    own = {name: one.arrays for name, one in recommenders.items()}

    def run(
        world: World, facts: ItemFacts, key: Array, users: int, arrays: Mapping[str, Any] = own
    ) -> dict[str, Simulated]:
        size = min(BATCH, users)
        keys = jax.random.split(key, -(-users // size) * size)
        real = np.arange(len(keys)) < users
        inputs = jax.device_put([arrays[name] for name in recommenders])  # once: every call gets them all
        tallies: dict[str, list[Tally]] = {name: [] for name in recommenders}
        for batch in (slice(first, first + size) for first in range(0, len(keys), size)):
            start = begin(keys[batch], world)
            for n, found in enumerate(tallies.values()):
                found.append(jax.device_get(play(np.int32(n), start, real[batch], inputs, world, facts)))
        sizes = users, env.spec.slate_size, world.num_recommendable
        return {name: simulated(measures, found, *sizes) for name, found in tallies.items()}

    return run


class _Start(struct.PyTreeNode):
    """Users before their first step."""

    key_choose: Array  # [] of the recommender's draws, one per batch
    key_steps: Array  # [B]
    env_state: Any  # [B, ...]
    obs: Observation


def _begin(env: Env, keys: Array, world: World) -> _Start:
    """Begin the episodes of users with keys [B]."""
    parts = jax.vmap(lambda k: jax.random.split(k, 3))(keys)
    env_state, obs = jax.vmap(env.reset, in_axes=(0, None))(parts[:, 0], world)
    # Folding into keys[0] would repeat the first user's own key.
    return _Start(parts[0, 2], parts[:, 1], env_state, obs)


def _play(
    env: Env,
    choose: Sequence[Choose],
    max_steps: int,
    measures: Measures,
    number: Array,
    begun: _Start,
    active: Array,
    arrays: Sequence[Any],
    world: World,
    facts: ItemFacts,
) -> Tally:
    """Simulate users until all have left, with the recommender of this `number` [] int32.

    `active` [B] is false for the padding of the last batch.
    """
    sizes = Sizes(active.shape[0], max_steps, env.spec.num_items)
    tally = Tally(start_episodes(env.spec, sizes, begun.obs), start_tallies(measures, env.spec, sizes))
    start = _Loop(jnp.asarray(0, jnp.int32), begun.env_state, begun.obs, active, tally)
    branches = [partial(_chosen, one, own, world) for one, own in zip(choose, arrays, strict=True)]

    def body(loop: _Loop) -> _Loop:
        key = jax.random.fold_in(begun.key_choose, loop.step)
        slate = to_items(jax.lax.switch(number, branches, key, loop.env_state, loop.obs), loop.obs, world)
        step_keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(begun.key_steps, loop.step)
        env_state, out = jax.vmap(env.step, in_axes=(0, 0, 0, None))(step_keys, loop.env_state, slate, world)
        reward = jnp.where(loop.active, out.reward, 0.0)
        step = Step(loop.step, loop.active, _shown_items(loop.obs, slate), reward, out, facts)
        counted = Tally(add_to_episodes(loop.tally.episodes, step), add_to_tallies(measures, loop.tally.measures, step))
        active = loop.active & ~(out.terminated | out.truncated)
        return _Loop(loop.step + 1, env_state, out.obs, active, counted)

    return jax.lax.while_loop(lambda loop: loop.active.any() & (loop.step < max_steps), body, start).tally


def _chosen(choose: Choose, arrays: Any, world: World, key: Array, env_state: Any, obs: Observation) -> Array:
    """The slates of one recommender, [B, K] int32."""
    return choose(arrays, key, env_state, obs, world).astype(jnp.int32)


def _shown_items(obs: Observation, slate: Array) -> Array | None:
    """Ids [B, K] of the items of a slate [B, K]; None for documents outside the item table."""
    if obs.candidate_features is not None:
        return None
    return slate if obs.candidates is None else jnp.take_along_axis(obs.candidates, slate, axis=-1)


def simulated(
    measures: Measures, tallies: list[Tally], users: int, slate_size: int, num_recommendable: int
) -> Simulated:
    """Combine all batches on the host."""
    tally = jax.tree.map(lambda *batches: np.stack(batches), *tallies)  # leaves [batches, ...]
    lengths = tally.episodes.lengths.reshape(-1)[:users]
    episodes = Episodes(
        returns=tally.episodes.returns.reshape(-1)[:users],
        lengths=lengths,
        known=tally.episodes.known.reshape(-1)[:users],
        rewards=tally.episodes.rewards.sum(0)[: lengths.max()],
        shown=None if tally.episodes.shown is None else tally.episodes.shown.sum(0),
        slate_size=slate_size,
        num_recommendable=num_recommendable,
    )
    return Simulated(**vars(episodes), measured=finished(measures, tally.measures, episodes))
