"""How a vector becomes items: scores of what is on offer, the highest of which are the slate.

    "item"        s_i = <a, e_i> - |e_i|^2 / 2, in the order of -|a - e_i|: the K nearest rows (arXiv 1512.07679, eq. 1)
    "query"       s_i = <a, e_i>: the K largest products
    "behaviours"  s_i = sum_b a_b f_ib, with the expected feedback f [R, F] of each item

Rows e are those of the item table, or the features of fresh documents. The search is exact, and one matrix product.
"""

import jax.numpy as jnp

from jaxrec.nets.offers import on_offer
from jaxrec.types import Array, Observation, VectorAction, World


def item_scores(point: Array, action: VectorAction, obs: Observation, world: World) -> Array:
    """Score what is on offer by vectors [..., A] of items or queries: [..., M or R]."""
    rows = rows_on_offer(obs, world)
    products = jnp.einsum("...a,...ma->...m", point, rows, precision="highest")
    if action.of == "query":
        return products
    half = 0.5 * jnp.square(rows).sum(-1)
    return products - jnp.broadcast_to(half, products.shape)


def behaviour_scores(weights: Array, expected: Array) -> Array:
    """Score items by weights of behaviours [..., F] and their expected feedback [..., R, F]: [..., R]."""
    return jnp.einsum("...f,...rf->...r", weights, expected, precision="highest")


def rows_on_offer(obs: Observation, world: World) -> Array:
    """Rows [M, A], [..., M, A] or [R, A] of what is on offer, as numbers that vectors are compared with."""
    rows = world.item_table if obs.candidate_features is None else obs.candidate_features
    return on_offer(rows, obs, world).astype(jnp.float32)
