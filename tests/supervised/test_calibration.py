"""The curve from logits to probabilities: found again from labels that it made."""

import numpy as np
import pytest

from jaxrec.supervised.calibration import fit_curve, sigmoid

ROWS = 20_000


def labels_of(scale: float, shift: float, low: float, high: float, spread: float, seed: int):
    """Labels of rows whose logits have normal errors of known variance: labels, mean and variance [R]."""
    rng = np.random.default_rng(seed)
    mean, variance = rng.normal(0, 2, ROWS), rng.choice([0.0, 9.0], ROWS)
    logits = mean + np.sqrt(spread * variance) * rng.normal(size=ROWS)
    p = low + (high - low) * sigmoid(scale * logits + shift)
    return (rng.random(ROWS) < p).astype(float), mean, variance


@pytest.mark.parametrize("seed", [0, 1])
def test_a_known_curve_is_found_again(seed: int) -> None:
    labels, mean, variance = labels_of(1.5, -0.4, 0.1, 0.95, 0.5, seed)
    _, (scale, shift, low, high, spread) = fit_curve(labels, mean, variance)
    assert scale == pytest.approx(1.5, abs=0.15)
    assert shift == pytest.approx(-0.4, abs=0.12)
    assert low == pytest.approx(0.1, abs=0.02)
    assert high == pytest.approx(0.95, abs=0.02)
    assert spread == pytest.approx(0.5, abs=0.15)


def test_calibrated_labels_give_the_plain_sigmoid() -> None:
    labels, mean, variance = labels_of(1.0, 0.0, 0.0, 1.0, 1.0, 2)
    _, (scale, shift, low, high, spread) = fit_curve(labels, mean, variance)
    x = np.linspace(-4, 4, 33)
    np.testing.assert_allclose(low + (high - low) * sigmoid(scale * x + shift), sigmoid(x), atol=0.015)
    assert spread == pytest.approx(1.0, abs=0.2)


def test_the_loss_is_that_of_the_curve_and_few_labels_move_it_little() -> None:
    labels, mean, variance = np.array([1.0, 0.0, 1.0]), np.array([0.5, -1.0, 2.0]), np.array([0.0, 1.0, 4.0])
    loss, (scale, shift, low, high, spread) = fit_curve(labels, mean, variance)
    z = (scale * mean + shift) / np.sqrt(1 + np.pi / 8 * spread * scale**2 * variance)
    p = low + (high - low) / (1 + np.exp(-z))
    assert loss == pytest.approx(-np.mean(np.log([p[0], 1 - p[1], p[2]])))
    assert abs(np.log(scale)) < 0.7 and abs(shift) < 0.3 and low < 0.05 and high > 0.95


def test_no_labels_at_all_leave_the_start() -> None:
    loss, curve = fit_curve(np.zeros(0), np.zeros(0), np.zeros(0))
    assert loss == 0.0
    edge = 0.5 / (1 + np.exp(3))
    np.testing.assert_allclose(curve, (1.0, 0.0, edge, 1 - edge, 1.0))
