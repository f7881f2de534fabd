"""Kinds of feedback that are 1 in every row: rows are compared with items that their users do not have.

A log of successes ("bought") does not say what was refused. So N items that the user does not have are drawn for each
row, with chances q. A logistic model that distinguishes the row from the drawn items, with

    logit P(row, not drawn) = s(u, i) - log(N I q_i)

learns s, the logarithm of how often user u chooses item i, compared with a choice among all I items at random
(noise-contrastive estimation, Gutmann and Hyvärinen, 2010). Any q gives the same s in the limit. Here q follows the
number of rows of the items, since popular items are hard to distinguish from a row. On the validation rows of Amazon
Beauty, with 8 drawn items per row, NDCG@10 is .0215. With the square root of this q it is .0197, with constant q .0170.
Items that nobody has touched are not drawn: they may be new, so it means nothing that no user has them.

The level of P(answer) is not in such a log. `tastes.base_rate` states it, see taste_link.py.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError
from jaxrec.data.log import Log
from jaxrec.nets.tastes import Drawing
from jaxrec.types import PADDING, Array

TRIES = 50  # of drawing an item that the user does not have


class DrawnItems(NamedTuple):
    """Items drawn for the rows of a log."""

    items: Any  # [R, N] int32; PADDING where the user has nearly all items
    drawing: Drawing


def always_one(log: Log) -> np.ndarray:
    """Which kinds of feedback are 1 in every row: [F] bool."""
    return (log.feedback == 1).all(0) if len(log) else np.zeros(len(log.feedback_names), bool)


def check_values(log: Log, ones: np.ndarray) -> None:
    """Raise InputError for kinds of feedback with one value, except those that are known to be always 1, [F] bool."""
    for name, values, one in zip(log.feedback_names, log.feedback.T, ones, strict=True):
        if not len(values) or (not one and values.min() == values.max()):
            seen = "no rows" if not len(values) else f"one value, {values[0]:g}, in all {len(values):,} rows"
            raise InputError(
                f"data.feedback.{name}: {seen}, so no tastes can be fitted; choose another threshold or column."
            )


def drawing_for(log: Log, ones: np.ndarray, count: int) -> Drawing | None:
    """How `count` items are drawn for each row, for the kinds `ones` [F] bool; None if there are none."""
    if not ones.any():
        return None
    rows = np.bincount(log.item, minlength=log.num_items) + 1.0
    chances = rows / rows[: log.num_touched].sum()
    offset = -np.log(count * log.num_touched * chances)[:, None] * ones
    chances[log.num_touched :] = 0.0
    chances, kinds, offset = (jnp.asarray(x, jnp.float32) for x in (chances, ones, offset))
    return Drawing(chances, kinds, offset, count)


def draw_items(drawing: Drawing, log: Log, seed: int, known: Log | None = None, *, before: bool = False) -> np.ndarray:
    """Draw items for the rows of `log` that their users do not have in `known` (default: `log`): [R, N] int32.

    With `before`, items that the user chooses later than the row may be drawn. Otherwise draws would reveal later rows.
    """
    known = log if known is None else known
    assert not before or known is log
    keys = known.user.astype(np.int64) * log.num_items + known.item
    order = np.argsort(keys, kind="stable")  # of equal keys, the earliest row comes first
    keys = np.append(keys[order], -1)  # a last one that no pair equals
    row = np.broadcast_to(np.arange(len(log))[:, None], (len(log), drawing.count))
    places = np.append(order, 0)
    shares = np.cumsum(np.asarray(drawing.chances, np.float64))
    moments = log.moments
    ends = np.searchsorted(moments, moments, side="right")  # the first row that is later than each row
    rng = np.random.default_rng([seed, 3])
    items = np.full(row.shape, PADDING, np.int32)
    todo = np.ones(row.shape, bool)
    for _ in range(TRIES):
        numbers = rng.random(int(todo.sum())) * shares[-1]
        tried = np.minimum(np.searchsorted(shares, numbers, side="right"), log.num_items - 1)
        pairs = log.user[row[todo]].astype(np.int64) * log.num_items + tried
        at = np.searchsorted(keys[:-1], pairs)
        owned = keys[at] == pairs
        if before:
            owned &= places[at] < ends[row[todo]]
        items[todo] = np.where(owned, PADDING, tried)
        todo[todo] = owned
        if not todo.any():
            break
    return items


def drawn_items(drawing: Drawing, log: Log, seed: int, known: Log | None = None) -> DrawnItems:
    """Draw items for the rows of `log`; raises InputError if users have all items of the log."""
    items = draw_items(drawing, log, seed, known)
    if len(items) and (items == PADDING).all():
        names = [name for name, one in zip(log.feedback_names, np.asarray(drawing.kinds), strict=True) if one]
        raise InputError(
            f"data.feedback.{names[0]}: 1 in every row, and the users have all items of the log ({log.num_items:,}), "
            "so rows cannot be compared with other items; give a log of more items, or feedback that differs."
        )
    return DrawnItems(items, drawing)


def asked_of(items: Array, drawing: Drawing) -> Array:
    """Which kinds of feedback drawn items [..., N] are 0 for: [..., N, F], 1 or 0."""
    real = (items != PADDING).astype(jnp.float32)
    return real[..., None] * jnp.expand_dims(drawing.kinds, tuple(range(items.ndim)))


def account_of(drawing: Drawing | None, names: tuple[str, ...], base_rate: float) -> dict[str, Any]:
    """The part of a report about what is assumed of kinds that are always 1, by name; empty if there are none."""
    if drawing is None:
        return {}
    ones = np.asarray(drawing.kinds) > 0
    about = {"base_rate": base_rate, "negatives": drawing.count}
    return {"assumed": {name: about for name, one in zip(names, ones, strict=True) if one}}
