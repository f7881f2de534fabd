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
    count = np.log1p(log.item_rows)
    known = count[: log.num_touched]
    count = (count - known.mean()) / (known.std() + 1e-8)
    sizes = log.num_items, components, log.num_touched
    text = text_features(vectors, *sizes)
    blocks = [text_features(block, *sizes) for block in others]
    return np.concatenate([text, *blocks, count[:, None]], axis=1).astype(np.float32)


def text_features(
    vectors: np.ndarray | None, num_items: int, components: int, num_touched: int | None = None
) -> np.ndarray:
    """Leading principal components of item vectors, scaled to mean square length 1: [I, E] -> [I, k].

    The components are those of the first `num_touched` items (default: all), so that rows of the log can say what each
    of them means. The others are projected on them.
    """
    if vectors is None:
        return np.zeros((num_items, 0), np.float32)
    check_shape("item vectors", vectors, (num_items, None))
    known, rest = np.split(vectors, [num_items if num_touched is None else num_touched])
    left, size, directions = np.linalg.svd(known - known.mean(0), full_matrices=False)
    kept = left[:, :components] * size[:components]
    scale = max(float(np.sqrt((kept**2).sum(1).mean())), 1e-8)
    projected = (rest - known.mean(0)) @ directions[:components].T
    return (np.concatenate([kept, projected]) / scale).astype(np.float32)
