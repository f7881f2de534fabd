"""Recommenders that count: most popular, item-to-item neighbours and user-to-user neighbours."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from flax import struct

from jaxrec.checks import InputError
from jaxrec.data.log import Log
from jaxrec.ops.top_k import top_k
from jaxrec.supervised.successions import successions
from jaxrec.types import PADDING, Array

KNN_ITEMS = 25_000  # largest catalogue of a dense table, which takes 4 bytes per pair of items, 2.5 GB here
KNN_ROWS = 5_000_000  # largest log of `user_knn`: every user to recommend to is compared with all rows
NEIGHBOURS = 100
REACH, LATEST, FADING = 10, 5, 0.7  # of `sequential_rules`: rows ahead, rows that count, weight of one row earlier
BLOCK = 4096  # rows of the log that are compared with a batch of users at once


def most_popular(log: Log) -> np.ndarray:
    """Rows of each item, [I] float32."""
    return np.bincount(log.item, minlength=log.num_items).astype(np.float32)


def liked_rows(log: Log) -> Log:
    """The positive rows."""
    return log.take(log.positive)


def liked_items(history_items: Array, history_feedback: Array) -> Array:
    """The history without the rows whose first feedback is not 1; [..., H], [..., H, F] -> [..., H] with PADDING."""
    return jnp.where(history_feedback[..., 0] == 1, history_items, PADDING)


def distinct_pairs(log: Log) -> tuple[np.ndarray, np.ndarray]:
    """Users and items of the log's distinct pairs, by user and item: [N], [N] int32."""
    user, item = np.divmod(np.unique(log.user.astype(np.int64) * log.num_items + log.item), log.num_items)
    return user.astype(np.int32), item.astype(np.int32)


def item_knn(log: Log) -> np.ndarray:
    """Cosine similarity of items by the users they share, [I, I] float32, zero diagonal.

    S[i, j] = users of both / sqrt(users of i * users of j) (Sarwar et al., 2001, binary interactions). Raises
    InputError for more than KNN_ITEMS items.
    """
    _check_table("item_knn", log)
    ones = np.ones(len(log), np.float32)
    seen = scipy.sparse.csr_array((ones, (log.user, log.item)), shape=(log.num_users, log.num_items))
    seen.data[:] = 1.0  # a pair that repeats counts once
    norm = np.sqrt(np.maximum(seen.sum(axis=0), 1.0))
    together = (seen.T @ seen).toarray()
    np.fill_diagonal(together, 0.0)
    together /= norm[:, None]
    together /= norm[None, :]
    return together


def sequential_rules(log: Log) -> np.ndarray:
    """How often one item soon follows another, [I, I] float32; `successions` has the weights.

    Raises InputError for more than KNN_ITEMS items.
    """
    _check_table("sequential_rules", log)
    return successions(log, REACH).toarray()


def score_sequential_rules(table: Array, history_items: Array) -> Array:
    """Sum of the rows of the latest items, fading with age; [I, I], [..., H] newest last with PADDING -> [..., I]."""
    latest = history_items[..., -LATEST:]
    scores = jnp.zeros((*latest.shape[:-1], table.shape[1]), table.dtype)
    for place in range(latest.shape[-1]):
        scores = FADING * scores + sum_of_rows(table, latest[..., place, None])
    return scores


def _check_table(name: str, log: Log) -> None:
    """Raise InputError for more than KNN_ITEMS items."""
    if log.num_items > KNN_ITEMS:
        raise InputError(
            f"{name}: {log.num_items:,} items, wanted at most {KNN_ITEMS:,} (the table is items x items); "
            "raise data.min_item_rows or choose another recommender."
        )


class UserRows(struct.PyTreeNode):
    """The distinct pairs of a log, and how long each user's row is. Nothing has the size users x items."""

    user: Array  # [N] int32, N a multiple of BLOCK; U where a block is filled up
    item: Array  # [N] int32; I where a block is filled up
    norm: Array  # [U] square root of the user's items
    num_items: int = struct.field(pytree_node=False)  # I


