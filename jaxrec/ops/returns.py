"""Advantages and returns."""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.types import Array


class NStep(struct.PyTreeNode):
    """Rewards of a window, and how to bootstrap after them."""

    reward: Array  # [...] discounted sum
    discount: Array  # [...] of the value of the observation `length` steps later; 0 where the user left
    length: Array  # [...] int32, rewards summed


def gae(
    reward: Array,
    value: Array,
    next_value: Array,
    terminated: Array,
    truncated: Array,
    gamma: float | Array,
    lam: float,
) -> Array:
    """Generalised advantage estimates; every argument and the result are [T, ...], time first; `gamma` may be [].

    `next_value[t]` is the value of what followed step t *before* any reset: value[t + 1] inside an episode, the value
    of the final observation where the episode was truncated. Termination does not bootstrap; both end the sum.

    A[t] = delta[t] + gamma lam (1 - ended[t]) A[t+1],  delta[t] = r[t] + gamma (1 - terminated[t]) v'[t] - v[t]
    (Schulman et al., arXiv 1506.02438, eq. 16).
    """
    chex.assert_equal_shape([reward, value, next_value, terminated, truncated])
    delta = reward + gamma * jnp.where(terminated, 0.0, next_value) - value
    carry_on = gamma * lam * jnp.where(terminated | truncated, 0.0, 1.0)

    def backward(after: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        delta_t, carry_t = step
        advantage = delta_t + carry_t * after
        return advantage, advantage

    _, advantage = jax.lax.scan(backward, jnp.zeros_like(delta[0]), (delta, carry_on), reverse=True)
    return advantage


def n_step(reward: Array, terminated: Array, truncated: Array, gamma: float) -> NStep:
    """Sum rewards up to the end of a window or of the episode; [..., n] each, time last -> leaves [...].

    A termination ends the sum with its own reward and nothing follows. A truncated step's successor was replaced by
    another user, so the sum stops *before* it and bootstraps from the value of that step's own observation. A
    window that begins with one has length 0 and contributes nothing.
    """
    chex.assert_equal_shape([reward, terminated, truncated])
    cut = truncated & ~terminated
    ended = jnp.cumsum(cut, axis=-1) + jnp.cumsum(terminated, axis=-1) - terminated.astype(jnp.int32)
    inside = ended == 0  # [..., n], true up to the termination itself
    powers = jnp.broadcast_to(gamma ** jnp.arange(reward.shape[-1], dtype=jnp.float32), reward.shape)
    length = inside.sum(-1, dtype=jnp.int32)
    left = (inside & terminated).any(-1)
    discount = jnp.where(left, 0.0, gamma ** length.astype(jnp.float32))
    return NStep(jnp.where(inside, powers * reward, 0.0).sum(-1), discount, length)
