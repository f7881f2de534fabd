"""Tastes of people, fitted to each person's whole log: a logistic model of factors that showing items does not change.

    logit(u, i) = b + c_i + w . t_i + b_u + p_u . v_i        v_i = W t_i + e_i

    P(answer) = low + (high - low) E sigmoid(scale logit + shift + effects)

t_i are features of item i, from its text and the number of its rows, so that items without ratings have vectors too.
e_i and c_i are what the log adds for single items. What items a user has rows with tells about p_u too (exposure.py).
Each kind of feedback has its own b, c, w, b_u and p_u. The vectors
v_i are shared. Knowledge of a user is a normal posterior of theta = (b_u, p_u) (Laplace's approximation at the fitted
value). Episodes draw theta from it, so that the tastes of users with few rows vary more. The last line is the
four-parameter logistic curve of psychometrics. It calibrates predictions on held-out rows: `low` and `high` are for
answers that no taste explains, and the errors of the logit, over which E averages, have the share `spread` of the
posterior's variance. `effects` are those of what was shown lately (effects.py), 0 for most logs.

There are two such curves. `link` is that of persons, who are known from their whole log or drawn. `expecting` is that
of what is expected from a person's earlier rows alone. It is flatter: a belief is normal, and tastes are often not.
Fitting is in tastes_fit.py. Kinds of feedback that are 1 in every row are in contrast.py.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrec.nets.effects import Effects
from jaxrec.nets.exposure import Exposure
from jaxrec.ops.vectors import unit_vectors
from jaxrec.types import Array


class Belief(struct.PyTreeNode):
    """Normal posterior of theta, of one user."""

    mean: Array  # [F, D]
    covariance: Array  # [F, D, D]


class Link(struct.PyTreeNode):
    """The curve from logits to probabilities, one for each kind of feedback."""

    scale: Array  # [F]
    shift: Array  # [F]
    low: Array  # [F] probability at a logit of minus infinity
    high: Array  # [F] at plus infinity
    spread: Array  # [F] share of the posterior's variance


class Drawing(struct.PyTreeNode):
    """How items are drawn for rows, and what this adds to logits."""

    chances: Array  # [I] q; 0 for items that nobody has touched
    kinds: Array  # [F] 1 for kinds that are always 1, 0 for those about which drawn items say nothing
    offset: Array  # [I, F] added to the logit that compares rows with drawn items; 0 for kinds with two values
    count: int = struct.field(pytree_node=False)  # N


class Tastes(struct.PyTreeNode):
    """Fitted items and users; D = 1 + d, the user's bias and then the weights of the item vectors."""

    item_vectors: Array  # [I, d] v_i
    item_logits: Array  # [I, F] b + c_i + w . t_i
    link: Link
    population: Belief  # theta of a user about whom nothing is known, but for what `exposure` will tell
    expecting: Link | None = None  # for logits that are expected from earlier rows; None: `link`
    means: Array | None = None  # [U, F, D] posterior means
    draws: Array | None = None  # [M, U, F, D] posterior draws: M versions of every user
    effects: Effects | None = None  # of what was shown lately; None: the log confirms none
    exposure: Exposure | None = None  # what the items of rows tell, whatever the answers; None: nothing
    drawing: Drawing | None = None  # of items next to rows, if a kind is always 1; only to learn from more rows
    feedback_names: tuple[str, ...] = struct.field(pytree_node=False, default=())


PARTS = {"link": Link, "expecting": Link, "population": Belief, "effects": Effects, "exposure": Exposure}


def as_arrays(tastes: Tastes) -> dict[str, Any]:
    """Give the tastes as a nested dict of arrays, to be saved; how items are drawn is for fitting alone."""
    arrays: dict[str, Any] = {}
    for name, value in vars(tastes).items():
        if value is not None and name not in ("drawing", "feedback_names"):
            arrays[name] = {k: v for k, v in vars(value).items() if v is not None} if name in PARTS else value
    return arrays


def from_arrays(arrays: Mapping[str, Any], feedback_names: tuple[str, ...]) -> Tastes:
    """Invert `as_arrays`; raises TypeError where parts are missing or unknown."""
    fields = {name: PARTS[name](**value) if name in PARTS else value for name, value in arrays.items()}
    return Tastes(**fields, feedback_names=feedback_names)


