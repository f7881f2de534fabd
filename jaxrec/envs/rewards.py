"""Rewards by name: a weighted sum of what the users gave back, and of what became of the visit."""

from collections.abc import Callable, Mapping

import chex
import jax.numpy as jnp

from jaxrec.checks import InputError, check_name, check_renamed
from jaxrec.types import Array

Reward = Callable[..., Array]  # (feedback [K, F], left [] bool, day []) -> []
COMEBACK_DAY = "comeback_day"
RENAMED = {"return_day": COMEBACK_DAY}  # "return" is the RL return only

# What a request is worth beyond its feedback, by name: (left [] bool, day []) -> [].
OUTCOMES: dict[str, Callable[[Array, Array], Array]] = {
    "depth": lambda left, day: jnp.ones_like(left),  # every request that was answered
    "leave": lambda left, day: left,  # the user leaves; weigh it below 0
    COMEBACK_DAY: lambda left, day: day,  # of who left, 1 to 10, else 0; weigh it below 0
}


def make_reward(reward: Mapping[str, float], feedback: tuple[str, ...], *, comebacks: bool = False) -> Reward:
    """Give a function of feedback [K, F], whether the user leaves and, with `comebacks`, the day of the comeback -> [].

    The sum over the slate of weight times feedback (immediate), plus weight times outcome (long term). Raises
    InputError for names that are neither, and for kinds of feedback that are called like an outcome.
    """
    for name in feedback:
        if name in OUTCOMES:
            raise InputError(f"data.feedback.{name}: an outcome of rewards has this name; give the feedback another.")
    for name in reward:
        check_renamed("env.reward", name, RENAMED)
        check_name("env.reward", name, (*feedback, *OUTCOMES))
        if name == COMEBACK_DAY and not comebacks:
            raise InputError(
                "env.reward.comeback_day: these users do not come back; give logged users env.comeback_model."
            )
    weights = feedback_weights(reward, feedback)
    outcomes = {name: float(weight) for name, weight in reward.items() if name in OUTCOMES}

    def weighted(values: Array, left: Array | bool = False, day: Array | float = 0.0) -> Array:
        chex.assert_shape(values, (None, len(weights)))
        total = (values * jnp.asarray(weights, values.dtype)[None, :]).sum()
        for name, weight in outcomes.items():
            total += weight * OUTCOMES[name](jnp.asarray(left), jnp.asarray(day)).astype(values.dtype)
        return total

    return weighted


def feedback_weights(reward: Mapping[str, float], feedback: tuple[str, ...]) -> tuple[float, ...]:
    """What one item's feedback of each kind is worth, [F]; outcomes are no item's."""
    return tuple(float(reward[name]) if name in reward else 0.0 for name in feedback)
