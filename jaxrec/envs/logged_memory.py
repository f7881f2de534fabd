"""How shown items move the later answers of people with tastes, for learners that look ahead.

The memory is s of `jaxrec.nets.effects`: a fading sum of the directions of shown items. Mood is left out: it
depends on the answers, which no item decides alone.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.config.logged import LoggedConfig
from jaxrec.envs.answers import moved_probabilities
from jaxrec.envs.leave import leave_weights
from jaxrec.envs.rewards import feedback_weights
from jaxrec.nets.tastes import directions_of
from jaxrec.supervised.leaving import leave_chance
from jaxrec.types import Array, Expected, ItemMemory, World


def make_memory(config: LoggedConfig, world: World) -> ItemMemory | None:
    """Build the memory of people whose log confirms short-term effects; None for others."""
    users = world.users
    if users.tastes is None or users.tastes.effects is None:
        return None
    names = users.feedback_names
    weights = jnp.asarray(feedback_weights(config.reward, names))
    leave = config.leave
    fitted = leave if leave is not None and leave.name == "hazard" else None
    felt = weights if fitted is None else jnp.asarray(leave_weights(fitted, config.reward, names))

    def directions(world: World) -> Array:
        return directions_of(world.users.tastes, world.recommendable)

    def keep(world: World) -> Array:
        return world.users.tastes.effects.keep[0]

    def expected(state: Any, slate: Array, world: World) -> Expected:
        users = world.users

        def stay_after(satisfaction: Array) -> Array:
            if fitted is None:
                return jnp.ones_like(satisfaction)
            return 1.0 - leave_chance(users.leave, satisfaction, state.leave)

        def outcome(more: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
            p = moved_probabilities(users.tastes, state.person, state.history, slate, more)
            satisfaction, reward = (p @ felt).mean(), (p @ weights).sum()
            return (reward, stay_after(satisfaction)), (reward, satisfaction)

        now = jnp.zeros(directions_of(users.tastes).shape[1])
        (reward_slope, stay_slope), (reward, satisfaction) = jax.jacrev(outcome, has_aux=True)(now)
        gain = jax.grad(lambda r: stay_after(satisfaction + (r - reward) / slate.shape[0]))(reward)
        return Expected(reward, reward_slope, stay_slope, gain)

    return ItemMemory(directions, keep, expected)
