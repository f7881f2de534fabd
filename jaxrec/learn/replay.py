"""Replay on the device: a ring buffer over time of all simulated users, with one observation per step.

The next observation of a step is in the next row, so nothing is stored twice and windows of n steps cost no more memory
than single steps. Leaves are [S, T, N, ...]: logical shards, steps, users of one shard. Every shard samples its own
users, so data never leaves its device. Add first, then sample the new state: in a donated program the ring is written
in place.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.ops.returns import n_step
from jaxrec.types import Array, Observation, Transition


class Experience(struct.PyTreeNode):
    """One step as stored in the ring; items are ids, not vectors."""

    obs: Observation
    action: Array  # [..., *EnvSpec.action.shape]
    item_reward: Array  # [..., K] credit of each shown item, K = 1 without items; their sum is the reward
    terminated: Array  # [...] bool
    truncated: Array  # [...] bool


class ChosenExperience(Experience):
    """A step of users who choose at most one item; a class of its own, so that other rings and checkpoints lack it."""

    chosen: Array  # [..., K] 1 for the chosen item


class Replay(struct.PyTreeNode):
    """The ring buffer; the oldest row is the next to be overwritten."""

    rows: Experience  # leaves [S, T, N, ...]
    added: Array  # [] int32, steps per user ever added

    @property
    def capacity(self) -> int:
        """T, the largest number of stored steps per user."""
        return self.rows.terminated.shape[1]

    @property
    def size(self) -> Array:
        """[] int32, the number of stored steps per user."""
        return jnp.minimum(self.added, self.capacity)


class Sample(struct.PyTreeNode):
    """Windows of n steps as a loss reads them, leaves [S, B, ...]."""

    obs: Observation
    action: Array  # [S, B, *EnvSpec.action.shape]
    item_reward: Array  # [S, B, K] of the first step, plus an equal share of the discounted rewards after it
    next_obs: Observation  # where the window ended
    discount: Array  # [S, B] for the value of next_obs; 0 where the user left
    weight: Array  # [S, B] 0 where the first step was truncated, since the next row is another user
    next_action: Array | None = None  # [S, B, *EnvSpec.action.shape] what was done where the window ended
    chosen: Array | None = None  # [S, B, K] of the first step, if the ring holds it
    user: Array | None = None  # [S, B] int32, whose steps they are, among the users of the shard


def experience(transitions: Transition, item_reward: Array) -> Experience:
    """What the ring keeps of transitions, with the credit [..., K] of shown items."""
    return Experience(
        obs=transitions.obs,
        action=transitions.action,
        item_reward=item_reward,
        terminated=transitions.terminated,
        truncated=transitions.truncated,
    )


def empty(example: Experience, capacity: int) -> Replay:
    """Create an empty ring for rows like `example`, leaves [S, N, ...]."""
    rows = jax.tree.map(lambda x: jnp.zeros((x.shape[0], capacity, *x.shape[1:]), x.dtype), example)
    return Replay(rows, jnp.asarray(0, jnp.int32))


def add(replay: Replay, new: Experience) -> Replay:
    """Write `new`, leaves [S, n, N, ...], over the oldest rows; n must divide the capacity, so nothing wraps."""
    count = new.terminated.shape[1]
    if replay.capacity % count:
        raise ValueError(f"replay: expected a capacity that is a multiple of {count} steps, got {replay.capacity}.")
    head = replay.added % replay.capacity
    rows = jax.tree.map(lambda ring, x: jax.lax.dynamic_update_slice_in_dim(ring, x, head, 1), replay.rows, new)
    return Replay(rows, replay.added + count)


def sample(key: Array, replay: Replay, count: int, steps: int, gamma: float) -> Sample:
    """Draw `count` windows of `steps` steps per shard, uniformly and with replacement; key [S], leaves [S, count, ...].

    All steps of a window and the observation after it must be in the ring, so `replay.size > steps` is required.
    """
    users = replay.rows.terminated.shape[2]

    def one_shard(shard_key: Array) -> Array:
        limits = jnp.stack([replay.size - steps, jnp.asarray(users, jnp.int32)])[:, None]
        return jax.random.randint(shard_key, (2, count), 0, limits)

    places = jax.vmap(one_shard)(key)
    return windows(replay, places[:, 0], places[:, 1], steps, gamma)


def windows(replay: Replay, start: Array, user: Array, steps: int, gamma: float) -> Sample:
    """Windows of `steps` steps that begin `start` [S, B] steps after the oldest one, of users [S, B] of the shard."""
    oldest = replay.added - replay.size

    def one_shard(rows: Experience, start: Array, user: Array) -> Sample:
        window = (oldest + start[:, None] + jnp.arange(steps)[None]) % replay.capacity  # [B, steps]
        across = jnp.broadcast_to(user[:, None], window.shape)
        reward = rows.item_reward[window, across].sum(-1)
        summed = n_step(reward, rows.terminated[window, across], rows.truncated[window, across], gamma)
        end = (window[:, 0] + summed.length) % replay.capacity
        item_reward = rows.item_reward[window[:, 0], user]
        later = (summed.reward - reward[:, 0]) / item_reward.shape[-1]
        return Sample(
            obs=jax.tree.map(lambda x: x[window[:, 0], user], rows.obs),
            action=rows.action[window[:, 0], user],
            item_reward=item_reward + later[:, None],
            next_obs=jax.tree.map(lambda x: x[end, user], rows.obs),
            discount=summed.discount,
            weight=(summed.length > 0).astype(jnp.float32),
            next_action=rows.action[end, user],
            chosen=rows.chosen[window[:, 0], user] if isinstance(rows, ChosenExperience) else None,
            user=user,
        )

    return jax.vmap(one_shard)(replay.rows, start, user)
