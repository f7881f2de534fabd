"""The section about learning: what every learner has, and which networks it can use."""

from typing import Any, ClassVar

from jaxrec.checks import InputError, check_range
from jaxrec.config.policy import PolicyConfig
from jaxrec.config.section import section

# Settings of the network that not every learner can use: the families that can, and what to say of the others.
NETWORKS: dict[str, tuple[tuple[str, ...], str]] = {
    "repetition": (("on_policy",), "only on-policy learners draw such slates; set it to none"),
    "serving_temperature": (("on_policy",), "only on-policy learners learn from slates that they draw; set it to 0"),
    "critics": (("actor_critic",), "only ddpg and td3 have critics; set it to 0"),
    "nearest": (("actor_critic",), "only ddpg and td3 have critics; set it to 0"),
    "retrieve": (
        ("on_policy", "dqn", "actor_critic"),
        "this learner scores every item on offer; set it to 0",
    ),
    "choice": (("slateq",), "only slateq learns a choice model; set it to false"),
    "belief": (
        ("on_policy", "every_item"),
        "scores would start from expected rewards, and this learner has values of items for scores; set it to false",
    ),
    "diversity": (
        ("every_item",),
        "weighs cosines against expected rewards, which are the scores of all_items and far_sighted alone; set it to "
        "0, or choose one of these with learner.name",
    ),
}


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

    family: ClassVar[str] = ""  # which settings of the network the learner can use; see `NETWORKS`

    def __post_init__(self):
        self._check_network()
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

    def _check_network(self) -> None:
        """Raise InputError for settings of the network that learners of this family cannot use."""
        for name, (families, why) in NETWORKS.items():
            if getattr(self.policy, name) != getattr(PolicyConfig, name) and self.family not in families:
                raise InputError(f"learner.policy.{name}: {why}.")
        if self.policy.value == "hidden" and self.family == "every_item":
            raise InputError("learner.policy.value: hidden, but this learner learns no values; set it to shared.")
        if self.policy.belief and self.start_from:
            raise InputError(
                "learner.policy.belief: pretrained networks do not read what is expected of a person; set it to false, "
                "or remove learner.start_from."
            )

    @property
    def shards(self) -> int:
        """Logical shards; derived when num_shards is 0."""
        return self.num_shards or next(s for s in (64, 32, 16, 8, 4, 2, 1) if self.num_users % s == 0)

    @property
    def users_per_shard(self) -> int:
        """N, simulated users per shard; derived, never stored."""
        return self.num_users // self.shards


def check_divides(config: Any) -> None:
    """Raise InputError unless the transitions of a shard can be cut into equal minibatches."""
    if (config.users_per_shard * config.horizon) % config.minibatches:
        shards = "" if config.num_shards else f"; learner.num_users={config.num_users} gives {config.shards} shards"
        raise InputError(
            f"learner.minibatches: {config.minibatches} do not divide the {config.users_per_shard} users "
            f"x {config.horizon} steps of a shard{shards}; change learner.horizon, learner.num_users or "
            "learner.num_shards."
        )
