"""Features of items that their taste vectors are made of: texts, other features, and how often they are rated."""

from collections.abc import Sequence

import numpy as np

from jaxrec.checks import check_shape
from jaxrec.data.log import Log


def item_features(
    vectors: np.ndarray | None, log: Log, components: int, others: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """Features of items: components of their texts, then the standardised logarithm of their rows: [I, k + 1].

    Between them are the components of `others`, blocks [I, ...] of other features, each at the scale of the texts.

    What many people rate is liked more on average, and terms of single items must not have to say so: they are shrunk
    to what the features say, and an item with few rows would be shrunk to the mean of all items.
    """
    count = np.log1p(np.bincount(log.item, minlength=log.num_items))
    count = (count - count.mean()) / (count.std() + 1e-8)
    text = text_features(vectors, log.num_items, components)
    blocks = [text_features(block, log.num_items, components) for block in others]
    return np.concatenate([text, *blocks, count[:, None]], axis=1).astype(np.float32)


def text_features(vectors: np.ndarray | None, num_items: int, components: int) -> np.ndarray:
    """Leading principal components of item vectors, scaled to mean square length 1: [I, E] -> [I, k]."""
    if vectors is None:
        return np.zeros((num_items, 0), np.float32)
    check_shape("item vectors", vectors, (num_items, None))
    centred = vectors - vectors.mean(0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    kept = left[:, :components] * size[:components]
    return (kept / max(float(np.sqrt((kept**2).sum(1).mean())), 1e-8)).astype(np.float32)
