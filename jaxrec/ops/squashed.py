"""Gaussian actions, squashed by tanh into a range where there is one.

    x ~ N(mean, exp(log_std)^2),  a = low + (high - low) (tanh(x) + 1) / 2
    log pi(a) = sum_j [log N(x_j; mean_j, std_j) - log((high - low) / 2) - log(1 - tanh(x_j)^2)]

(arXiv 1801.01290, eq. 21.) Without a range a = x and the last two terms are missing.
"""

import math

import jax
import jax.numpy as jnp

from jaxrec.types import Array

NEAREST_TO_END = 1e-6  # of tanh; nearer to 1, rounding of the action decides x, which could be infinite


def squash(x: Array, low: float, high: float) -> Array:
    """Map numbers [..., A] into the range; unchanged where it is infinite."""
    if not math.isfinite(low):
        return x
    return low + 0.5 * (high - low) * (jnp.tanh(x) + 1.0)


def unsquash(action: Array, low: float, high: float) -> Array:
    """Invert `squash`, from a little inside the range: [..., A] -> [..., A]."""
    if not math.isfinite(low):
        return action
    most = 1.0 - NEAREST_TO_END
    return jnp.arctanh(jnp.clip(2.0 * (action - low) / (high - low) - 1.0, -most, most))


def squashed_log_prob(action: Array, mean: Array, log_std: Array, low: float, high: float) -> Array:
    """Log-density of actions [..., A] under Gaussians [..., A], squashed into the range -> [...]."""
    x = unsquash(action, low, high)
    log_density = -0.5 * jnp.square((x - mean) * jnp.exp(-log_std)) - log_std - 0.5 * math.log(2 * math.pi)
    if math.isfinite(low):
        # log(1 - tanh(x)^2) without cancellation.
        log_density -= math.log(0.5 * (high - low)) + 2.0 * (math.log(2.0) - x - jax.nn.softplus(-2.0 * x))
    return log_density.sum(-1)


def gaussian_entropy(log_std: Array) -> Array:
    """Entropy of Gaussians with standard deviations exp(log_std) [..., A] -> [...]."""
    return (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)


def gaussian_kl(mean: Array, log_std: Array, other_mean: Array, other_log_std: Array) -> Array:
    """KL(one || other) of Gaussians [..., A] -> [...]; squashing both into one range does not change it."""
    ratio = jnp.square(jnp.exp(log_std - other_log_std))
    distance = jnp.square((mean - other_mean) * jnp.exp(-other_log_std))
    return (0.5 * (ratio + distance - 1.0) + other_log_std - log_std).sum(-1)
