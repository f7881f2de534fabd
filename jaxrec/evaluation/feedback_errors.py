"""Errors of predicted feedback on the held-out rows."""

from collections.abc import Callable

import numpy as np

from jaxrec.data import Split
from jaxrec.evaluation.held_out import batches
from jaxrec.types import PADDING, Array, Observation

Predict = Callable[
    [Observation, np.ndarray], Array | np.ndarray
]  # observations of [B] users, items [B, n] -> [B, n, F]


def feedback_errors(predict: Predict, split: Split) -> dict[str, dict[str, float]]:
    """Mean absolute and root mean squared error over all test rows, by kind of feedback.

    The history of a row is the user's training and validation rows.
    """
    gaps = []
    for batch in batches(split, None):
        real = batch.targets != PADDING
        predicted = np.asarray(predict(batch.obs, np.maximum(batch.targets, 0)))[real]
        gaps.append(predicted.astype(np.float64) - split.test.feedback[batch.rows[real]])
    gap = np.concatenate(gaps)  # [R, F]
    return {
        name: {"mae": float(np.abs(gap[:, f]).mean()), "rmse": float(np.sqrt(np.square(gap[:, f]).mean()))}
        for f, name in enumerate(split.test.feedback_names)
    }


def constant_mean(split: Split) -> Predict:
    """Predict the mean of the training rows for everything."""
    mean = split.train.feedback.mean(0)
    return lambda obs, items: np.broadcast_to(mean, (*items.shape, len(mean)))
