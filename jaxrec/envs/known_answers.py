"""Answers of people that are known, in place of fitted users: a dense matrix of probabilities.

Showing items changes nobody, and a person is a row of the matrix. Items whose answer is unknown are not offered to that
person (`Observation.mask`).
"""

import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrec.checks import check_shape
from jaxrec.types import Array


class KnownAnswers(struct.PyTreeNode):
    """P(feedback) of U people on R items, in the order of `World.recommendable`."""

    p: Array  # [U, R, F], 0 where it is unknown
    place: Array  # [I] int32, column of each item in `p`; R for the other items of the catalogue
    offered: Array | None  # [U, R] bool, whether the answer is known; None: all of them are
    feedback_names: tuple[str, ...] = struct.field(pytree_node=False)


def known_answers(answers: np.ndarray, items: np.ndarray, num_items: int, feedback: tuple[str, ...]) -> KnownAnswers:
    """Build the matrix from `answers` [U, R, F], NaN where unknown, on `items` [R] (increasing) of the catalogue."""
    check_shape("answers", answers, (None, len(items), len(feedback)))
    place = np.full(num_items, len(items), np.int32)
    place[items] = np.arange(len(items))
    offered = np.isnan(answers).sum(-1) == 0
    return KnownAnswers(
        p=jnp.asarray(np.where(offered[..., None], answers, 0.0), jnp.float32),
        place=jnp.asarray(place),
        offered=None if offered.all() else jnp.asarray(offered),
        feedback_names=feedback,
    )


def known_probabilities(known: KnownAnswers, person: Array, items: Array | None) -> Array:
    """P(feedback) of people [...] on items [..., K], or on the catalogue: [..., K or I, F]. 0 for other items."""
    place = known.place if items is None else known.place[items]
    place = jnp.broadcast_to(place, (*person.shape, place.shape[-1]))
    return known.p.at[person[..., None], place].get(mode="fill", fill_value=0.0)


def offered_to(known: KnownAnswers | None, person: Array) -> Array | None:
    """Which of the R items may be shown to people [...]: [..., R] bool, or None if all may be."""
    return None if known is None or known.offered is None else known.offered[person]
