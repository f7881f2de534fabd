"""Scores of what is on offer: products of queries with the rows of a table, or with those of documents."""

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.nets.tastes import Tastes
from jaxrec.types import Array, Observation, World


class Items(struct.PyTreeNode):
    """The item tower's output for the whole table."""

    vectors: Array  # [I, W]
    bias: Array  # [I]
    tastes: Tastes | None = None  # with `belief`, what is known of items and people


def put(values: Array, where: Array, size: int) -> Array:
    """Scores [..., size] that are -inf but for `values` [..., n] at `where` [..., n]."""
    lead = where.shape[:-1]

    def one(values: Array, where: Array) -> Array:
        return jnp.full(size, -jnp.inf).at[where].set(values)

    flat = (x.reshape(-1, x.shape[-1]) for x in (values, where))
    return jax.vmap(one)(*flat).reshape(*lead, size)


def scores_on_offer(query: Array, items: Items, obs: Observation, world: World) -> Array:
    """Score what is on offer: products of the query [..., W] with rows of a table, or with those of documents."""
    vectors, bias = items.vectors, items.bias
    if obs.candidate_features is not None:
        return _document_scores(query, items)
    if obs.candidates is None:
        if world.recommendable is not None:
            vectors, bias = vectors[world.recommendable], bias[world.recommendable]
        logits = query @ vectors.T
        return logits + jnp.broadcast_to(bias, logits.shape)
    num_items, num_candidates = bias.shape[0], obs.candidates.shape[-1]
    if num_items <= 16 * num_candidates:  # for a small table, one product is faster than a gather per candidate
        logits = query @ vectors.T
        return jnp.take_along_axis(logits + jnp.broadcast_to(bias, logits.shape), obs.candidates, axis=-1)
    return _document_scores(query, Items(vectors[obs.candidates], bias[obs.candidates]))


def _document_scores(query: Array, documents: Items) -> Array:
    """Score documents: products of the query [..., W] with vectors [..., M, W]."""
    return jnp.einsum("...w,...mw->...m", query, documents.vectors) + documents.bias


def affinity(obs: Observation, world: World) -> Array | None:
    """Products of the user's numbers with rows of the same size: [..., M or R].

    None where the sizes differ: the numbers of users and items then have nothing in common.
    """
    rows = world.item_table if obs.candidate_features is None else obs.candidate_features
    if obs.user is None or obs.user.shape[-1] != rows.shape[-1]:
        return None
    return row_products(obs.user, obs, world)


def row_products(numbers: Array, obs: Observation, world: World) -> Array:
    """Products of numbers [..., E] with the rows of what is on offer: [..., M or R]."""
    rows = world.item_table if obs.candidate_features is None else obs.candidate_features
    return scores_on_offer(numbers, Items(rows.astype(numbers.dtype), jnp.zeros(rows.shape[:-1])), obs, world)
