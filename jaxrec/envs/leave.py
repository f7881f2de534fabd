"""Leave models, by name: when users leave, given a small state that the agent does not see."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import chex
import jax.numpy as jnp

from jaxrec.checks import InputError, check_name
from jaxrec.config.logged import HazardConfig, TemperConfig
from jaxrec.envs.rewards import feedback_weights
from jaxrec.supervised.leaving import LeaveModel, leave_chance
from jaxrec.types import Array

# Satisfactions are multiples of 1 / K, and rounding must not decide whether a temper of exactly 1 is below 1.
ROUNDING = 1e-4


class Leave(NamedTuple):
    """Pure functions of one user's visit."""

    start: Callable[[], Any]  # state at the start of a visit
    # (fitted model or None, state, feedback [K, F], number in [0, 1)) -> state, left [] bool, P(stay) [] or None
    after: Callable[[LeaveModel | None, Any, Array, Array], tuple[Any, Array, Array | None]]
    random: bool = False  # whether it reads the number


def nobody() -> Leave:
    """Build the leave model of users who never leave by themselves."""
    return Leave(start=lambda: None, after=lambda model, state, feedback, uniform: (state, jnp.asarray(False), None))


def temper(config: TemperConfig, reward: Mapping[str, float], feedback: tuple[str, ...]) -> Leave:
    """Build patience that disappointing slates use up (KuaiSim, arXiv 2309.12645); state: temper [].

        temper <- temper + clip(satisfaction - target, -target, 0); the user leaves when temper < 1

    Satisfaction is the mean over the slate of the weighted feedback, with the weights of `reward` if the config has
    none. Raises InputError for unknown kinds of feedback, and if all weights are 0.
    """
    weights = leave_weights(config, reward, feedback)

    def after(model: LeaveModel | None, state: Array, values: Array, uniform: Array) -> tuple[Array, Array, None]:
        state = state + jnp.clip(_satisfaction(values, weights) - config.target, -config.target, 0.0)
        return state, state < 1.0 - ROUNDING, None

    return Leave(start=lambda: jnp.asarray(config.start, jnp.float32), after=after)


def hazard(
    config: HazardConfig, reward: Mapping[str, float], feedback: tuple[str, ...], *, keep: bool = False
) -> Leave:
    """Build users who leave with the chance that was fitted to the log's visits; state: slates of the visit [].

    `jaxrec.supervised.leaving` has the equation. Weights and errors are those of `temper`. With `keep` nobody leaves,
    and the chance that the user would have stayed comes with every slate.
    """
    weights = leave_weights(config, reward, feedback)

    def after(
        model: LeaveModel | None, state: Array, values: Array, uniform: Array
    ) -> tuple[Array, Array, Array | None]:
        assert model is not None
        chance = leave_chance(model, _satisfaction(values, weights), state)
        if keep:
            return state + 1, jnp.asarray(False), 1.0 - chance
        return state + 1, uniform < chance, None

    return Leave(start=lambda: jnp.asarray(0, jnp.int32), after=after, random=not keep)


def leave_weights(
    config: TemperConfig | HazardConfig, reward: Mapping[str, float], feedback: tuple[str, ...]
) -> tuple[float, ...]:
    """Weights [F] of satisfaction; raises InputError for unknown kinds of feedback, and if all weights are 0."""
    for name in config.weights:
        check_name("env.leave.weights", name, feedback)
    weights = feedback_weights(config.weights or reward, feedback)
    if not any(weights):
        raise InputError("env.leave.weights: all weights are 0; give at least one kind of feedback another weight.")
    return weights


def _satisfaction(values: Array, weights: tuple[float, ...]) -> Array:
    chex.assert_shape(values, (None, len(weights)))
    return (values * jnp.asarray(weights, values.dtype)[None, :]).sum(-1).mean()


def make_leave(
    config: TemperConfig | HazardConfig | None,
    reward: Mapping[str, float],
    feedback: tuple[str, ...],
    *,
    keep: bool = False,
) -> Leave:
    """Build the leave model of an environment whose `reward` weighs kinds of `feedback`; None: no user leaves.

    `keep` is that of `hazard`; a temper has no chance that could stand for leaving.
    """
    if config is None:
        return nobody()
    return temper(config, reward, feedback) if config.name == "temper" else hazard(config, reward, feedback, keep=keep)


# Rules about the items shown lately, for users who see one item per turn: (rows [I, ...] of what is compared, items
# [N], recent [H] newest last, in_window [H] bool, threshold []) -> whether the user leaves after each item, [N] bool.


def same_category(rows: Array, items: Array, recent: Array, in_window: Array, threshold: Array) -> Array:
    """Leave if a category of the new item is in more than `threshold` items of the window; rows [I, C] of 0 and 1."""
    counts = in_window.astype(rows.dtype) @ rows[recent]
    return (counts[None, :] * rows[items]).max(-1) > threshold


def too_near(rows: Array, items: Array, recent: Array, in_window: Array, threshold: Array) -> Array:
    """Leave if an item of the window is nearer to the new one than `threshold`; rows [I, E], Euclidean distance."""
    new, old = rows[items], rows[recent]
    products = jnp.matmul(new, old.T, precision="highest")  # avoids an array [N, H, E]
    squares = jnp.square(new).sum(-1)[:, None] + jnp.square(old).sum(-1)[None, :] - 2.0 * products
    near = jnp.sqrt(jnp.maximum(squares, 0.0)) < threshold
    return (in_window[None, :] & near).any(-1)


ITEM_RULES = {"categories": same_category, "distance": too_near}


def leave_window(shown: Array, size: Array, length: int, *, compat: bool = False) -> Array:
    """Mark which of the H = `length` latest items count before turn `shown`, [] int32 from 0: [H] bool, newest last.

    These are the last `size` items, or all `shown` so far if they are fewer. `compat`: EasyRL4Rec slices a list of
    `shown` actions as [shown - size : shown]. If `shown` is between size / 2 and size, the negative start counts from
    the end of the list, so that only the last `size - shown` items remain.
    """
    count = jnp.minimum(shown, size)
    if compat:
        count = jnp.where((2 * shown > size) & (shown < size), size - shown, count)
    return jnp.arange(length, dtype=count.dtype)[::-1] < count
