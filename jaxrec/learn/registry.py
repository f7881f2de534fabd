"""Learners by name."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxrec.checks import InputError, check_name
from jaxrec.config.every_item import AllItemsConfig, FarSightedConfig
from jaxrec.config.learner import LearnerConfig
from jaxrec.config.load import build_section
from jaxrec.config.on_policy import A2cConfig, PpoConfig, ReinforceConfig
from jaxrec.config.replay_learners import DdpgConfig, DqnConfig, SlateQConfig, Td3Config
from jaxrec.learn import actor_critic, all_items, dqn, far_sighted, policy_gradient, ppo, slateq
from jaxrec.types import Env, Learner


class Entry(NamedTuple):
    """The config class of a learner and the function that builds it."""

    config: type[LearnerConfig]
    make: Callable[[Env, Any], Learner]  # over an auto-resetting environment, with such a config


LEARNERS = {
    "a2c": Entry(A2cConfig, policy_gradient.make),
    "all_items": Entry(AllItemsConfig, all_items.make),
    "ddpg": Entry(DdpgConfig, actor_critic.make),
    "dqn": Entry(DqnConfig, dqn.make),
    "far_sighted": Entry(FarSightedConfig, far_sighted.make),
    "reinforce": Entry(ReinforceConfig, policy_gradient.make),
    "ppo": Entry(PpoConfig, ppo.make),
    "slateq": Entry(SlateQConfig, slateq.make),
    "td3": Entry(Td3Config, actor_critic.make),
}


def make_learner(name: str, env: Env, config: Any = None) -> Learner:
    """Build a learner by name over an auto-resetting environment.

    `config` is the learner's config (`jaxrec.config.schema`), a mapping of its fields, or None for the defaults.
    Raises InputError for unknown names and fields.
    """
    check_name("make_learner", name, LEARNERS)
    if not env.spec.auto_reset:
        raise InputError("make_learner: the environment must reset after each episode; pass jaxrec.auto_reset(env).")
    entry = LEARNERS[name]
    if config is None or isinstance(config, Mapping):
        config = build_section(entry.config, config or {}, "learner", f"make_learner({name!r})")
    return entry.make(env, config)


def list_learners() -> tuple[str, ...]:
    """Names that `make_learner` accepts."""
    return tuple(sorted(LEARNERS))
