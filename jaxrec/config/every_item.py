"""Sections of learners that read the simulated user's expected answer to every item."""

import dataclasses
from typing import ClassVar, Literal

from jaxrec.checks import check_range
from jaxrec.config.learner import LearnerConfig, check_divides
from jaxrec.config.section import section


@section
class EveryItemConfig(LearnerConfig):
    """What the learners have that read the simulated user's expected answer to every item."""

    epochs: int = 1  # passes over the states of an update
    minibatches: int = 4  # per epoch
    temperature: float = 0.0  # of the Gumbel noise on the scores while slates are chosen; 0: the best slate
    max_grad_norm: float = 1.0

    family: ClassVar[str] = "every_item"

    def __post_init__(self):
        super().__post_init__()
        for name in ("epochs", "minibatches"):
            check_range(f"learner.{name}", getattr(self, name), 1)
        check_range("learner.temperature", self.temperature, 0)
        check_divides(self)


@section
class AllItemsConfig(EveryItemConfig):
    """Fit the policy to the expected answer of the simulated user to every item, in states that its slates lead to."""

    name: Literal["all_items"] = "all_items"


@section
class FarSightedConfig(EveryItemConfig):
    """The same, plus what showing each item does to the rewards that come later."""

    name: Literal["far_sighted"] = "far_sighted"
    later_coef: float = 1.0  # weight of the loss of the later part

    def __post_init__(self):
        super().__post_init__()
        check_range("learner.later_coef", self.later_coef, 0)
        # The network follows from the algorithm, whatever a recipe says about it.
        object.__setattr__(self, "policy", dataclasses.replace(self.policy, future=True))