def without_persons(tastes: Tastes) -> Tastes:
    """The tastes without their users: what is needed to learn about a new person."""
    return tastes.replace(means=None, draws=None, drawing=None)


def as_expected(tastes: Tastes) -> Tastes:
    """The tastes with the curve for what is expected from earlier rows."""
    return tastes if tastes.expecting is None else tastes.replace(link=tastes.expecting)


def directions_of(tastes: Tastes, items: Array | None = None) -> Array:
    """Directions of items [..., K] or of all, by which short-term effects tell how alike they are: [..., K or I, k]."""
    assert tastes.effects is not None
    given = tastes.effects.directions
    rows = tastes.item_vectors if given is None else given
    rows = rows if items is None else rows[items]
    return unit_vectors(rows, 1e-6) if given is None else rows


def logits_of(tastes: Tastes, theta: Array, items: Array) -> Array:
    """Logits of every kind of feedback on items [..., K], for users theta [..., F, D]: [..., K, F]."""
    match = jnp.einsum("...fd,...kd->...kf", theta[..., 1:], tastes.item_vectors[items])
    return match + tastes.item_logits[items] + theta[..., None, :, 0]


def all_logits(tastes: Tastes, theta: Array) -> Array:
    """Logits on the whole catalogue, for users theta [..., F, D]: [..., I, F]."""
    match = jnp.einsum("...fd,id->...if", theta[..., 1:], tastes.item_vectors)
    items = jnp.expand_dims(tastes.item_logits, tuple(range(theta.ndim - 2)))
    return match + items + theta[..., None, :, 0]


def probabilities(tastes: Tastes, logits: Array, variance: Array | None = None, offset: Array | float = 0.0) -> Array:
    """P(answer) of logits [..., F]; averaged over their normal errors, if those have `variance` [..., F].

    `offset` [..., F] is what short-term effects add.
    """
    link = jax.tree.map(lambda x: jnp.expand_dims(x, tuple(range(logits.ndim - 1))), tastes.link)
    z = link.scale * logits + link.shift + offset
    if variance is not None:
        z = averaged_logit(z, link.spread * link.scale**2 * variance)
    return link.low + (link.high - link.low) * jax.nn.sigmoid(z)


def design(vectors: Array) -> Array:
    """Rows (1, v), which theta multiplies: [..., d] -> [..., D]."""
    return jnp.concatenate([jnp.ones((*vectors.shape[:-1], 1)), vectors], axis=-1)


class Moments(struct.PyTreeNode):
    """Mean and variance of logits under a belief."""

    mean: Array | np.ndarray  # [..., F]
    variance: Array | np.ndarray  # [..., F]
    offset: Array | np.ndarray  # [..., F] what short-term effects add to the calibrated logits


def learn_row(
    tastes: Tastes,
    belief: Belief,
    item: Array,
    answer: Array,
    offset: Array | float = 0.0,
    asked: Array | None = None,
) -> tuple[Belief, Moments]:
    """Update the belief by the answer [F] on an item []; the logits that it had expected come second.

    `offset` [F] is what short-term effects add to the logits. One step of the extended Kalman filter for the logistic
    model: the curvature is taken at the mean before the answer. Nothing is learned about kinds for which `asked` [F]
    is 0.
    """
    x = design(tastes.item_vectors[item])
    z = tastes.item_logits[item] + belief.mean @ x
    spread = belief.covariance @ x  # [F, D]
    variance = spread @ x
    p = jax.nn.sigmoid(z + offset if tastes.drawing is None else z + offset + tastes.drawing.offset[item])
    curvature, error = p * (1.0 - p), answer - p
    if asked is not None:
        curvature, error = curvature * asked, error * asked
    gain = spread / (1.0 + curvature * variance)[:, None]
    mean = belief.mean + gain * error[:, None]
    covariance = belief.covariance - curvature[:, None, None] * gain[:, :, None] * spread[:, None, :]
    return Belief(mean, covariance), Moments(z, variance, jnp.broadcast_to(offset, z.shape))


def averaged_logit(logit: Array, variance: Array) -> Array:
    """Logit of the mean of sigmoid(logit + e), e normal with this variance, nearly (MacKay, 1992, equation 8)."""
    return logit / jnp.sqrt(1.0 + jnp.pi / 8.0 * variance)
