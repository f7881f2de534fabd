"""Measuring and correcting predicted probabilities: AUC, expected calibration error, Platt scaling."""

from typing import NamedTuple

import numpy as np

CERTAIN = (1e-7, 1 - 1e-7)  # probabilities are taken to be within, so that no answer has an infinite loss


def auc(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Area under the ROC curve, ties counted half: [R], [R] -> P(score of a 1 > score of a 0).

    None where only one class occurs.
    """
    _, group, size = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(size) - (size - 1) / 2)[group]  # 1-based mid-ranks
    ones = labels > 0.5
    positive, negative = int(ones.sum()), int((~ones).sum())
    if not positive or not negative:
        return None
    return float((rank[ones].sum() - positive * (positive + 1) / 2) / (positive * negative))


class Reliability(NamedTuple):
    """Predicted and observed means, in bins of equal width between 0 and 1; NaN where a bin is empty."""

    rows: np.ndarray  # [bins] int64
    predicted: np.ndarray  # [bins] mean probability of the bin's rows
    observed: np.ndarray  # [bins] mean label of the bin's rows


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> Reliability:
    """Sort rows into bins by their probability; [R], [R]."""
    which = np.minimum((probabilities * bins).astype(int), bins - 1)
    rows = np.bincount(which, minlength=bins)
    count = np.where(rows > 0, rows, np.nan)
    return Reliability(rows, np.bincount(which, probabilities, bins) / count, np.bincount(which, labels, bins) / count)


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> float:
    """Mean over bins, weighted by their rows, of |mean label - mean probability|; [R], [R]."""
    rows, predicted, observed = reliability(labels, probabilities, bins)
    return float(np.nansum(rows * np.abs(observed - predicted)) / len(labels))


def platt(labels: np.ndarray, logits: np.ndarray, ridge: float) -> tuple[float, float]:
    """Scale and shift that make sigmoid(scale * logit + shift) fit the labels best; [R], [R] (Platt, 1999).

    A penalty of ridge / 2 * ((scale - 1)^2 + shift^2) keeps few rows from moving a good model far.
    """
    features = np.stack([logits, np.ones_like(logits)], axis=1).astype(np.float64)
    start = weights = np.array([1.0, 0.0])
    for _ in range(50):  # Newton's method on a convex loss of two variables
        p = sigmoid(features @ weights)
        gradient = features.T @ (p - labels) + ridge * (weights - start)
        hessian = (features.T * (p * (1 - p))) @ features + ridge * np.eye(2)
        move = np.linalg.solve(hessian, gradient)
        weights = weights - move
        if np.abs(move).max() < 1e-9:
            break
    return float(weights[0]), float(weights[1])


class Curve(NamedTuple):
    """From logits with normal errors to probabilities; `fit_curve` has the equation."""

    scale: float
    shift: float
    low: float
    high: float
    spread: float


def fit_curve(
    labels: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    offset: np.ndarray | float = 0.0,
    *,
    bounds: bool = True,
) -> tuple[float, Curve]:
    """Fit the curve from logits with normal errors to probabilities; [R], [R], [R] -> mean log loss and the curve.

    P = low + (high - low) E sigmoid(scale * logit + shift), with low below 1/2 and high above. The errors over which E
    averages have `spread` times the given variance. Weak normal priors keep few labels from moving the curve far
    from the plain sigmoid. An `offset` [R] is added to scale * logit + shift. Without `bounds`, low is 0 and high is 1.
    """
    from scipy import optimize  # slow to import

    start = np.array([0.0, 0.0, -3.0, -3.0, 0.0])
    precision = np.array([1.0, 1.0, 0.1, 0.1, 1.0])

    def curve(x: np.ndarray) -> Curve:
        low, high = (0.5 * sigmoid(x[2]), 1 - 0.5 * sigmoid(x[3])) if bounds else (0.0, 1.0)
        return Curve(float(np.exp(x[0])), float(x[1]), float(low), float(high), float(np.exp(x[4])))

    def log_loss(x: np.ndarray) -> float:
        return float(curve_losses(curve(x), labels, mean, variance, offset).sum())

    # The mean, not the sum: with a gradient of thousands the first line search would leave the range of doubles.
    rows = max(len(labels), 1)
    found = optimize.minimize(
        lambda x: (log_loss(x) + 0.5 * float(precision @ (x - start) ** 2)) / rows, start, method="BFGS"
    )
    return log_loss(found.x) / rows, curve(found.x)


def curve_losses(
    curve: Curve, labels: np.ndarray, mean: np.ndarray, variance: np.ndarray, offset: np.ndarray | float = 0.0
) -> np.ndarray:
    """Log loss of every label under the curve, which `fit_curve` defines: [R]."""
    flat = np.sqrt(1 + np.pi / 8 * curve.spread * curve.scale**2 * variance)
    z = (curve.scale * mean + curve.shift + offset) / flat
    p = np.clip(curve.low + (curve.high - curve.low) * sigmoid(z), *CERTAIN)
    return -np.log(np.where(labels > 0.5, p, 1 - p))


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow; [...] -> [...]."""
    return 0.5 * (1 + np.tanh(0.5 * x))
