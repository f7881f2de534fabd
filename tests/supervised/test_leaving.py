"""Logistic regression with clustered errors, and the chance to leave that is fitted with it."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from jaxrec.checks import InputError
from jaxrec.data.log import Log
from jaxrec.supervised.calibration import sigmoid
from jaxrec.supervised.leaving import LeaveModel, fit_leaving, leave_chance, slates_of
from jaxrec.supervised.regression import Curves, logistic_regression

DAY, START = 86_400, 1_600_000_000


def test_the_regression_agrees_with_a_general_optimiser_and_a_bootstrap() -> None:
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(150), 8)
    x = np.column_stack([np.ones(1200), rng.normal(size=1200), np.repeat(rng.normal(size=150), 8)])
    curves = Curves(offset=0.3 * rng.normal(size=1200), low=0.1, high=0.9)
    tilt = np.repeat(rng.normal(size=150), 8)  # rows of a user depend on each other
    y = (rng.random(1200) < 0.1 + 0.8 * sigmoid(curves.offset + x @ [0.2, -0.7, 0.5] + tilt)).astype(float)

    def loss(w: np.ndarray) -> float:
        p = 0.1 + 0.8 * sigmoid(curves.offset + x @ w)
        return -np.log(np.where(y > 0, p, 1 - p)).sum() + 0.5 * (2.0 * w**2).sum()

    fitted = logistic_regression(x, y, users, curves, ridge=2.0)
    best = optimize.minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9})
    np.testing.assert_allclose(fitted.weights, best.x, atol=1e-4)
    drawn = []
    for _ in range(200):
        rows = (rng.integers(0, 150, 150)[:, None] * 8 + np.arange(8)).reshape(-1)
        part = Curves(curves.offset[rows], 0.1, 0.9)
        drawn.append(logistic_regression(x[rows], y[rows], rows, part, ridge=2.0).weights)
    np.testing.assert_allclose(fitted.errors, np.std(drawn, axis=0), rtol=0.25)


def make_log(time: list[int], user: list[int], liked: list[int]) -> Log:
    return Log(
        user=np.array(user, np.int32),
        item=np.zeros(len(user), np.int32),
        time=np.array(time),
        feedback=np.array(liked, np.float32)[:, None],
        feedback_names=("liked",),
        num_users=max(user) + 1,
        num_items=1,
    )


def test_visits_are_cut_into_slates_and_the_end_of_a_users_log_is_left_out() -> None:
    time = [START + d * DAY + m for d in range(60) for m in (0, 0, 60, 60, 120)]
    log = make_log(time, [0] * 150 + [1] * 150, [1, 1, 1, 0, 0] * 60)
    slates = slates_of(log, 12.0, (2.0,), 2)
    np.testing.assert_allclose(slates.satisfaction[:4], [2.0, 1.0, 0.0, 2.0])
    np.testing.assert_array_equal(slates.before[:4], [0, 1, 2, 0])
    np.testing.assert_array_equal(slates.last[:4], [False, False, True, False])
    assert len(slates.user) == 2 * (30 * 3 - 1)


def test_the_chance_is_worked_by_hand() -> None:
    model = LeaveModel(jnp.array([-1.0, -2.0, 0.5]))
    want = sigmoid(np.array([-1 - 2 * 0.5 + 0.5 * np.log(4)]))
    np.testing.assert_allclose(leave_chance(model, jnp.array([0.5]), jnp.array([3])), want, rtol=1e-6)


def test_the_hazard_of_a_known_log_is_found() -> None:
    rng, time, user, liked = np.random.default_rng(0), [], [], []
    for one in range(200):
        now = START
        for _ in range(40):
            answers = rng.random(2) < rng.choice([0.1, 0.9])
            time, user, liked = [*time, now, now], [*user, one, one], [*liked, *answers.tolist()]
            now += DAY if rng.random() < sigmoid(np.array(-0.5 - 2.0 * answers.mean())) else 60
    model, report = fit_leaving(make_log(time, user, liked), 12.0, (1.0,), 2)
    for name, true in {"constant": -0.5, "satisfaction": -2.0, "log_slates": 0.0}.items():
        assert report["weights"][name] == pytest.approx(true, abs=3 * report["standard_errors"][name])
    assert report["standard_errors"]["satisfaction"] < 0.12
    np.testing.assert_allclose(model.weights, list(report["weights"].values()), rtol=1e-6)


def test_logs_without_clock_times_or_visits_are_refused() -> None:
    with pytest.raises(InputError, match=r"env\.leave: hazard is fitted to pauses, but the log has no clock times"):
        slates_of(make_log([1, 2], [0, 0], [1, 0]), 12.0, (1.0,), 2)
    with pytest.raises(InputError, match=r"env\.leave: .* the log has 1, expected 50; use temper"):
        slates_of(make_log([START, START], [0, 0], [1, 0]), 12.0, (1.0,), 2)


def test_a_log_in_which_all_slates_satisfy_alike_is_refused() -> None:
    time = [START + d * DAY + m for d in range(60) for m in (0, 60, 120)]
    log = make_log(time, [0] * 90 + [1] * 90, [1] * 180)
    with pytest.raises(InputError, match=r"env\.leave: hazard .* satisfy alike; use temper"):
        fit_leaving(log, 12.0, (1.0,), 2)
