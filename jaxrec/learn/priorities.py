"""Prioritised experience replay on the device (arXiv 1511.05952), proportional variant, one distribution per shard.

Window i is drawn with chance P(i) = p_i / sum_j p_j, where p_i = (|error_i| + 1e-3)^alpha. Its loss is multiplied by
(n P(i))^-beta over the largest of these in the minibatch; beta = 1 corrects the bias of the draw entirely. New steps
get the largest priority so far. A draw is one cumulative sum over the shard's steps and one binary search per window,
in strata of equal mass.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.learn.replay import Replay
from jaxrec.types import Array

SMALLEST_ERROR = 1e-3  # so that a window without error is drawn again


class Priorities(struct.PyTreeNode):
    """Priorities of the steps in the ring."""

    value: Array  # [S, T, N] p_i; 0 where the ring is empty
    largest: Array  # [S] so far


class Places(struct.PyTreeNode):
    """Where drawn windows begin."""

    start: Array  # [S, B] int32 steps after the oldest of the ring
    user: Array  # [S, B] int32
    row: Array  # [S, B] int32 row of the ring


def empty(shards: int, steps: int, users: int) -> Priorities:
    """Priorities of an empty ring."""
    return Priorities(jnp.zeros((shards, steps, users)), jnp.ones(shards))


def add(priorities: Priorities, before: Replay, count: int) -> Priorities:
    """Give the `count` steps that follow those of the ring `before` the largest priority so far."""
    value = priorities.value
    new = jnp.broadcast_to(priorities.largest[:, None, None], (value.shape[0], count, value.shape[2]))
    head = before.added % before.capacity
    return priorities.replace(value=jax.lax.dynamic_update_slice_in_dim(value, new, head, 1))


def draw(
    key: Array, priorities: Priorities, replay: Replay, count: int, steps: int, correction: Array | float
) -> tuple[Places, Array]:
    """Draw `count` windows of `steps` steps per shard; key [S] -> places [S, count], weights [S, count] up to 1.

    `correction` is beta. The latest `steps` steps begin no window, since what follows them is not known yet.
    """
    oldest, users = (replay.added - replay.size) % replay.capacity, priorities.value.shape[2]
    age = (jnp.arange(replay.capacity) - oldest) % replay.capacity  # steps after the oldest, of each row
    whole = age < replay.size - steps

    def one_shard(shard_key: Array, value: Array) -> tuple[Array, Array]:
        mass = jnp.where(whole[:, None], value, 0.0).reshape(-1)
        upper = jnp.cumsum(mass)
        marks = (jnp.arange(count, dtype=mass.dtype) + jax.random.uniform(shard_key, (count,))) / count * upper[-1]
        # A row without mass has the upper edge of the one before it, which "right" passes over.
        found = jnp.minimum(jnp.searchsorted(upper, marks, side="right"), jnp.argmax(upper))
        return found.astype(jnp.int32), mass[found] / upper[-1]

    found, chance = jax.vmap(one_shard)(key, priorities.value)
    number = ((replay.size - steps) * users).astype(chance.dtype)
    weight = (number * chance) ** -correction
    row = found // users
    places = Places(start=(row - oldest) % replay.capacity, user=found % users, row=row)
    return places, weight / weight.max()


def update(priorities: Priorities, places: Places, error: Array, exponent: float) -> Priorities:
    """Set the priorities of drawn windows from their errors [S, B]; `exponent` is alpha."""
    fresh = (jnp.abs(error) + SMALLEST_ERROR) ** exponent
    value = jax.vmap(lambda old, row, user, new: old.at[row, user].set(new))(
        priorities.value, places.row, places.user, fresh
    )
    return Priorities(value, jnp.maximum(priorities.largest, fresh.max(-1)))
