"""Recommenders that anything learned must beat: most popular and item-to-item neighbours."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from jaxrec.checks import InputError
from jaxrec.data.log import Log
from jaxrec.types import PADDING, Array

KNN_ITEMS = 25_000  # largest catalogue of `item_knn`: its dense table takes 4 bytes per pair of items, 2.5 GB here


class SimpleRecommender(NamedTuple):
    """`fit` counts on the host; `score` is pure: (what was fitted, history, its feedback) -> scores.

    History [..., H], feedback [..., H, F] -> [..., I]. What was fitted is an argument of the compiled
    function, never closed over.
    """

    fit: Callable[[Log], np.ndarray]
    score: Callable[[Array, Array, Array], Array]


def most_popular(log: Log) -> np.ndarray:
    """Rows of each item, [I] float32."""
    return np.bincount(log.item, minlength=log.num_items).astype(np.float32)


def item_knn(log: Log) -> np.ndarray:
    """Cosine similarity of items by the users they share, [I, I] float32, zero diagonal.

    S[i, j] = users of both / sqrt(users of i * users of j) (Sarwar et al., 2001, binary interactions). Raises
    InputError for more than KNN_ITEMS items.
    """
    if log.num_items > KNN_ITEMS:
        raise InputError(
            f"item_knn: {log.num_items:,} items, wanted at most {KNN_ITEMS:,} (the table is items x items); "
            "raise data.min_item_rows or choose another recommender."
        )
    ones = np.ones(len(log), np.float32)
    seen = scipy.sparse.csr_array((ones, (log.user, log.item)), shape=(log.num_users, log.num_items))
    seen.data[:] = 1.0  # a pair that repeats counts once
    norm = np.sqrt(np.maximum(seen.sum(axis=0), 1.0))
    together = (seen.T @ seen).toarray()
    np.fill_diagonal(together, 0.0)
    together /= norm[:, None]
    together /= norm[None, :]
    return together


def score_popular(counts: Array, history_items: Array) -> Array:
    """The same scores for every user; counts [I], history [..., H] -> [..., I]."""
    return jnp.broadcast_to(counts, (*history_items.shape[:-1], counts.shape[0]))


def score_item_knn(similarity: Array, history_items: Array, *, last_only: bool = False) -> Array:
    """Sum of similarities to the items of the history, or those to the last one alone.

    similarity [I, I], history [..., H] newest last with PADDING -> [..., I]; an empty history scores 0.
    """
    items = history_items[..., -1:] if last_only else history_items

    def add(scores: Array, item: Array) -> tuple[Array, None]:  # item [...]
        row = similarity[jnp.maximum(item, 0)]
        return scores + jnp.where((item != PADDING)[..., None], row, 0.0), None

    empty = jnp.zeros((*items.shape[:-1], similarity.shape[0]), similarity.dtype)
    return jax.lax.scan(add, empty, jnp.moveaxis(items, -1, 0))[0]  # item by item: never [..., H, I]


SIMPLE_RECOMMENDERS = {
    "most_popular": SimpleRecommender(most_popular, lambda counts, items, _: score_popular(counts, items)),
    "item_knn": SimpleRecommender(item_knn, lambda table, items, _: score_item_knn(table, items)),
    "item_knn_last": SimpleRecommender(item_knn, lambda table, items, _: score_item_knn(table, items, last_only=True)),
}
