"""The learners of a recipe, by name."""

import typing

from jaxrec.config.every_item import AllItemsConfig, FarSightedConfig
from jaxrec.config.learner import LearnerConfig
from jaxrec.config.on_policy import A2cConfig, PpoConfig, ReinforceConfig
from jaxrec.config.replay_learners import DdpgConfig, DqnConfig, SlateQConfig, Td3Config

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
