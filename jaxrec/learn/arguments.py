"""Numbers of a learner's section as arguments of its program, so that a new value needs no new compile."""

import copy
import dataclasses
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from flax import struct

from jaxrec.config.learner import LearnerConfig
from jaxrec.types import Array, Learner, Metrics, Params, World

T = TypeVar("T")

# Fields that learners only calculate with. Others choose what a program does, or the shapes of its arrays.
NUMBERS = (
    "learning_rate",
    "gamma",
    "gae_lambda",
    "max_grad_norm",
    "reward_scale",
    "entropy_coef",
    "value_coef",
    "clip",
    "choice_coef",
    "later_coef",
    "target_rate",
    "epsilon_start",
    "epsilon_end",
    "temperature_start",
    "temperature_end",
    "bonus_start",
    "bonus_end",
    "prior_scale",
    "noise_start",
    "noise_end",
    "target_noise",
    "target_noise_clip",
    "priority_correction",
)


class Arguments(struct.PyTreeNode):
    """What every call of a program with such arguments gets besides the state."""

    world: World
    numbers: dict[str, Array]  # [] each, by the name of the field


def numbers_of(config: LearnerConfig, wanted: Collection[str]) -> dict[str, float]:
    """The `wanted` fields of a section, as far as it has them and a program can take them as arguments."""
    fields = {field.name for field in dataclasses.fields(config)}
    return {name: getattr(config, name) for name in NUMBERS if name in fields and name in wanted}


def unchecked(section: T, **values: Any) -> T:
    """The section with other values that are not checked: a number that is traced cannot be compared."""
    other = copy.copy(section)
    for name, value in values.items():
        object.__setattr__(other, name, value)
    return other


def with_arguments(make: Callable[[LearnerConfig], Learner], config: LearnerConfig) -> Learner:
    """The learner that `make` builds, whose `world` is `Arguments`: their numbers replace those of `config`.

    Under the same numbers it computes what `make(config)` does. Where XLA rounds a product of two numbers in advance,
    the last bit may differ.
    """

    def built(arguments: Arguments) -> Learner:
        return make(unchecked(config, **arguments.numbers))

    def init(key: Array, arguments: Arguments, params: Params | None = None) -> Any:
        return built(arguments).init(key, arguments.world, params)

    def update(state: Any, arguments: Arguments) -> tuple[Any, Metrics]:
        return built(arguments).update(state, arguments.world)

    return Learner(init, update)  # type: ignore[arg-type]
