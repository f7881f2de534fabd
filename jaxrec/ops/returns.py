"""Advantages and returns."""

import jax
import jax.numpy as jnp

from jaxrec.types import Array


def gae(
    reward: Array,
    value: Array,
    next_value: Array,
    terminated: Array,
    truncated: Array,
    gamma: float,
    lam: float,
) -> Array:
    """Generalised advantage estimates; every argument and the result are [T, ...], time first.

    `next_value[t]` is the value of what followed step t *before* any reset: value[t + 1] inside an episode, the value
    of the final observation where the episode was truncated. Termination does not bootstrap; both end the sum.

    A[t] = delta[t] + gamma lam (1 - ended[t]) A[t+1],  delta[t] = r[t] + gamma (1 - terminated[t]) v'[t] - v[t]
    (Schulman et al., arXiv 1506.02438, eq. 16).
    """
    delta = reward + gamma * jnp.where(terminated, 0.0, next_value) - value
    carry_on = gamma * lam * jnp.where(terminated | truncated, 0.0, 1.0)

    def backward(after: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        delta_t, carry_t = step
        advantage = delta_t + carry_t * after
        return advantage, advantage

    _, advantage = jax.lax.scan(backward, jnp.zeros_like(delta[0]), (delta, carry_on), reverse=True)
    return advantage
