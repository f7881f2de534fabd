"""Feedback as mean + bias of the user + bias of the item, for each kind of feedback."""

import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrec.data.log import Log
from jaxrec.types import PADDING, Array

DAMPING = 10.0  # rows without a bias that are mixed into the mean of every user and item


class Biases(struct.PyTreeNode):
    """Means of the training rows. A user's own bias comes from the history, so that any user has one."""

    mean: Array  # [F]
    item: Array  # [I, F]


def bias(log: Log) -> Biases:
    """Damped biases of items: sum of (feedback - mean) over the item's rows / (rows + DAMPING)."""
    mean = log.feedback.mean(0, dtype=np.float64)
    totals = np.stack([np.bincount(log.item, x, log.num_items) for x in (log.feedback - mean).T], axis=1)
    item = totals / (np.bincount(log.item, minlength=log.num_items) + DAMPING)[:, None]
    return Biases(jnp.asarray(mean, jnp.float32), jnp.asarray(item, jnp.float32))


def user_bias(biases: Biases, history_items: Array, history_feedback: Array) -> Array:
    """Sum of (feedback - mean - item bias) over the history / (rows + DAMPING); [..., H], [..., H, F] -> [..., F]."""
    known = (history_items != PADDING)[..., None]
    offset = biases.item[jnp.maximum(history_items, 0)]
    rest = history_feedback - jnp.broadcast_to(biases.mean, offset.shape) - offset
    rows = known.sum(-2).astype(jnp.float32)
    return jnp.where(known, rest, 0.0).sum(-2) / (rows + DAMPING)


def score_bias(biases: Biases, history_items: Array, history_feedback: Array) -> Array:
    """Bias of the item plus that of the user, for the first kind of feedback: [..., I]."""
    user = user_bias(biases, history_items, history_feedback)[..., :1]
    return user + jnp.broadcast_to(biases.item[:, 0], (*user.shape[:-1], biases.item.shape[0]))


def predict_bias(biases: Biases, history_items: Array, history_feedback: Array, items: Array) -> Array:
    """Expected feedback of `items` [..., n], between 0 and 1: [..., n, F]."""
    offset = biases.item[items]
    user = user_bias(biases, history_items, history_feedback)[..., None, :]
    return jnp.clip(jnp.broadcast_to(biases.mean, offset.shape) + user + offset, 0.0, 1.0)
