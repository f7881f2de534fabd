"""The correction of returns by real answers, worked by hand, and its bias and interval by repetition."""

import numpy as np
import pytest

from jaxrec.evaluation.corrected import Residuals, corrected_lead, corrected_return
from jaxrec.evaluation.simulate import Simulated


def outcome(returns: list[float], shown: list[float]) -> Simulated:
    values = np.array(returns)
    sizes = {"lengths": np.ones(len(values)), "known": np.zeros(len(values)), "rewards": np.ones(1), "slate_size": 1}
    return Simulated(returns=values, shown=np.array(shown), num_recommendable=3, measured={}, **sizes)


# Item 0 was answered by users 0 and 1, item 1 by user 1, item 2 by nobody.
RESIDUALS = Residuals(np.array([0, 1, 1]), np.array([0, 0, 1]), np.array([0.5, 0.1, -0.2]))


def test_shown_items_are_paid_what_the_simulator_held_back() -> None:
    # Item 0 is shown once a visit, item 1 half as often, item 2 twice: .3 x 1 - .2 x .5 = .2 more than 3.
    value, half_width = corrected_return(outcome([2.0, 4.0], [2, 1, 4]), RESIDUALS)
    assert value == pytest.approx(3.2)
    # User 0 adds .25, user 1 .05 - .1 = -.05: their sum has a variance of 2 x .045. The mean of 2 and 4 has one of 1.
    assert half_width == pytest.approx(1.959964 * np.sqrt(1 + 2 * 0.045))


def test_a_lead_is_corrected_by_the_difference_of_what_was_shown() -> None:
    lead, half_width = corrected_lead(outcome([2.0, 4.0], [2, 0, 0]), outcome([1.0, 3.0], [0, 2, 0]), RESIDUALS)
    assert lead == pytest.approx(1.0 + 0.3 - (-0.2))
    # The returns differ by 1 for both users. User 0 adds .25, user 1 .05 + .2 = .25.
    assert half_width == pytest.approx(0.0, abs=1e-12)


def test_a_shrunken_simulator_is_mended_and_its_interval_holds_the_truth() -> None:
    """Items are worth what a normal law says; the simulator has each from 10 answers, drawn half to the mean."""
    rng, inside, errors, plain = np.random.default_rng(0), 0, [], []
    for _ in range(400):
        worth = rng.normal(0.5, 0.1, 40)
        best = np.argsort(-(worth + rng.normal(0, 0.05, 40)))[:5]  # somebody else's choice
        user, item = np.divmod(np.arange(40 * 10), 40)
        reward = worth[item] + rng.normal(0, 0.3, 400)
        held = 0.25 + 0.5 * np.bincount(item, reward) / 10  # what the simulator says
        shown = np.zeros(40)
        shown[best] = 50
        result = outcome((held[best].sum() + rng.normal(0, 0.3, 50)).tolist(), shown.tolist())
        value, half_width = corrected_return(result, Residuals(user, item, reward - held[item]))
        errors.append(value - worth[best].sum())
        plain.append(result.mean - worth[best].sum())
        inside += abs(errors[-1]) < half_width
    assert np.mean(plain) < -0.2  # five items, each worth about .1 above the mean, of which half is held back
    assert abs(np.mean(errors)) < 0.05
    assert 0.88 < inside / 400 < 0.98
