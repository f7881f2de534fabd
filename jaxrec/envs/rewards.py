"""Rewards by name: a weighted sum of the feedback and of the outcomes of a request."""

from collections.abc import Callable, Mapping

import chex
import jax.numpy as jnp

from jaxrec.checks import InputError, check_name, check_renamed
from jaxrec.types import Array

Reward = Callable[..., Array]  # (feedback [K, F], left [] bool, day []) -> []
COMEBACK_DAY = "comeback_day"
RENAMED = {"return_day": COMEBACK_DAY}  # old name -> new name; "return" now means only the RL return

# Outcomes of a request other than its feedback, by name: (left [] bool, day []) -> [].
OUTCOMES: dict[str, Callable[[Array, Array], Array]] = {
    "depth": lambda left, day: jnp.ones_like(left),  # 1 for every request
    "leave": lambda left, day: left,  # 1 if the user leaves; give it a negative weight
    COMEBACK_DAY: lambda left, day: day,  # 1 to 10 for users who left, else 0; give it a negative weight
}


def make_reward(reward: Mapping[str, float], feedback: tuple[str, ...], *, comebacks: bool = False) -> Reward:
    """Build a function of feedback [K, F], whether the user leaves and, with `comebacks`, the comeback day -> [].

    It is the sum over the slate of weight times feedback (immediate), plus weight times outcome (long term). Raises
    InputError for names that are neither, and for kinds of feedback with the name of an outcome.
    """
    for name in feedback:
        if name in OUTCOMES:
            raise InputError(f"data.feedback.{name}: an outcome of rewards has this name; rename the feedback.")
    for name in reward:
        check_renamed("env.reward", name, RENAMED)
        check_name("env.reward", name, (*feedback, *OUTCOMES))
        if name == COMEBACK_DAY and not comebacks:
            raise InputError(
                "env.reward.comeback_day: these users do not come back; remove it, or set env.comeback_model (logged)."
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
    """Weights [F] of one item's feedback; outcomes do not belong to an item and are left out."""
    return tuple(float(reward[name]) if name in reward else 0.0 for name in feedback)
