"""Sections of learners that learn from a replay: of action values, and of vectors by the slope of critics."""

import dataclasses
from typing import ClassVar, Literal

from jaxrec.checks import InputError, check_range
from jaxrec.config.exploration import Exploration
from jaxrec.config.learner import LearnerConfig
from jaxrec.config.section import section


@section
class ReplayConfig(LearnerConfig):
    """Fields of all learners with a replay on the device."""

    name: str = ""  # every learner sets its own
    max_grad_norm: float = 10.0
    replay_size: int = 100_000  # transitions of all users that are kept; the oldest are dropped first
    learning_starts: int = 5_000  # transitions before the first gradient step
    batch_size: int = 512  # transitions per gradient step, over all shards
    gradient_steps: int = 8  # per update
    n_step: int = 1  # rewards summed before bootstrapping
    target_rate: float = 0.005  # Polyak: target <- rate x network + (1 - rate) x target; 1 copies
    target_period: int = 1  # gradient steps between two moves of the target
    huber: float = 1.0  # error from which the loss grows linearly, in scaled rewards
    priority: float = 0.0  # exponent of prioritised replay (arXiv 1511.05952): 0 draws uniformly, 0.6 is usual
    priority_correction: float = 0.4  # exponent of the importance weights at first; 1 in the end
    priority_updates: int = 100  # updates over which it goes linearly to 1

    def __post_init__(self):
        super().__post_init__()
        for name in ("gradient_steps", "n_step", "target_period", "priority_updates"):
            check_range(f"learner.{name}", getattr(self, name), 1)
        check_range("learner.target_rate", self.target_rate, 0, 1, open_low=True)
        check_range("learner.huber", self.huber, 0, open_low=True)
        for name in ("priority", "priority_correction"):
            check_range(f"learner.{name}", getattr(self, name), 0, 1)
        check_range("learner.batch_size", self.batch_size, 1)
        if self.batch_size % self.shards:
            raise InputError(f"learner.batch_size: {self.shards} shards do not divide {self.batch_size} transitions.")
        if self.batch_size > self.replay_size:
            raise InputError(
                f"learner.replay_size: {self.replay_size} transitions are fewer than a batch of "
                f"learner.batch_size={self.batch_size}; raise it, or lower the batch."
            )
        if self.replay_steps <= self.n_step:
            least = (self.n_step // self.horizon + 1) * self.horizon * self.num_users
            raise InputError(
                f"learner.replay_size: {self.replay_size} transitions hold {self.replay_steps} steps of "
                f"{self.num_users} users in whole updates of {self.horizon}, but learner.n_step={self.n_step} needs "
                f"more; raise it to {least}."
            )
        check_range("learner.learning_starts", self.learning_starts, 0, self.replay_steps * self.num_users)

    @property
    def replay_steps(self) -> int:
        """Steps of each user that the replay holds, in whole updates; derived, never stored."""
        return self.replay_size // self.num_users // self.horizon * self.horizon


@section
class ValueConfig(Exploration, ReplayConfig):
    """Fields of all learners of the values of slates' items."""

    double: bool = True  # the online network chooses the next slate, the target network values it

    def __post_init__(self):
        super().__post_init__()
        self.check_exploration()
        if self.policy.retrieve and self.has_heads:
            raise InputError(
                "learner.policy.retrieve: heads of an ensemble retrieve different items, so their values cannot be "
                "compared; set it to 0, or learner.exploration to epsilon_greedy, boltzmann, or ucb with "
                "learner.bonus=counts."
            )


@section
class DqnConfig(ValueConfig):
    """Deep Q-learning over slates of independent items; by default double (arXiv 1509.06461)."""

    name: Literal["dqn"] = "dqn"
    credit: Literal["item", "slate"] = "item"  # a shown item gets its own feedback, or an equal share of the slate's
    # Q = value + logit, or value + logit - mean logit (arXiv 1511.06581, eq. 9; costs all items on offer), or logit.
    dueling: Literal["level", "mean", "none"] = "level"

    family: ClassVar[str] = "dqn"

    def __post_init__(self):
        super().__post_init__()
        if self.policy.retrieve and self.dueling == "mean":
            raise InputError(
                "learner.dueling: mean, but with learner.policy.retrieve only some items on offer have a logit; set it "
                "to level, or learner.policy.retrieve to 0."
            )


@section
class SlateQConfig(ValueConfig):
    """SlateQ (arXiv 1905.12767): values of items if they are chosen, and a choice model learned from feedback."""

    name: Literal["slateq"] = "slateq"
    choice: str = "click"  # the kind of feedback that says what was chosen
    choice_coef: float = 1.0  # weight of the choice model's cross-entropy in the loss
    serving: Literal["top_k", "greedy", "exact"] = "exact"  # how the best slate is found, shown and in targets
    target: Literal["q_learning", "sarsa"] = "q_learning"  # value of the best next slate, or of the one that was shown

    family: ClassVar[str] = "slateq"

    def __post_init__(self):
        super().__post_init__()
        check_range("learner.choice_coef", self.choice_coef, 0, open_low=True)
        # The network follows from the algorithm, whatever a recipe says about it.
        policy = dataclasses.replace(self.policy, choice=True, serving=self.serving)
        object.__setattr__(self, "policy", policy)


@section
class ActorCriticConfig(ReplayConfig):
    """Fields of the learners of a deterministic policy whose actions are vectors, by the slope of critics."""

    # Of the noise on actions and on those of targets, in halves of the range; in units of the action without a range.
    noise_start: float = 0.5  # standard deviation of exploration
    noise_end: float = 0.1
    noise_updates: int = 100  # updates over which it falls linearly
    critics: int = 1  # the lowest of their values is the target
    policy_delay: int = 1  # gradient steps of the critics for one of the policy and of the target networks
    target_noise: float = 0.0  # standard deviation
    target_noise_clip: float = 0.5  # largest such noise

    family: ClassVar[str] = "actor_critic"

    def __post_init__(self):
        # The network follows from the algorithm, whatever a recipe says about it.
        object.__setattr__(self, "policy", dataclasses.replace(self.policy, critics=self.critics))
        super().__post_init__()
        check_range("learner.critics", self.critics, 1, 1000)
        for name in ("policy_delay", "noise_updates"):
            check_range(f"learner.{name}", getattr(self, name), 1)
        for name in ("noise_start", "noise_end", "target_noise", "target_noise_clip"):
            check_range(f"learner.{name}", getattr(self, name), 0)
        if self.policy.value != "shared":
            raise InputError(
                f"learner.policy.value: {self.policy.value}, but {self.name} has critics instead of a value network; "
                "set it to shared."
            )


@section
class DdpgConfig(ActorCriticConfig):
    """Deep deterministic policy gradient (arXiv 1509.02971) over vectors."""

    name: Literal["ddpg"] = "ddpg"


@section
class Td3Config(ActorCriticConfig):
    """Twin delayed deterministic policy gradient (arXiv 1802.09477) over vectors."""

    name: Literal["td3"] = "td3"
    critics: int = 2
    policy_delay: int = 2
    target_noise: float = 0.2
