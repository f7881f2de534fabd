"""Windows of users' rows, cut on the device: batches for models that predict each row from those before it.

Users with few rows have one window. Longer ones are cut anew in every epoch, at an offset drawn for each user, so that
a row is predicted from histories of many lengths. Windows of similar length share a bucket, so short users cost little.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrec.data.log import Log
from jaxrec.types import PADDING, Array

SHORTEST = 4  # rows of the shortest bucket
CROPPED, MASKED, SHUFFLED = 0.6, 0.3, 0.6  # shares of a window's rows, those of CL4SRec (arXiv 2010.14395)


class WindowRows(struct.PyTreeNode):
    """Rows of a log on the device, and the windows of each bucket."""

    items: Array  # [N] int32
    feedback: Array  # [N, F]
    context: Array | None  # [N, C]
    moment: Array  # [N] int32, the same for rows whose answers tell nothing of each other
    target: Array  # [N] int32, place of the item among the recommendable ones; PADDING: the row is no target
    user: tuple[Array, ...]  # of each bucket, [n] int32
    begin: tuple[Array, ...]  # of each bucket, [n] int32: first row of the user
    end: tuple[Array, ...]  # of each bucket, [n] int32: row after the last of the user
    start: tuple[Array, ...]  # of each bucket, [n] int32: first row of the window, before it is moved


class Bucket(NamedTuple):
    """Static sizes of the windows of similar length."""

    length: int  # L
    windows: int  # in one batch
    batches: int  # in one pass over its windows


class Window(struct.PyTreeNode):
    """A batch of windows [B, L]; the row at t is predicted from the rows before t."""

    rows: Array  # [B, L] int32, rows of the log
    valid: Array  # [B, L] bool
    hidden: Array  # [B, L] bool, rows that later states do not read


class Augmentation(NamedTuple):
    """Chances that a window is cut to a part, has hidden rows, or has a shuffled part."""

    crop: float = 0.0
    mask: float = 0.0
    reorder: float = 0.0


def make_windows(
    log: Log, target: np.ndarray, window: int, positions: int, *, file_order: bool = False
) -> tuple[WindowRows, tuple[Bucket, ...]]:
    """Cut each user's rows into windows of at most `window` rows, in batches of at most `positions` rows.

    `target` [N] says what is predicted at each row, see `WindowRows`. With `file_order`, rows of one moment are read
    one after the other.
    """
    begin, count = log.offsets[:-1], np.diff(log.offsets)
    users = np.flatnonzero(count)
    lengths = [window]
    while lengths[-1] > SHORTEST:
        lengths.append(max(SHORTEST, -(-lengths[-1] // 2)))
    lengths = np.array(lengths[::-1])
    bucket_of = np.searchsorted(lengths, np.minimum(count[users], window))
    columns, buckets = [], []
    for n in np.unique(bucket_of):
        own = users[bucket_of == n]
        # A user with more rows than a window needs one window more, since the first may be moved to the left.
        pieces = np.where(count[own] > window, (count[own] + window - 2) // window + 1, 1)
        user = np.repeat(own, pieces)
        piece = np.arange(len(user)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        first = begin[user]
        columns.append((user, first, first + count[user], first + piece * window))
        size = max(1, positions // int(lengths[n]))
        buckets.append(Bucket(int(lengths[n]), size, -(-len(user) // size)))
    parts = [tuple(jnp.asarray(x, jnp.int32) for x in column) for column in zip(*columns, strict=True)]
    context = None if log.context is None else jnp.asarray(log.context, jnp.float32)
    feedback = jnp.asarray(log.feedback, jnp.float32)
    # A log of successes has no answers, so its rows are read in order, as public figures of such logs are.
    moment = np.arange(len(log)) if file_order or log.feedback.all() else log.moments
    item, moment_of, predicted = (jnp.asarray(x, jnp.int32) for x in (log.item, moment, target))
    rows = WindowRows(item, feedback, context, moment_of, predicted, *parts)
    return rows, tuple(buckets)


def cut(data: WindowRows, n: int, bucket: Bucket, batch: Array, key: Array, num_users: int) -> Window:
    """Cut batch number `batch` [] of bucket `n` in the epoch of `key`."""
    key_order, key_offset = jax.random.split(key)
    count = data.user[n].shape[0]
    order = jax.random.permutation(jax.random.fold_in(key_order, n), count)
    chosen = order[(batch * bucket.windows + jnp.arange(bucket.windows)) % count]
    user, begin, end, start = (column[n][chosen] for column in (data.user, data.begin, data.end, data.start))
    offset = jax.random.randint(key_offset, (num_users,), 0, bucket.length)[user]
    start = jnp.where(end - begin > bucket.length, start - offset, start)
    rows = start[:, None] + jnp.arange(bucket.length)[None]
    valid = (rows >= begin[:, None]) & (rows < end[:, None])
    if bucket.windows > count:  # a batch larger than the bucket would repeat windows
        valid &= (jnp.arange(bucket.windows) < count)[:, None]
    return Window(jnp.clip(rows, 0, data.items.shape[0] - 1), valid, jnp.zeros_like(valid))


def augment(window: Window, how: Augmentation, key: Array) -> Window:
    """Change each window with the chances of `how`: first cut it to a part, then shuffle a part, then hide rows."""
    key_chance, key_place, key_rows = jax.random.split(key, 3)
    shape = window.valid.shape
    chance = jax.random.uniform(key_chance, (3, shape[0]))
    place = jax.random.uniform(key_place, (2, shape[0]))
    draw = jax.random.uniform(key_rows, (2, *shape))
    cropped = _part(window.valid, CROPPED, place[0]) | (chance[0] >= how.crop)[:, None]
    valid = window.valid & cropped
    moved = _part(valid, SHUFFLED, place[1]) & (chance[1] < how.reorder)[:, None]
    # The rows of the part get random keys between those of the row before it and of the row after it.
    at = jnp.broadcast_to(jnp.arange(shape[1], dtype=jnp.float32), shape)
    first = jnp.argmax(moved, axis=1).astype(jnp.float32)[:, None]
    inside = first + draw[0] * (moved.sum(axis=1, keepdims=True) - 1).astype(jnp.float32)
    order = jnp.argsort(jnp.where(moved, inside, at), axis=1, stable=True)
    rows = jnp.take_along_axis(window.rows, order, axis=1)
    hidden = valid & (draw[1] < MASKED) & (chance[2] < how.mask)[:, None]
    return Window(rows, valid, window.hidden | hidden)


def _part(valid: Array, share: float, place: Array) -> Array:
    """Mark a run of `share` of the valid rows of each window, which starts at `place` [B] in [0, 1): [B, L] bool."""
    count = valid.sum(axis=1)
    length = jnp.maximum(jnp.ceil(count.astype(jnp.float32) * share).astype(jnp.int32), 1)
    start = jnp.floor(place * (count - length + 1).astype(jnp.float32)).astype(jnp.int32)
    number = jnp.cumsum(valid, axis=1) - 1  # of each valid row
    return valid & (number >= start[:, None]) & (number < (start + length)[:, None])


def moment_begins(data: WindowRows, window: Window) -> Array:
    """Place in its window of the first row of each row's moment: [B, L] int32."""
    moment = data.moment[window.rows]
    new = jnp.concatenate([jnp.ones_like(moment[:, :1], bool), moment[:, 1:] != moment[:, :-1]], axis=1)
    return jax.lax.cummax(jnp.where(new, jnp.arange(moment.shape[1], dtype=jnp.int32), 0), axis=1)


def histories(data: WindowRows, window: Window) -> tuple[Array, Array]:
    """What the states of a window read, [B, L - 1] and [B, L - 1, F]: items (PADDING where hidden) and feedback."""
    read = (window.valid & ~window.hidden)[:, :-1]
    rows = window.rows[:, :-1]
    return jnp.where(read, data.items[rows], PADDING), jnp.where(read[..., None], data.feedback[rows], 0.0)
