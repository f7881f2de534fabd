"""Ranks of held-out items and the usual metrics at a cut-off; n targets per user, ranks counted from 0."""

import chex
import jax
import jax.numpy as jnp

from jaxrec.types import PADDING, Array


def mid_rank(scores: Array, targets: Array, masked: Array) -> Array:
    """Rank of each target among the items that are not masked; [..., I], [..., n], [..., I] bool -> [..., n].

    The rank is the number of items that score higher plus half the number of others that score the same, so
    nothing is gained by equal scores. A masked target, or PADDING, has rank infinity: a miss. NaN scores
    below everything.
    """
    chex.assert_equal_shape([scores, masked])
    scores = jnp.where(jnp.isnan(scores), -jnp.inf, scores)

    def rank_of(target: Array) -> Array:  # [...] -> [...]; one target at a time never holds [..., n, I]
        item = jnp.maximum(target, 0)[..., None]
        own = jnp.take_along_axis(scores, item, axis=-1)
        higher = jnp.sum(~masked & (scores > own), axis=-1)
        equal = jnp.sum(~masked & (scores == own), axis=-1)
        rank = higher.astype(jnp.float32) + 0.5 * (equal.astype(jnp.float32) - 1.0)
        counts = (target != PADDING) & ~jnp.take_along_axis(masked, item, axis=-1)[..., 0]
        return jnp.where(counts, rank, jnp.inf)

    return jnp.moveaxis(jax.lax.map(rank_of, jnp.moveaxis(targets, -1, 0)), 0, -1)


def hit_rate_at(ranks: Array, num_targets: Array, k: int) -> Array:
    """1 where any target is among the first k, else 0; [..., n], [...] -> [...]."""
    del num_targets
    return jnp.any(ranks < k, axis=-1).astype(jnp.float32)


def recall_at(ranks: Array, num_targets: Array, k: int) -> Array:
    """Share of a user's targets among the first k; [..., n], [...] -> [...]; 0 without targets."""
    return _hits(ranks, k) / jnp.maximum(num_targets, 1).astype(jnp.float32)


def precision_at(ranks: Array, num_targets: Array, k: int) -> Array:
    """Share of the first k that are targets; [..., n], [...] -> [...]."""
    del num_targets
    return _hits(ranks, k) / k


def ndcg_at(ranks: Array, num_targets: Array, k: int) -> Array:
    """Discounted gain over the best possible one; [..., n], [...] -> [...]; 0 without targets.

    A hit earns 1 / log2(rank + 2); the best possible has min(k, num_targets) hits at the top (Jarvelin and
    Kekalainen, 2002, binary gains).
    """
    gain = jnp.sum(jnp.where(ranks < k, 1.0 / jnp.log2(ranks + 2.0), 0.0), axis=-1)
    ideal = jnp.cumsum(1.0 / jnp.log2(jnp.arange(k, dtype=jnp.float32) + 2.0))
    return jnp.where(num_targets > 0, gain / ideal[jnp.clip(num_targets, 1, k) - 1], 0.0)


def _hits(ranks: Array, k: int) -> Array:
    return jnp.sum(ranks < k, axis=-1).astype(jnp.float32)


METRICS = {"hit_rate": hit_rate_at, "recall": recall_at, "precision": precision_at, "ndcg": ndcg_at}
