"""Sections about RecSim's three user models."""

import dataclasses
from typing import Literal

from jaxrec.checks import check_range
from jaxrec.config.choice import ChoiceConfig
from jaxrec.config.section import section


@section
class InterestEvolutionConfig:
    """RecSim's interest evolution users (the SlateQ experiment)."""

    name: Literal["interest_evolution"] = "interest_evolution"
    num_candidates: int = 10
    slate_size: int = 3
    choice: ChoiceConfig = ChoiceConfig()
    reward: dict[str, float] = dataclasses.field(default_factory=lambda: {"watch_time": 1.0})

    def __post_init__(self):
        check_range("env.num_candidates", self.num_candidates, 1)
        check_range("env.slate_size", self.slate_size, 1, self.num_candidates)


@section
class InterestExplorationConfig:
    """RecSim's interest exploration users: hidden types, fresh documents of two topics."""

    name: Literal["interest_exploration"] = "interest_exploration"
    num_candidates: int = 10
    slate_size: int = 3
    steps: int = 100  # per session; its end is a truncation
    choice: ChoiceConfig = ChoiceConfig(name="logit", none=5.0)
    reward: dict[str, float] = dataclasses.field(default_factory=lambda: {"click": 1.0})

    def __post_init__(self):
        check_range("env.num_candidates", self.num_candidates, 1)
        check_range("env.slate_size", self.slate_size, 1, self.num_candidates)
        check_range("env.steps", self.steps, 1)


@section
class LongTermSatisfactionConfig:
    """RecSim's long-term satisfaction users ("choc" and "kale"); the environment's module has the equations."""

    name: Literal["long_term_satisfaction"] = "long_term_satisfaction"
    num_candidates: int = 10
    slate_size: int = 1  # only the first document is ever chosen
    budget: int = 60  # steps after which users leave
    sensitivity: float = 0.01  # of satisfaction to exposure; up to 0.05, clickbait pays in the long run too
    memory_discount: float = 0.7  # of exposure, per step
    innovation_sd: float = 0.05  # of exposure
    choc_mean: float = 5.0  # log engagement with pure clickbait, at full satisfaction
    choc_sd: float = 1.0
    kale_mean: float = 4.0  # log engagement without clickbait, at full satisfaction
    kale_sd: float = 1.0
    reward: dict[str, float] = dataclasses.field(default_factory=lambda: {"engagement": 1.0})

    def __post_init__(self):
        check_range("env.num_candidates", self.num_candidates, 1)
        check_range("env.slate_size", self.slate_size, 1, self.num_candidates)
        check_range("env.budget", self.budget, 1)
        check_range("env.memory_discount", self.memory_discount, 0, 0.999)
        for name in ("sensitivity", "choc_mean", "kale_mean"):
            check_range(f"env.{name}", getattr(self, name))
        for name in ("innovation_sd", "choc_sd", "kale_sd"):
            check_range(f"env.{name}", getattr(self, name), 0)
