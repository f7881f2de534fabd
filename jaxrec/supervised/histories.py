"""What is known before each row of a log: histories of users, totals of items; on the host."""

import jax.numpy as jnp
import numpy as np

from jaxrec.data.log import Log
from jaxrec.data.windows import latest_rows
from jaxrec.supervised.response import UserHistory


def user_histories(
    log: Log, users: np.ndarray, ends: np.ndarray, length: int, context: np.ndarray | None = None
) -> UserHistory:
    """Histories of users [B] before row `ends` [B] of the log: leaves [B, ...], windows of H = `length`.

    `ends` between offsets[user] (nothing known) and offsets[user + 1] (everything known); `context` [B, C] is that
    of the visits after these histories.
    """
    starts = log.offsets[users]
    items, feedback = latest_rows((log.item, log.feedback), starts, ends, length)
    sums = np.concatenate([np.zeros((1, log.feedback.shape[1])), np.cumsum(log.feedback, 0, np.float64)])
    return UserHistory(
        items=jnp.asarray(items),
        feedback=jnp.asarray(feedback),
        count=jnp.asarray(ends - starts, jnp.float32),
        totals=jnp.asarray(sums[ends] - sums[starts], jnp.float32),
        context=None if context is None else jnp.asarray(context, jnp.float32),
    )


def row_histories(log: Log, rows: np.ndarray, length: int) -> UserHistory:
    """Histories before rows [B] of the log, with the context of these rows: what each row is predicted from.

    Histories end at strictly earlier times.
    """
    context = None if log.context is None else log.context[rows]
    return user_histories(log, log.user[rows], log.moments[rows], length, context)


def running_totals(log: Log, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and feedback of the same group [R] before each row in time: counts [R], totals [R, F]; float32.

    Time runs over the whole log. Rows with equal times do not count each other.
    """
    order = np.lexsort((log.time, group))
    group, time = group[order], log.time[order]
    values = np.concatenate([np.ones((len(log), 1)), log.feedback], axis=1, dtype=np.float64)[order]
    before = np.cumsum(values, axis=0) - values
    first = np.searchsorted(group, group)  # where each row's group begins
    new = (np.diff(time, prepend=time[:1] - 1) != 0) | (first == np.arange(len(log)))
    moment = np.maximum.accumulate(np.where(new, np.arange(len(log)), 0))
    out = np.empty_like(before)
    out[order] = before[moment] - before[first]
    return out[:, 0].astype(np.float32), out[:, 1:].astype(np.float32)


def other_users_totals(log: Log, seed: int, folds: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Rows and feedback of each row's item from users of the other folds: counts [R], totals [R, F]; float32.

    What a model may know about an item while it learns a row: nothing from the row's own user, and about as much
    as it will know about the item in the end. Totals before the row in time would not give that.
    """
    fold = np.random.default_rng(seed).permutation(log.num_users)[log.user] % folds
    cell = fold * log.num_items + log.item
    columns = [np.ones(len(log)), *log.feedback.T]
    own = np.stack([np.bincount(cell, x, folds * log.num_items) for x in columns], axis=1)
    whole = own.reshape(folds, log.num_items, -1).sum(0)
    others = (whole[log.item] - own[cell]).astype(np.float32)
    return others[:, 0], others[:, 1:]
