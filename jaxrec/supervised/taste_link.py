"""The curve from logits to probabilities: calibrated on held-out rows, or set to a stated level.

For kinds of feedback with two values, the whole curve is fitted. For kinds that are always 1, held-out rows and the
items drawn for them (contrast.py) give its scale and spread. The shift solves

    mean P(answer) = base_rate

over the users, their draws, and items drawn in proportion to their rows, as if the log's users had seen them so often.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.data.log import Log
from jaxrec.nets.tastes import Drawing, Link, Moments, Tastes, design, logits_of, probabilities
from jaxrec.ops.parts import equal_parts
from jaxrec.sharding.compile import compiled
from jaxrec.supervised.calibration import (
    CERTAIN,
    Curve,
    auc,
    curve_losses,
    expected_calibration_error,
    fit_curve,
    sigmoid,
)
from jaxrec.supervised.taste_posterior import ROWS_PER_CHUNK, Rows
from jaxrec.types import PADDING, Array

MOST_USERS, SHOWN = 4096, 32  # users and items per user, over which the level is solved


class Held(NamedTuple):
    """Expected logits of held-out rows and, if a kind is always 1, of the items drawn for them."""

    rows: Rows
    logits: Moments  # [R, F]
    drawn: Moments | None = None  # [R, N, F]
    items: np.ndarray | None = None  # [R, N] drawn; PADDING: none


class Labelled(NamedTuple):
    """Answers of one kind with the logits that predict them."""

    labels: np.ndarray  # [n]
    mean: np.ndarray  # [n]
    variance: np.ndarray  # [n]
    offset: np.ndarray  # [n] of short-term effects
    user: np.ndarray  # [n]


def labelled(held: Held, kind: int, drawing: Drawing | None) -> Labelled:
    """The answers of the kind numbered `kind`; drawn items follow as zeros if the kind is always 1."""
    values = held.rows.answer, held.logits.mean, held.logits.variance, held.logits.offset
    columns, user = [np.asarray(x, np.float64)[:, kind] for x in values], held.rows.user
    if drawing is not None and drawing.kinds[kind]:
        assert held.drawn is not None and held.items is not None
        real = held.items != PADDING
        drawn = held.drawn.mean, held.drawn.variance, held.drawn.offset
        drawn = [np.asarray(x, np.float64)[..., kind][real] for x in drawn]
        zeros = np.zeros(int(real.sum()))
        columns = [np.concatenate(pair) for pair in zip(columns, (zeros, *drawn), strict=True)]
        user = np.concatenate([user, np.broadcast_to(user[:, None], real.shape)[real]])
    return Labelled(*columns, user=user)


def logistic(kinds: int) -> Link:
    """The link before calibration: the plain sigmoid."""
    return Link(*(jnp.full(kinds, x) for x in (1.0, 0.0, 0.0, 1.0, 1.0)))


def fit_link(parts: list[Held], drawing: Drawing | None = None, *, bounds: bool = True) -> tuple[float, Link]:
    """The link with which expected logits predict the answers best, and its mean log loss on them.

    Without `bounds` it runs from 0 to 1, as it always does for kinds that are always 1.
    """
    fits = []
    for b in range(parts[0].rows.answer.shape[1]):
        columns = (np.concatenate(x) for x in zip(*(labelled(part, b, drawing)[:4] for part in parts), strict=True))
        fits.append(fit_curve(*columns, bounds=bounds and (drawing is None or not drawing.kinds[b])))
    curves = zip(*(curve for _, curve in fits), strict=True)
    return float(np.mean([loss for loss, _ in fits])), Link(*(jnp.asarray(x, jnp.float32) for x in curves))


def losses_of_users(held: Held, link: Link, users: int, drawing: Drawing | None = None) -> np.ndarray:
    """What the rows of each user add to the mean log loss of the curve: [U]; the sum is the loss of `fit_link`."""
    kinds, total = held.rows.answer.shape[1], np.zeros(users)
    for b in range(kinds):
        *columns, user = labelled(held, b, drawing)
        curve = Curve(*(float(np.asarray(getattr(link, name))[b]) for name in Curve._fields))
        losses = curve_losses(curve, *columns)
        total += np.bincount(user, losses, users) / max(len(user), 1) / kinds
    return total


def quality(tastes: Tastes, held: Held) -> dict[str, dict[str, Any]]:
    """Log loss, AUC and calibration error of predictions for rows, by name of the feedback; None without rows."""
    if not len(held.rows.answer):
        return {name: {"rows": 0, "log_loss": None, "auc": None, "ece": None} for name in tastes.feedback_names}
    program, report = compiled(probabilities), {}

    def predicted(logits: Moments) -> np.ndarray:
        return np.asarray(program(tastes, logits.mean, logits.variance, logits.offset), np.float64)

    for b, name in enumerate(tastes.feedback_names):
        labels, p = labelled(held, b, tastes.drawing).labels, predicted(held.logits)[:, b]
        if len(labels) > len(p):
            assert held.drawn is not None and held.items is not None
            p = np.concatenate([p, predicted(held.drawn)[held.items != PADDING, b]])
        report[name] = {
            "rows": len(p),
            "log_loss": float(-np.log(np.clip(np.where(labels > 0, p, 1 - p), *CERTAIN)).mean()),
            "auc": auc(labels, p),
            "ece": expected_calibration_error(labels, p),
        }
    return report


def logits_on(tastes: Tastes, mean: Array, covariance: Array, users: np.ndarray, items: np.ndarray) -> Moments:
    """Expected logits on items [R, N] of users [R], given beliefs about all users: [U, F, D] and [U, F, D, D].

    [R, N, F], without short-term effects. Values at PADDING mean nothing.
    """
    program: Any = compiled(_logits_on)
    parts: list[list[Any]] = []
    for places, own in equal_parts(len(users), min(ROWS_PER_CHUNK, max(len(users), 1))):
        found = program(tastes, mean, covariance, users[places], items[places])
        parts.append([np.asarray(x)[:own] for x in jax.device_get(found)])
    if not parts:
        empty = jnp.zeros((*items.shape, mean.shape[1]))
        return Moments(empty, empty, empty)
    logit, variance = (np.concatenate(x) for x in zip(*parts, strict=True))
    return Moments(logit, variance, np.zeros_like(logit))


def _logits_on(tastes: Tastes, mean: Array, covariance: Array, users: Array, items: Array) -> tuple[Array, Array]:
    x = design(tastes.item_vectors[items])  # [R, N, D]
    logit = tastes.item_logits[items] + jnp.einsum("rfd,rnd->rnf", mean[users], x)
    return logit, jnp.einsum("rnd,rfde,rne->rnf", x, covariance[users], x)


def with_level(tastes: Tastes, log: Log, base_rate: float, seed: int) -> Tastes:
    """Set the shift of kinds that are always 1, so that their mean probability is `base_rate`; needs users' draws."""
    if tastes.drawing is None:
        return tastes
    assert tastes.draws is not None
    rng = np.random.default_rng([seed, 4])
    users = np.unique(log.user)
    if len(users) > MOST_USERS:
        users = np.sort(rng.choice(users, MOST_USERS, replace=False))
    items = log.item[rng.integers(0, len(log), (len(users), SHOWN))]
    items = np.broadcast_to(items, (len(tastes.draws), *items.shape))
    logits = np.asarray(compiled(logits_of)(tastes, tastes.draws[:, users], jnp.asarray(items)), np.float64)
    shift, scale = np.array(tastes.link.shift), np.asarray(tastes.link.scale, np.float64)
    for b in np.flatnonzero(tastes.drawing.kinds):
        shift[b] = level_shift(scale[b] * logits[..., b], base_rate)
    return tastes.replace(link=tastes.link.replace(shift=jnp.asarray(shift)))


def level_shift(logits: np.ndarray, mean: float) -> float:
    """The number to add to logits [...] for sigmoids of this mean."""
    centre = np.log(mean / (1 - mean))
    low, high = centre - logits.max(), centre - logits.min()
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if sigmoid(logits + middle).mean() < mean else (low, middle)
    return float((low + high) / 2)
