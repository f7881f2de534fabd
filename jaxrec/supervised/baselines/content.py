"""Items whose texts are like those of the items that the user liked."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrec.checks import InputError, check_shape
from jaxrec.data.log import Log
from jaxrec.ops.vectors import unit_rows, unit_vectors
from jaxrec.supervised.baselines.neighbours import liked_items, sum_of_rows
from jaxrec.types import Array


def content(log: Log, vectors: np.ndarray | None) -> np.ndarray:
    """Text vectors of the items at unit length, [I, E] float32; raises InputError without vectors."""
    if vectors is None:
        raise InputError("content: the items have no text vectors; give data.text, or choose another recommender.")
    check_shape("content: item vectors", vectors, (log.num_items, None))
    return unit_rows(np.asarray(vectors, np.float32))


def score_content(vectors: Array, history_items: Array, history_feedback: Array) -> Array:
    """Cosine of each item's vector with the mean vector of the liked rows of the history: [..., I].

    Vectors [I, E] have unit length. A history without liked rows scores 0.
    """
    mean = unit_vectors(sum_of_rows(vectors, liked_items(history_items, history_feedback)))
    return jnp.matmul(mean, vectors.T, precision=lax.Precision.HIGHEST)
