"""What fitted users answer, on average, on the rows of their own log."""

import jax.numpy as jnp
import numpy as np

from jaxrec.data.log import Log
from jaxrec.nets.tastes import Tastes, logits_of, probabilities
from jaxrec.sharding.compile import compiled
from jaxrec.supervised.taste_path import follow
from jaxrec.supervised.taste_posterior import ROWS_PER_CHUNK
from jaxrec.types import Array


def mean_answers(tastes: Tastes, log: Log) -> np.ndarray:
    """P(answer) [R, F] of rows of the log that `tastes` were fitted to: the mean over the versions of their user.

    The users of `tastes` are those with rows in the log, in the order of their numbers.
    """
    user = np.unique(log.user, return_inverse=True)[1]
    offset = np.zeros_like(log.feedback)
    if tastes.effects is not None:
        offset = np.asarray(follow(tastes, log, np.arange(len(log))).logits.offset)
    size, program = min(ROWS_PER_CHUNK, max(len(log), 1)), compiled(_mean_answers)
    found = np.zeros_like(log.feedback)
    for first in range(0, len(log), size):
        rows = np.minimum(np.arange(first, first + size), len(log) - 1)
        arrays = (jnp.asarray(x[rows]) for x in (user, log.item, offset))
        found[rows] = np.asarray(program(tastes, *arrays))
    return found


def _mean_answers(tastes: Tastes, user: Array, item: Array, offset: Array) -> Array:
    assert tastes.draws is not None
    theta = tastes.draws[:, user]  # [M, n, F, D]
    items = jnp.broadcast_to(item[:, None], (*theta.shape[:2], 1))
    logits = logits_of(tastes, theta, items)[..., 0, :]  # [M, n, F]
    return probabilities(tastes, logits, offset=jnp.broadcast_to(offset, logits.shape)).mean(0)
