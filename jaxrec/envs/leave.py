"""When users leave: named, interchangeable functions over a small state that the agent does not see."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxrec.checks import InputError, check_name
from jaxrec.config.users import TemperConfig
from jaxrec.envs.rewards import feedback_weights
from jaxrec.types import Array

# Satisfactions are multiples of 1 / K: rounding must not decide whether a temper of exactly 1 is below 1.
ROUNDING = 1e-4


class Leave(NamedTuple):
    """Pure functions of one user's visit."""

    start: Callable[[], Any]  # state of a visit that begins
    after: Callable[[Any, Array], tuple[Any, Array]]  # (state, feedback [K, F]) -> state, left [] bool


def nobody() -> Leave:
    """Visits last as long as the environment lets them."""
    return Leave(start=lambda: None, after=lambda state, feedback: (state, jnp.asarray(False)))


def temper(config: TemperConfig, reward: Mapping[str, float], feedback: tuple[str, ...]) -> Leave:
    """Patience that every disappointing slate uses up (KuaiSim, arXiv 2309.12645); state: temper [].

        temper <- temper + clip(satisfaction - target, -target, 0); the user leaves when temper < 1

    Satisfaction is the mean over the slate of the weighted feedback; weights are those of `reward` where the
    config has none. Raises InputError for unknown kinds of feedback, and where nothing weighs anything.
    """
    for name in config.weights:
        check_name("env.leave.weights", name, feedback)
    weights = feedback_weights(config.weights or reward, feedback)
    if not any(weights):
        raise InputError("env.leave.weights: nothing would satisfy the users; weigh at least one kind of feedback.")

    def after(state: Array, values: Array) -> tuple[Array, Array]:
        satisfaction = (values * jnp.asarray(weights, values.dtype)[None, :]).sum(-1).mean()
        state = state + jnp.clip(satisfaction - config.target, -config.target, 0.0)
        return state, state < 1.0 - ROUNDING

    return Leave(start=lambda: jnp.asarray(config.start, jnp.float32), after=after)


LEAVE_MODELS = {"temper": temper}


def make_leave(config: TemperConfig | None, reward: Mapping[str, float], feedback: tuple[str, ...]) -> Leave:
    """The leave model of an environment whose `reward` weighs kinds of `feedback`; None: nobody leaves."""
    return nobody() if config is None else LEAVE_MODELS[config.name](config, reward, feedback)
