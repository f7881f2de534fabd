"""Ridge regression on each user's own answers, with the items' texts as features.

    answer(u, i) = prior_i + x_i . w_u        x_i = (1, leading components of the item's text vector)

The prior is the same for all users: a ridge regression on x over the whole log, plus the damped mean of what it leaves
unexplained on the item. The user's own weights w_u come from the rows of the history, with X their features:

    w_u = (X'X + strength)^-1 X'(answers - prior)

`strength` has the least squared leave-one-out error on rows of training users. Each kind of feedback has its own prior
and weights.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax

from jaxrec.checks import InputError
from jaxrec.data.log import Log
from jaxrec.ops.elimination import solve_positive
from jaxrec.supervised.taste_features import text_features
from jaxrec.types import PADDING, Array

COMPONENTS = 64
DAMPING = 10.0  # rows that answer like the prior of the text, mixed into each item's mean; also the prior's own ridge
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
USERS = 2000  # whose rows choose the strength, at most
CHUNK = 64  # rows of a history whose features are in memory at once


class RidgeModel(struct.PyTreeNode):
    """What a user's regression starts from."""

    features: Array  # [I, D] x
    prior: Array  # [I, F]
    strength: Array  # []


def ridge(log: Log, vectors: np.ndarray | None) -> RidgeModel:
    """Fit the prior and choose the strength; raises InputError without text vectors [I, E]."""
    if vectors is None:
        raise InputError("ridge: the items have no text vectors; give data.text, or choose another recommender.")
    text = text_features(vectors, log.num_items, COMPONENTS, log.num_touched).astype(np.float64)
    features = np.concatenate([np.ones((log.num_items, 1)), text], axis=1)
    prior = _prior(log, features)
    strength = _strength(log, features, prior)
    return RidgeModel(*(jnp.asarray(x, jnp.float32) for x in (features, prior, strength)))


def _prior(log: Log, features: np.ndarray) -> np.ndarray:
    """Answers of a user of whom nothing is known: [I, F]."""
    rows = np.bincount(log.item, minlength=log.num_items)[:, None]
    totals = np.stack([np.bincount(log.item, x, log.num_items) for x in log.feedback.T], axis=1)
    mean = log.feedback.mean(0, dtype=np.float64)
    gram = features.T @ (rows * features) + DAMPING * np.eye(features.shape[1])
    text = mean + features @ np.linalg.solve(gram, features.T @ (totals - rows * mean))
    return text + (totals - rows * text) / (rows + DAMPING)


def _strength(log: Log, features: np.ndarray, prior: np.ndarray) -> float:
    """The strength with the least squared error on rows that are predicted from the other rows of their user."""
    begin, count = log.offsets[:-1], np.diff(log.offsets)
    users = np.flatnonzero(count > 1)
    users = np.random.default_rng(0).permutation(users)[:USERS]
    strengths, errors = np.array(STRENGTHS), np.zeros(len(STRENGTHS))
    for user in users:
        own = slice(begin[user], begin[user] + count[user])
        x, rest = features[log.item[own]], log.feedback[own] - prior[log.item[own]]
        left, size, _ = np.linalg.svd(x, full_matrices=False)
        kept = size**2 / (size**2 + strengths[:, None])  # [strengths, rank]
        fitted = (left[None] * kept[:, None]) @ (left.T @ rest)  # [strengths, n, F]
        leverage = np.einsum("nr,sr->sn", left**2, kept)[..., None]
        errors += np.square((rest - fitted) / (1 - leverage)).sum((1, 2))
    return float(strengths[errors.argmin()])


def user_weights(model: RidgeModel, history_items: Array, history_feedback: Array) -> Array:
    """The weights of users with these histories; [..., H], [..., H, F] -> [..., D, F]."""
    lead, width, kinds = history_items.shape[:-1], model.features.shape[1], model.prior.shape[1]
    chunk = min(CHUNK, history_items.shape[-1])
    extra = -history_items.shape[-1] % chunk

    def chunks(x: Array, fill: float) -> Array:  # [chunks, B, chunk, ...]
        flat = x.reshape(-1, *x.shape[len(lead) :])
        padded = jnp.pad(flat, ((0, 0), (0, extra), *[(0, 0)] * (flat.ndim - 2)), constant_values=fill)
        return jnp.moveaxis(padded.reshape(flat.shape[0], -1, chunk, *flat.shape[2:]), 1, 0)

    def add(sums: tuple[Array, Array], part: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        items, answers = part
        known, items = (items != PADDING)[..., None], jnp.maximum(items, 0)
        x = jnp.where(known, model.features[items], 0.0)
        rest = jnp.where(known, answers - model.prior[items], 0.0)
        return (sums[0] + jnp.einsum("bhd,bhe->bde", x, x), sums[1] + jnp.einsum("bhd,bhf->bdf", x, rest)), None

    parts = chunks(history_items, PADDING), chunks(history_feedback, 0.0)
    size = parts[0].shape[1]
    with jax.default_matmul_precision("highest"):
        empty = jnp.zeros((size, width, width)), jnp.zeros((size, width, kinds))
        gram, moments = lax.scan(add, empty, parts)[0]
        weights = solve_positive(gram + model.strength * jnp.eye(width)[None], moments)
    return weights.reshape(*lead, width, kinds)


def score_ridge(model: RidgeModel, history_items: Array, history_feedback: Array) -> Array:
    """Expected answer of the first kind on every item: [..., I]."""
    weights = user_weights(model, history_items, history_feedback)[..., 0]
    own = jnp.matmul(weights, model.features.T, precision=lax.Precision.HIGHEST)
    return own + jnp.broadcast_to(model.prior[:, 0], own.shape)


def predict_ridge(model: RidgeModel, history_items: Array, history_feedback: Array, items: Array) -> Array:
    """Expected feedback of `items` [..., n], between 0 and 1: [..., n, F]."""
    weights = user_weights(model, history_items, history_feedback)
    own = jnp.matmul(model.features[items], weights, precision=lax.Precision.HIGHEST)
    return jnp.clip(own + model.prior[items], 0.0, 1.0)
