"""How users take items of a slate."""

from typing import Literal

from jaxrec.checks import check_range
from jaxrec.config.section import section


@section
class ChoiceConfig:
    """Which shown items a user takes; `jaxrec.envs.choice` has the equations."""

    name: Literal["proportional", "logit", "cascade", "position"] = "proportional"
    none: float = 1.0  # proportional, logit: score of taking nothing
    decay: float = 0.85  # cascade: chance to read on after an item not taken; position: attention lost a place

    def __post_init__(self):
        check_range("env.choice.decay", self.decay, 0, 1)
