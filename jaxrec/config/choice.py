"""The section about which items of a slate users choose."""

from typing import Literal

from jaxrec.checks import check_range
from jaxrec.config.section import section


@section
class ChoiceConfig:
    """Which shown items a user chooses; `jaxrec.envs.choice` has the equations."""

    name: Literal["proportional", "logit", "cascade", "position"] = "proportional"
    none: float = 1.0  # proportional, logit: score of choosing nothing
    decay: float = 0.85  # cascade: chance to read on after an item not chosen; position: attention factor per place

    def __post_init__(self):
        check_range("env.choice.decay", self.decay, 0, 1)
