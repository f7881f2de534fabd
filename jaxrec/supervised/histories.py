"""What may be known before each row of a log: histories of users, totals of items; on the host."""

import jax.numpy as jnp
import numpy as np

from jaxrec.data.log import Log
from jaxrec.supervised.response import UserHistory
from jaxrec.types import PADDING


def user_histories(log: Log, users: np.ndarray, ends: np.ndarray, length: int) -> UserHistory:
    """Histories of users [B] before row `ends` [B] of the log: leaves [B, ...], windows of H = `length`.

    `ends` between offsets[user] (nothing known) and offsets[user + 1] (everything known).
    """
    starts = log.offsets[users]
    rows = ends[:, None] + np.arange(-length, 0)
    inside = rows >= starts[:, None]
    rows = np.where(inside, rows, 0)
    sums = np.concatenate([np.zeros((1, log.feedback.shape[1])), np.cumsum(log.feedback, 0, np.float64)])
    return UserHistory(
        items=jnp.asarray(np.where(inside, log.item[rows], PADDING), jnp.int32),
        feedback=jnp.asarray(log.feedback[rows] * inside[..., None], jnp.float32),
        count=jnp.asarray(ends - starts, jnp.float32),
        totals=jnp.asarray(sums[ends] - sums[starts], jnp.float32),
    )


def running_totals(log: Log, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and feedback of the same group [R] before each row in time: counts [R], totals [R, F]; float32.

    Time goes over the whole log; rows of equal time stand in the order of the log.
    """
    order = np.lexsort((log.time, group))  # stable
    values = np.concatenate([np.ones((len(log), 1)), log.feedback], axis=1, dtype=np.float64)[order]
    before = np.cumsum(values, axis=0) - values
    first = np.searchsorted(group[order], group[order])  # where each row's group begins
    out = np.empty_like(before)
    out[order] = before - before[first]
    return out[:, 0].astype(np.float32), out[:, 1:].astype(np.float32)


def other_users_totals(log: Log, seed: int, folds: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Rows and feedback of each row's item from users of the other folds: counts [R], totals [R, F]; float32.

    What a model may know of an item while it learns a row: nothing of the row's own user, and about as much as
    it will know of the item in the end, which totals before the row in time would not give.
    """
    fold = np.random.default_rng(seed).permutation(log.num_users)[log.user] % folds
    cell = fold * log.num_items + log.item
    columns = [np.ones(len(log)), *log.feedback.T]
    own = np.stack([np.bincount(cell, x, folds * log.num_items) for x in columns], axis=1)
    whole = own.reshape(folds, log.num_items, -1).sum(0)
    others = (whole[log.item] - own[cell]).astype(np.float32)
    return others[:, 0], others[:, 1:]
