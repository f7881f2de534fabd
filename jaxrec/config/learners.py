"""Sections about learning: the algorithms, by name."""

import dataclasses
import typing
from typing import Any, Literal

from jaxrec.checks import InputError, check_range
from jaxrec.config.exploration import Exploration
from jaxrec.config.policy import PolicyConfig
from jaxrec.config.section import section


@section
class LearnerConfig:
    """What every learner has: the network, the simulated users, the learning rate."""

    policy: PolicyConfig = PolicyConfig()
    start_from: str = ""  # first parameters; pretrain: those of `jaxrec pretrain` in the run; or a pretrained folder
    num_users: int = 256  # simulated at once
    num_shards: int = 0  # logical shards; results depend on it; 0: largest power of two up to 64 that divides num_users
    horizon: int = 10  # steps of each user per update
    learning_rate: float = 1e-3
    anneal_updates: int = 0  # updates over which the learning rate falls linearly to zero; 0: constant
    gamma: float = 0.99
    max_grad_norm: float = 0.5
    reward_scale: float = 1.0  # rewards are multiplied by it for learning, never in reports

    def __post_init__(self):
        if self.policy.repetition != "none" and not isinstance(self, OnPolicyConfig):
            raise InputError("learner.policy.repetition: only on-policy learners draw such slates; set it to none.")
        for name in ("critics", "nearest"):
            if getattr(self.policy, name) and not isinstance(self, ActorCriticConfig):
                raise InputError(f"learner.policy.{name}: only ddpg and td3 have critics; set it to 0.")
        if self.policy.retrieve and isinstance(self, EveryItemConfig | SlateQConfig):
            raise InputError("learner.policy.retrieve: this learner scores every item on offer; set it to 0.")
        if self.policy.choice and not isinstance(self, SlateQConfig):
            raise InputError("learner.policy.choice: only slateq learns a choice model; set it to false.")
        if self.policy.value == "hidden" and isinstance(self, EveryItemConfig):
            raise InputError("learner.policy.value: hidden, but this learner learns no values; set it to shared.")
        if self.policy.belief and isinstance(self, ValueConfig):
            raise InputError(
                "learner.policy.belief: scores would start from expected rewards, and this learner has values of items "
                "for scores; set it to false."
            )
        if self.policy.belief and self.start_from:
            raise InputError(
                "learner.policy.belief: pretrained networks do not read what is expected of a person; set it to false, "
                "or remove learner.start_from."
            )
        if self.policy.diversity and not isinstance(self, EveryItemConfig):
            raise InputError(
                "learner.policy.diversity: weighs cosines against expected rewards, which are the scores of all_items "
                "and far_sighted alone; set it to 0, or choose one of these with learner.name."
            )
        for name in ("num_users", "horizon"):
            check_range(f"learner.{name}", getattr(self, name), 1)
        check_range("learner.gamma", self.gamma, 0, 1)
        for name in ("learning_rate", "max_grad_norm", "reward_scale"):
            check_range(f"learner.{name}", getattr(self, name), 0, open_low=True)
        for name in ("anneal_updates", "num_shards"):
            check_range(f"learner.{name}", getattr(self, name), 0)
        if self.num_users % self.shards:
            raise InputError(
                f"learner.num_shards: {self.shards} shards do not divide learner.num_users={self.num_users}."
            )

    @property
    def shards(self) -> int:
        """Logical shards; derived when num_shards is 0."""
        return self.num_shards or next(s for s in (64, 32, 16, 8, 4, 2, 1) if self.num_users % s == 0)

    @property
    def users_per_shard(self) -> int:
        """N, simulated users per shard; derived, never stored."""
        return self.num_users // self.shards


@section
class OnPolicyConfig(LearnerConfig):
    """Fields of all on-policy learners: they learn from the actions of their current policy."""

    name: str = ""  # every learner sets its own
    epochs: int = 4  # passes over the transitions of an update
    minibatches: int = 4  # per epoch
    gae_lambda: float = 0.95  # 1: return minus value; 0: one-step advantages
    # The policy is a distribution over its logits divided by it. Below 1, it draws slates closer to its best one.
    temperature: float = 1.0
    normalise_targets: bool = False  # the network predicts returns minus their running mean, over their deviation
    # Weight of KL(policy || the policy that learning starts from), over all items that may be shown; 0: none. Only with
    # learner.start_from or train.continue_from.
    start_kl: float = 0.0
    start_kl_end: float = 0.0  # the weight after `start_kl_updates`
    start_kl_updates: int = 0  # updates over which it changes linearly; 0: constant

    def __post_init__(self):
        super().__post_init__()
        for name in ("epochs", "minibatches"):
            check_range(f"learner.{name}", getattr(self, name), 1)
        check_range("learner.gae_lambda", self.gae_lambda, 0, 1)
        check_range("learner.temperature", self.temperature, 0, open_low=True)
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


def check_divides(config: Any) -> None:
    """Raise InputError unless the transitions of a shard can be cut into equal minibatches."""
    if (config.users_per_shard * config.horizon) % config.minibatches:
        shards = "" if config.num_shards else f"; learner.num_users={config.num_users} gives {config.shards} shards"
        raise InputError(
            f"learner.minibatches: {config.minibatches} do not divide the {config.users_per_shard} users "
            f"x {config.horizon} steps of a shard{shards}; change learner.horizon, learner.num_users or "
            "learner.num_shards."
        )


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

    def __post_init__(self):
        super().__post_init__()
        check_range("learner.choice_coef", self.choice_coef, 0, open_low=True)
        # The network follows from the algorithm, whatever a recipe says about it.
        policy = dataclasses.replace(self.policy, choice=True, serving=self.serving)
        object.__setattr__(self, "policy", policy)


@section
class EveryItemConfig(LearnerConfig):
    """What the learners have that read the simulated user's expected answer to every item."""

    epochs: int = 1  # passes over the states of an update
    minibatches: int = 4  # per epoch
    temperature: float = 0.0  # of the Gumbel noise on the scores while slates are chosen; 0: the best slate
    max_grad_norm: float = 1.0

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

    def __post_init__(self):
        # The network follows from the algorithm, whatever a recipe says about it.
        object.__setattr__(self, "policy", dataclasses.replace(self.policy, critics=self.critics))
        super().__post_init__()
        check_range("learner.critics", self.critics, 1, 1000)
        for name in ("policy_delay", "noise_updates"):
            check_range(f"learner.{name}", getattr(self, name), 1)
        for name in ("noise_start", "noise_end", "target_noise", "target_noise_clip"):
            check_range(f"learner.{name}", getattr(self, name), 0)
        if self.batch_size > self.replay_size:
            raise InputError(
                f"learner.replay_size: {self.replay_size} transitions are fewer than a batch of "
                f"learner.batch_size={self.batch_size}; raise it, or lower the batch."
            )
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


# What the section `learner` of a recipe may be.
AnyLearnerConfig = (
    PpoConfig
    | ReinforceConfig
    | A2cConfig
    | DqnConfig
    | SlateQConfig
    | AllItemsConfig
    | FarSightedConfig
    | DdpgConfig
    | Td3Config
)
LEARNER_CONFIGS: dict[str, type[LearnerConfig]] = {cls.name: cls for cls in typing.get_args(AnyLearnerConfig)}
