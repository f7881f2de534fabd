"""Whether a training has diverged: by its metrics, the size of its values and the size of its parameters."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from jaxrec.checks import InputError
from jaxrec.storage.checkpoint_arrays import LARGEST_PARAMETER as PARAMETER

SUPERVISED = {"loss": 1e6, "grad_norm": 1e12, "gradient_norm": 1e12}
SLACK = 1e3  # times the largest value that the mean reward explains


class Diverged(InputError):
    """A training whose metrics or parameters are beyond any use."""


Limits = Callable[[Mapping[str, float]], Mapping[str, float]]  # row of metrics -> largest magnitudes by name


def supervised_limits(_: Mapping[str, float]) -> Mapping[str, float]:
    """Limits of trainings whose loss is a cross-entropy or a distance of unit vectors."""
    return SUPERVISED


def value_limits(gamma: float, reward_scale: float) -> Limits:
    """Limits of learners of returns: values and errors to many times what the rewards of the update can add up to.

    A loss is their square at most, and a gradient at most that times the size of sane features.
    """
    ahead = 1.0 / max(1.0 - gamma, 1e-3)

    def limits(row: Mapping[str, float]) -> Mapping[str, float]:
        value = SLACK * ahead * max(1.0, abs(row.get("reward", 0.0)) * reward_scale)
        sizes = dict.fromkeys(("q_mean", "target_mean", "td_error"), value)
        return sizes | {"loss": value**2, "value_loss": value**2, "grad_norm": 1e6 * value**2}

    return limits


def check_sane(
    rows: Sequence[Mapping[str, float]],
    sizes: np.ndarray | None,
    parameters: Sequence[str],
    *,
    limits: Limits,
    may_be_nan: Sequence[str],
    update: str,
    latest: int | None,
    advice: str,
) -> None:
    """Stop a diverged training before it is evaluated or saved: a ranking of NaN scores would look like a policy.

    `sizes` [rows, parameters] are the largest magnitudes after each update, and `latest` is the newest checkpoint, of
    which the same was checked. Raises Diverged that names the update, the metric and the parameter.
    """
    for n, row in enumerate(rows):
        wrong = _metric(row, limits(row), may_be_nan)
        worst = "" if sizes is None else _parameter(sizes[n], parameters)
        if wrong or worst:
            kept = "nothing was saved yet" if latest is None else f"checkpoint {latest} is the last good one"
            both = " and ".join(part for part in (wrong, worst) if part)
            raise Diverged(f"{update} {row['step']}: {both}, training diverged; {kept}. {advice}")


def _metric(row: Mapping[str, float], limits: Mapping[str, float], may_be_nan: Sequence[str]) -> str:
    """Say which metric is broken, the loss first; empty if none is."""
    for name in sorted(row, key=lambda name: name != "loss"):
        value = row[name]
        if not (math.isfinite(value) or (name in may_be_nan and math.isnan(value))):
            return f"the {name} is {value}"
        if abs(value) > limits.get(name, math.inf):
            return f"the {name} is {value:.2g} (sane up to {limits[name]:.2g})"
    return ""


def _parameter(sizes: np.ndarray, parameters: Sequence[str]) -> str:
    """Say which parameter is broken, the worst first; empty if none is."""
    if np.all(sizes <= PARAMETER):
        return ""
    worst = int(np.argmax(np.where(np.isnan(sizes), np.inf, sizes)))
    size = sizes[worst]
    return (
        f"parameter {parameters[worst]} reaches {size:.2g} (sane up to {PARAMETER:.0e})"
        if size == size
        else (f"parameter {parameters[worst]} is nan")
    )
