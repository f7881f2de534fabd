"""When users leave: the chance to end a visit after a slate, fitted to the log's visits.

    P(leave) = sigmoid(w_0 + w_1 satisfaction + w_2 log(1 + slates before))

Satisfaction is the mean over the slate of the weighted feedback. A discrete-time hazard model (Singer and Willett,
1993). The log's visits are cut into slates of the environment's size; a visit ends with its last slate.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrec.checks import InputError
from jaxrec.data.log import Log
from jaxrec.data.sessions import session_begins, ticks_per_second
from jaxrec.supervised.regression import Fitted, logistic_regression
from jaxrec.types import Array

FEWEST = 50  # visits; with fewer nothing is fitted
RIDGE = 1.0  # of the weights but the first, in rows


class LeaveModel(struct.PyTreeNode):
    """The fitted hazard."""

    weights: Array  # [3]


def leave_chance(model: LeaveModel, satisfaction: Array, slates: Array) -> Array:
    """P of leaving after a slate, with `slates` shown before it in the visit: [...], [...] -> [...]."""
    w = model.weights
    return jax.nn.sigmoid(w[0] + w[1] * satisfaction + w[2] * jnp.log1p(slates))


class Slates(NamedTuple):
    """Slates of the log's visits, N of them."""

    user: np.ndarray  # [N]
    satisfaction: np.ndarray  # [N]
    before: np.ndarray  # [N] slates of the visit before this one
    last: np.ndarray  # [N] bool, of a visit


def slates_of(log: Log, gap_hours: float, weights: tuple[float, ...], slate_size: int) -> Slates:
    """Cut visits into slates of `slate_size` rows; the last of a visit may be shorter. `weights` [F] are the reward's.

    The last slate of every user is left out: whether the user left after it, or the log ended, is not known. Raises
    InputError if the log has no clock times, or too few visits.
    """
    ticks = ticks_per_second(log.time)
    if ticks is None:
        raise InputError("env.leave: hazard is fitted to pauses, but the log has no clock times; use temper, or none.")
    begins = session_begins(log, round(gap_hours * 3600 * ticks))
    if len(begins) < FEWEST:
        raise InputError(
            f"env.leave: hazard is fitted to visits, and the log has {len(begins)}, expected {FEWEST}; use temper."
        )
    place = np.arange(len(log)) - np.repeat(begins, np.diff(begins, append=len(log)))
    first = np.flatnonzero(place % slate_size == 0)
    end = np.append(first[1:], len(log))
    known = end < log.offsets[log.user[first] + 1]
    value = np.concatenate([[0.0], np.cumsum(log.feedback @ np.asarray(weights, np.float64))])
    return Slates(
        user=log.user[first][known],
        satisfaction=((value[end] - value[first]) / (end - first))[known],
        before=(place[first] // slate_size)[known],
        last=np.isin(end, begins)[known],
    )


def fit_leaving(
    log: Log, gap_hours: float, weights: tuple[float, ...], slate_size: int
) -> tuple[LeaveModel, dict[str, Any]]:
    """Fit the hazard to the visits of a log; gives it and a report with standard errors, clustered by user."""
    slates = slates_of(log, gap_hours, weights, slate_size)
    if np.ptp(slates.satisfaction) < 1e-9:
        raise InputError(
            "env.leave: hazard is fitted to how satisfied users were, and all slates of the log satisfy alike; "
            "use temper, or feedback that differs."
        )
    features = np.stack([np.ones(len(slates.user)), slates.satisfaction, np.log1p(slates.before)], axis=1)
    fitted: Fitted = logistic_regression(
        features, slates.last.astype(np.float64), slates.user, ridge=np.array([1e-3, RIDGE, RIDGE])
    )
    names = ("constant", "satisfaction", "log_slates")
    report = {
        "visits": int(slates.last.sum()),
        "slates": len(slates.user),
        "mean_slates": len(slates.user) / int(slates.last.sum()),
        "weights": dict(zip(names, fitted.weights.tolist(), strict=True)),
        "standard_errors": dict(zip(names, fitted.errors.tolist(), strict=True)),
    }
    return LeaveModel(jnp.asarray(fitted.weights, jnp.float32)), report
