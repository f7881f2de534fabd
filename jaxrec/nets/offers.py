"""Which items are on offer: rows of them, and scores without those that may not be shown."""

import jax
import jax.numpy as jnp

from jaxrec.types import Array, Observation, World


def on_offer(rows: Array, obs: Observation, world: World) -> Array:
    """Rows of what is on offer: [I, W] -> [..., M, W] of candidates or [R, W]; those of documents are [..., M, W]."""
    if obs.candidate_features is not None:
        return rows
    if obs.candidates is not None:
        return rows[obs.candidates]
    return rows if world.recommendable is None else rows[world.recommendable]


def rows_at(rows: Array, where: Array) -> Array:
    """Rows [..., n, W] at positions [..., n] of rows that all share, [M, W], or of their own, [..., M, W]."""
    return rows[where] if rows.ndim == 2 else jnp.take_along_axis(rows, where[..., None], axis=-2)


def masked(scores: Array, obs: Observation, world: World, repeats: bool) -> Array:
    """Set scores [..., M or R] of what may not be shown to -inf: by the mask and, unless it `repeats`, the history."""
    if obs.mask is not None:
        scores = jnp.where(obs.mask, scores, -jnp.inf)
    return scores if repeats else exclude_history(scores, obs, world)


def exclude_history(scores: Array, obs: Observation, world: World) -> Array:
    """Set scores of items in the history to -inf; scores over recommendable items [..., R] -> [..., R]."""
    if obs.history_items is None or obs.offers_candidates:
        return scores
    ids, beyond = obs.history_items, scores.shape[-1]  # what is beyond the end is dropped by the scatter
    positions = ids
    if world.recommendable is not None:
        # A look-up: a binary search for every row of every history takes ten times as long.
        places = jnp.full(world.item_table.shape[0], beyond, jnp.int32)
        positions = places.at[world.recommendable].set(jnp.arange(beyond, dtype=jnp.int32))[jnp.maximum(ids, 0)]
    outside = jnp.where(ids >= 0, positions, beyond)

    def seen(where: Array) -> Array:
        return jnp.zeros(beyond, bool).at[where].set(True, mode="drop")

    # A mask, not a scatter into the scores, whose gradient would be four more passes over them.
    lead = scores.shape[:-1]
    mask = jax.vmap(seen)(outside.reshape(-1, ids.shape[-1])).reshape(*lead, beyond)
    return jnp.where(mask, -jnp.inf, scores)
