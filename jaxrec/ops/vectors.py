"""Unit vectors, and how alike the rows of a slate are."""

import jax.numpy as jnp
import numpy as np

from jaxrec.types import Array


def unit_rows(rows: np.ndarray, floor: float = 1e-12) -> np.ndarray:
    """Rows [..., E] at unit length, on the host. Those shorter than `floor` are divided by it: zeros stay zeros."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), floor)


def unit_vectors(rows: Array, floor: float = 1e-8) -> Array:
    """The same on the device; [..., E] -> [..., E]."""
    return rows / jnp.maximum(jnp.linalg.norm(rows, axis=-1, keepdims=True), floor)


def mean_cosine(rows: Array) -> Array:
    """Mean cosine similarity of each row to the other rows: [K, E] -> [K]; 0 for a single row."""
    if rows.shape[0] < 2:
        return jnp.zeros(rows.shape[0])
    rows = unit_vectors(rows.astype(jnp.float32))
    cosines = rows @ rows.T
    return (cosines.sum(1) - jnp.diagonal(cosines)) / (rows.shape[0] - 1)


def slate_diversity(rows: Array) -> Array:
    """1 - mean cosine over the pairs of a slate, from unit rows; [..., K, E] -> [...]. Zero for single items.

    The mean over a slate of 1 - `mean_cosine`, without its [K, K] products: equal up to rounding.
    """
    slate_size = rows.shape[-2]
    if slate_size < 2:
        return jnp.zeros(rows.shape[:-2])
    total = jnp.square(rows.sum(-2)).sum(-1) - jnp.square(rows).sum((-1, -2))
    return 1.0 - total / (slate_size * (slate_size - 1))
