"""What environments share whose documents are fresh each step: in no table, known by their features alone.

Draws are functions of uniforms in [0, 1), so that a step can draw all its randomness at once and slice it.
"""

import jax.numpy as jnp

from jaxrec.ops.draws import standard_normal
from jaxrec.types import Array, World

LARGEST_LOG = 40.0  # exp and its square stay finite in float32, whatever the parameters


def lognormal(mean: Array, sd: Array, uniform: Array) -> Array:
    """Numbers whose logarithm is N(mean, sd), cut to [-40, 40]; the three broadcast by explicit shapes only."""
    return jnp.exp(jnp.clip(mean + sd * standard_normal(uniform), -LARGEST_LOG, LARGEST_LOG))


def category(share: Array, uniform: Array) -> Array:
    """Number n with chance share[n] / sum; [N], [...] -> [...] int32."""
    edges = jnp.cumsum(share)[:-1] / share.sum()
    return (jnp.expand_dims(uniform, -1) >= jnp.expand_dims(edges, range(uniform.ndim))).sum(-1, dtype=jnp.int32)


def world_without_items(candidate_size: int, users: object) -> World:
    """World parameters where nothing is in a table; one row of zeros stands there, for no file holds an empty array."""
    return World(item_table=jnp.zeros((1, candidate_size)), users=users)
