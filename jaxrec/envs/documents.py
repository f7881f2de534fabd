"""Shared by environments with fresh documents at each step, which are in no table and have only features.

Draws are functions of uniform numbers in [0, 1), so that a step can draw all its randomness at once and slice it.
"""

import jax.numpy as jnp

from jaxrec.ops.draws import standard_normal
from jaxrec.types import Array, World

LARGEST_LOG = 40.0  # its exp, and the square of that, are finite in float32


def lognormal(mean: Array, sd: Array, uniform: Array) -> Array:
    """Draw numbers whose logarithm is N(mean, sd), cut to [-40, 40]; give the three shapes that broadcast."""
    return jnp.exp(jnp.clip(mean + sd * standard_normal(uniform), -LARGEST_LOG, LARGEST_LOG))


def category(share: Array, uniform: Array) -> Array:
    """Draw number n with chance share[n] / sum; [N], [...] -> [...] int32."""
    edges = jnp.cumsum(share)[:-1] / share.sum()
    return (jnp.expand_dims(uniform, -1) >= jnp.expand_dims(edges, range(uniform.ndim))).sum(-1, dtype=jnp.int32)


def world_without_items(candidate_size: int, users: object) -> World:
    """World parameters without an item table; it is one row of zeros, since files cannot hold an empty array."""
    return World(item_table=jnp.zeros((1, candidate_size)), users=users)
