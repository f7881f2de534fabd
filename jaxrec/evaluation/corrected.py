"""Correct the returns of a second simulator by what it got wrong about its own people's real answers.

    corrected return = simulated return + sum_i shown_i mean over rows of item i (real reward - simulated reward)

Fitted users are estimates that are drawn towards the mean: an item about which little is known is worth less in a
simulator than what its own rows say, by just the amount that fitting held back. Whoever recommends such items, because
the *other* half of the people liked them, is judged too low, and a fixed list of well-known items is not. The rows of
the judging people say by how much. This is the doubly robust estimate (Dudik, Langford and Li, arXiv 1103.4601) with
the share of visits in which an item is shown as its weight: it is right if either the simulator is right, or the
people who answered an item answer as all of them would.

Its interval counts that users differ, as the simulated one does, and also that items are known from few rows. What the
simulator holds back about single persons is not corrected.
"""

from typing import NamedTuple

import numpy as np

from jaxrec.evaluation.measures import Z95, mean_and_half_width
from jaxrec.evaluation.simulate import Simulated


class Residuals(NamedTuple):
    """Real minus simulated rewards of the rows that a simulator was fitted to."""

    user: np.ndarray  # [R] int
    item: np.ndarray  # [R] int
    value: np.ndarray  # [R]


def corrected_return(result: Simulated, residuals: Residuals) -> tuple[float, float]:
    """The corrected mean return and half its 95% interval."""
    return _corrected(result.returns, _per_visit(result), residuals)


def corrected_lead(one: Simulated, other: Simulated, residuals: Residuals) -> tuple[float, float]:
    """The corrected mean of how much more `one` earns than `other`, paired by user, and half its 95% interval."""
    return _corrected(one.returns - other.returns, _per_visit(one) - _per_visit(other), residuals)


def _per_visit(result: Simulated) -> np.ndarray:
    assert result.shown is not None
    return result.shown / len(result.returns)


def _corrected(returns: np.ndarray, shown: np.ndarray, residuals: Residuals) -> tuple[float, float]:
    """`shown` [I] is how often each item was shown in a visit, or a difference of such numbers."""
    mean, half_width = mean_and_half_width(returns)
    counts = np.bincount(residuals.item, minlength=len(shown))
    weighted = (shown / np.maximum(counts, 1))[residuals.item] * residuals.value
    of_users = np.bincount(residuals.user, weighted)  # answers of one person err together
    present = of_users[np.unique(residuals.user)]
    error = np.sqrt(len(present) * present.var(ddof=1)) if len(present) > 1 else np.nan
    return mean + float(of_users.sum()), float(np.hypot(half_width, Z95 * error))
