"""Logistic regression with standard errors that hold where the rows of a user depend on each other."""

from typing import NamedTuple

import numpy as np

from jaxrec.supervised.calibration import sigmoid


class Fitted(NamedTuple):
    """Weights and their standard errors."""

    weights: np.ndarray  # [P]
    errors: np.ndarray  # [P]
    loss: float  # mean negative log-likelihood


class Curves(NamedTuple):
    """P = low + (high - low) sigmoid(offset + features @ weights), numbers or [N] each."""

    offset: np.ndarray | float = 0.0
    low: np.ndarray | float = 0.0
    high: np.ndarray | float = 1.0


PLAIN = Curves()


def logistic_regression(
    features: np.ndarray,
    labels: np.ndarray,
    clusters: np.ndarray,
    curves: Curves = PLAIN,
    ridge: np.ndarray | float = 0.0,
    steps: int = 30,
) -> Fitted:
    """Most likely weights [P] for features [N, P] and labels [N], minus ridge / 2 * weights ** 2.

    Fisher scoring. Errors are those of the cluster-robust sandwich (Liang and Zeger, 1986), clusters [N] being users.
    """
    x, y = np.asarray(features, np.float64), np.asarray(labels, np.float64)
    size = np.broadcast_to(np.asarray(ridge, np.float64), x.shape[1])
    weights = np.zeros(x.shape[1])
    slope, hessian = _slopes(weights, x, y, curves, size)
    for _ in range(steps):
        move = np.linalg.solve(hessian, slope.sum(0) - size * weights)
        weights = weights + move
        slope, hessian = _slopes(weights, x, y, curves, size)
        if np.abs(move).max() < 1e-8:
            break
    _, group = np.unique(clusters, return_inverse=True)
    sums = np.stack([np.bincount(group, column) for column in slope.T], axis=1)
    inverse = np.linalg.inv(hessian)
    spread = inverse @ (sums.T @ sums) @ inverse
    p = _probabilities(weights, x, curves)[0]
    loss = -np.log(np.where(y > 0, p, 1 - p)).mean()
    return Fitted(weights, np.sqrt(np.diag(spread)), float(loss))


def _probabilities(weights: np.ndarray, x: np.ndarray, curves: Curves) -> tuple[np.ndarray, np.ndarray]:
    """P [N] and its derivative by the logit [N]."""
    inner = sigmoid(curves.offset + x @ weights)
    width = np.asarray(curves.high) - np.asarray(curves.low)
    p = np.clip(curves.low + width * inner, 1e-9, 1 - 1e-9)
    return p, width * inner * (1 - inner)


def _slopes(
    weights: np.ndarray, x: np.ndarray, y: np.ndarray, curves: Curves, ridge: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Slopes of each row's log-likelihood [N, P], and the expected curvature of the negative sum [P, P]."""
    p, derivative = _probabilities(weights, x, curves)
    variance = p * (1 - p)
    slope = ((y - p) * derivative / variance)[:, None] * x
    hessian = (x * (derivative**2 / variance)[:, None]).T @ x + np.diag(ridge + 1e-9)
    return slope, hessian
