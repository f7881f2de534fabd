"""Domain randomisation: every user has their own numbers in the user model."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.checks import InputError, check_name, check_range
from jaxrec.foreign import quoted
from jaxrec.types import Array, Env, Observation, StepOutput, World


class RandomizedState(struct.PyTreeNode):
    """A wrapped state and the user's own numbers."""

    env_state: Any
    drawn: dict[str, Array]  # by field of `World.users`, of that field's shape


def randomize(env: Env, ranges: Mapping[str, Sequence[float]]) -> Env:
    """Draw fields of `World.users` uniformly from `ranges` at every reset, independently for every user.

    Example: `randomize(env, {"start_budget": (100.0, 300.0)})`. The drawn numbers replace those of the world parameters
    for the whole episode and are kept in the state (`RandomizedState.drawn`). A user who replaces another gets new
    numbers if the order is `auto_reset(randomize(env, ...))`. If a field holds several numbers, each is drawn by
    itself. Raises InputError for fields that are not real numbers, for empty ranges, and for the other order.
    """
    if env.spec.auto_reset:
        raise InputError("randomize: got an environment with auto_reset; write auto_reset(randomize(...)) instead.")
    shapes = _shapes(env, ranges)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}

    def draw(key: Array) -> dict[str, Array]:
        uniform, drawn, start = jax.random.uniform(key, (sum(sizes.values()),)), {}, 0
        for name, (low, high) in ranges.items():
            part = uniform[start : start + sizes[name]].reshape(shapes[name])
            drawn[name] = jnp.clip(low + (high - low) * part, low, high)
            start += sizes[name]
        return drawn

    def reset(key: Array, world: World) -> tuple[RandomizedState, Observation]:
        key_draw, key_reset = jax.random.split(key)
        drawn = draw(key_draw)
        state, obs = env.reset(key_reset, _own(world, drawn))
        return RandomizedState(state, drawn), obs

    def step(key: Array, state: RandomizedState, action: Array, world: World) -> tuple[RandomizedState, StepOutput]:
        after, out = env.step(key, state.env_state, action, _own(world, state.drawn))
        return RandomizedState(after, state.drawn), out

    spec = dataclasses.replace(env.spec, feedback_range=())  # the range may depend on the numbers

    def own(known: Callable[[Any, World], Array] | None) -> Callable[[RandomizedState, World], Array] | None:
        return None if known is None else lambda state, world: known(state.env_state, _own(world, state.drawn))

    rewards, hidden = own(env.item_rewards), own(env.hidden)
    return env._replace(
        reset=reset, step=step, spec=spec, item_rewards=rewards, memory=None, hidden=hidden, expected_feedback=None
    )


def _own(world: World, drawn: dict[str, Array]) -> World:
    return world.replace(users=world.users.replace(**drawn))


def _shapes(env: Env, ranges: Mapping[str, Sequence[float]]) -> dict[str, tuple[int, ...]]:
    """Shapes of the fields to draw; raises InputError if a name or a range is wrong."""
    known = _numbers(env.world.users)
    if not known:
        raise InputError(f"randomize: the users of {env.spec.name} have no numbers that can be drawn.")
    for name, bounds in ranges.items():
        check_name(f"randomize({env.spec.name!r})", name, known)
        if not isinstance(bounds, tuple | list) or len(bounds) != 2:
            raise InputError(f"randomize.{name}: expected (lowest, highest), got {quoted(bounds)}.")
        for bound in bounds:
            if not isinstance(bound, int | float):
                raise InputError(f"randomize.{name}: expected numbers, got {quoted(bound)}.")
            check_range(f"randomize.{name}", bound)
        check_range(f"randomize.{name}, highest", bounds[1], bounds[0])
    return {name: known[name].shape for name in ranges}


def _numbers(users: Any) -> dict[str, Array]:
    """Fields of a user model that hold a real number or one row of them."""
    if not dataclasses.is_dataclass(users):
        return {}
    values = {field.name: getattr(users, field.name) for field in dataclasses.fields(users)}
    arrays = {name: jnp.asarray(value) for name, value in values.items() if isinstance(value, Array | float)}
    return {name: x for name, x in arrays.items() if jnp.issubdtype(x.dtype, jnp.floating) and x.ndim <= 1}
