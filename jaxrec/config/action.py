"""The section about actions that are vectors."""

import math
from typing import Literal

from jaxrec.checks import InputError
from jaxrec.config.section import section


@section
class ActionConfig:
    """A vector names each slate; `jaxrec.envs.vector_actions` has the equations.

    item: a point in item space, whose nearest items are shown. query: a vector whose products with items are highest.
    behaviours: weights of the kinds of feedback that are expected of items.
    """

    name: Literal["item", "query", "behaviours"] = "item"
    low: float = -1.0  # of every number of the vector
    high: float = 1.0

    def __post_init__(self):
        check_vector_range(self.low, self.high)


def check_vector_range(low: float, high: float) -> None:
    """Raise InputError unless low < high and both are finite, or both infinite."""
    if not (low < high and math.isfinite(low) == math.isfinite(high)):
        raise InputError(f"env.action: expected low < high, both finite or both infinite, got {low} and {high}.")
