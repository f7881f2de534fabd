"""Sections of learners that learn from the actions of their current policy."""

from typing import ClassVar, Literal

from jaxrec.checks import InputError, check_range
from jaxrec.config.learner import LearnerConfig, check_divides
from jaxrec.config.section import section


@section
class OnPolicyConfig(LearnerConfig):
    """Fields of all on-policy learners: they learn from the actions of their current policy."""

    name: str = ""  # every learner sets its own
    epochs: int = 4  # passes over the transitions of an update
    minibatches: int = 4  # per epoch
    gae_lambda: float = 0.95  # 1: return minus value; 0: one-step advantages
    # The policy is a distribution over its logits divided by it. Below 1, it draws slates closer to its best one.
    temperature: float = 1.0
    # The temperature after `temperature_updates`: what is learned is then nearly the best slate, which is shown later.
    temperature_end: float = 0.0
    temperature_updates: int = 0  # updates over which it changes linearly; 0: constant
    normalise_targets: bool = False  # the network predicts returns minus their running mean, over their deviation
    # Weight of KL(policy || the policy that learning starts from), over all items that may be shown; 0: none. Only with
    # learner.start_from or train.continue_from.
    start_kl: float = 0.0
    start_kl_end: float = 0.0  # the weight after `start_kl_updates`
    start_kl_updates: int = 0  # updates over which it changes linearly; 0: constant

    family: ClassVar[str] = "on_policy"

    def __post_init__(self):
        super().__post_init__()
        for name in ("epochs", "minibatches"):
            check_range(f"learner.{name}", getattr(self, name), 1)
        check_range("learner.gae_lambda", self.gae_lambda, 0, 1)
        check_range("learner.temperature", self.temperature, 0, open_low=True)
        for name in ("temperature_end", "temperature_updates"):
            check_range(f"learner.{name}", getattr(self, name), 0)
        if bool(self.temperature_end) != bool(self.temperature_updates):
            missing = "temperature_end" if self.temperature_updates else "temperature_updates"
            other = "temperature_updates" if self.temperature_updates else "temperature_end"
            raise InputError(f"learner.{missing}: expected a value above 0 if learner.{other} is set, got 0.")
        if self.policy.future:
            raise InputError(
                f"learner.policy.future: {self.name} learns returns where such a policy has the level of immediate "
                "rewards; set it to false."
            )
        for name in ("start_kl", "start_kl_end", "start_kl_updates"):
            check_range(f"learner.{name}", getattr(self, name), 0)
        if self.start_kl and self.policy.retrieve:
            raise InputError(
                "learner.start_kl: two policies that retrieve different items have no finite divergence; set it or "
                "learner.policy.retrieve to 0."
            )
        if self.start_kl_updates and not self.start_kl:
            raise InputError("learner.start_kl: expected a value above 0 if learner.start_kl_updates is set, got 0.")
        if self.start_kl_end and not self.start_kl_updates:
            raise InputError(
                "learner.start_kl_updates: expected a value above 0 if learner.start_kl_end is set, got 0."
            )
        check_divides(self)


@section
class GradientConfig(OnPolicyConfig):
    """Fields of all learners that follow a policy gradient over Plackett-Luce slates or Gaussian vectors."""

    # A slate has one advantage, or each of its items one: its own reward, compared with what the policy expects at this
    # place, and everything that follows. Expected answers replace sampled ones where the simulated users know them.
    credit: Literal["slate", "item"] = "slate"
    value_coef: float = 0.5
    entropy_coef: float = 0.01

    def __post_init__(self):
        super().__post_init__()
        for name in ("entropy_coef", "value_coef"):
            check_range(f"learner.{name}", getattr(self, name), 0)


@section
class PpoConfig(GradientConfig):
    """Proximal policy optimisation (arXiv 1707.06347) over Plackett-Luce slates or Gaussian vectors."""

    name: Literal["ppo"] = "ppo"
    clip: float = 0.2
    value_clip: float | None = None  # in scaled rewards, or in deviations with normalise_targets

    def __post_init__(self):
        super().__post_init__()
        check_range("learner.clip", self.clip, 0, open_low=True)


@section
class OnePassConfig(GradientConfig):
    """Fields of learners for which transitions are of no use once the policy has changed."""

    epochs: int = 1
    minibatches: int = 1
    gae_lambda: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        if self.epochs > 1:
            raise InputError(
                f"learner.epochs: {self.name} uses what its policy has shown once, got {self.epochs} passes; set it to "
                "1, or use ppo."
            )


@section
class ReinforceConfig(OnePassConfig):
    """REINFORCE with a learned baseline (Williams, 1992): one step along the gradient of whole returns."""

    name: Literal["reinforce"] = "reinforce"
    horizon: int = 64  # of about an episode; at its end, the value stands for what follows


@section
class A2cConfig(OnePassConfig):
    """Advantage actor-critic (arXiv 1602.01783), synchronous: short horizons, and values for what follows them."""

    name: Literal["a2c"] = "a2c"
    horizon: int = 5