def user_knn(log: Log) -> UserRows:
    """Rows of the training users; raises InputError for more than KNN_ROWS rows."""
    user, item = distinct_pairs(log)
    if len(user) > KNN_ROWS:
        raise InputError(
            f"user_knn: {len(user):,} rows, wanted at most {KNN_ROWS:,} (every history is compared with all rows); "
            "choose another recommender."
        )
    norm = np.sqrt(np.bincount(user, minlength=log.num_users)).astype(np.float32)
    missing = -len(user) % BLOCK
    user = np.pad(user, (0, missing), constant_values=log.num_users)
    item = np.pad(item, (0, missing), constant_values=log.num_items)
    return UserRows(jnp.asarray(user), jnp.asarray(item), jnp.asarray(norm), log.num_items)


def score_popular(counts: Array, history_items: Array) -> Array:
    """The same scores for every user; counts [I], history [..., H] -> [..., I]."""
    return jnp.broadcast_to(counts, (*history_items.shape[:-1], counts.shape[0]))


def score_item_knn(similarity: Array, history_items: Array, *, last_only: bool = False) -> Array:
    """Sum of similarities to the items of the history, or those to the last one alone.

    similarity [I, I], history [..., H] newest last with PADDING -> [..., I]; an empty history scores 0.
    """
    return sum_of_rows(similarity, history_items[..., -1:] if last_only else history_items)


def sum_of_rows(table: Array, history_items: Array) -> Array:
    """Sum of the table's rows of all items of the history; [I, D], [..., H] with PADDING -> [..., D]."""

    def add(total: Array, item: Array) -> tuple[Array, None]:  # item [...]
        row = table[jnp.maximum(item, 0)]
        return total + jnp.where((item != PADDING)[..., None], row, 0.0), None

    empty = jnp.zeros((*history_items.shape[:-1], table.shape[1]), table.dtype)
    return jax.lax.scan(add, empty, jnp.moveaxis(history_items, -1, 0))[0]  # item by item: never [..., H, D]


def score_user_knn(rows: UserRows, history_items: Array, neighbours: int = NEIGHBOURS) -> Array:
    """For each item, sum the cosines of the nearest training users with that item; [..., H] -> [..., I].

    The cosine is between the binary rows of the history and of the training user. The user may be one of them, which
    adds something to the items of the history only. An empty history scores 0.
    """
    ids = history_items.reshape(-1, history_items.shape[-1])
    users, lanes = rows.norm.shape[0], jnp.arange(ids.shape[0])
    ids = jnp.where(ids == PADDING, rows.num_items, ids)
    seen = jnp.zeros((rows.num_items + 1, len(lanes))).at[ids.T, lanes[None, :]].set(1.0)
    seen = seen.at[rows.num_items].set(0.0)  # of empty places, and of the rows that fill up a block
    shared = _spread(seen, rows.item, rows.user, users)  # [U, B]
    cosine = shared / jnp.maximum(rows.norm[:, None] * jnp.sqrt(seen.sum(0))[None, :], 1.0)
    near, who = top_k(cosine.T, min(neighbours, users))
    weight = jnp.zeros((users + 1, len(lanes))).at[who.T, lanes[None, :]].set(near.T)
    scores = _spread(weight, rows.user, rows.item, rows.num_items)  # [I, B]
    return scores.T.reshape(*history_items.shape[:-1], rows.num_items)


def _spread(values: Array, source: Array, target: Array, size: int) -> Array:
    """Add values[source[n]] [B] to row target[n] of the result, for every pair n; -> [size, B].

    Pairs go block by block, so that [N, B] is never in memory. A target of `size` is dropped.
    """

    def add(total: Array, block: tuple[Array, Array]) -> tuple[Array, None]:
        return total.at[block[1]].add(values[block[0]], mode="drop"), None

    empty = jnp.zeros((size, values.shape[1]), values.dtype)
    return jax.lax.scan(add, empty, (source.reshape(-1, BLOCK), target.reshape(-1, BLOCK)))[0]
