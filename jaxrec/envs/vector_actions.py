"""Users whose slates are named by vectors: points in item space, queries, or weights of behaviours.

`vector_actions(env, ...)` is the same users with another action. A step clips the vector into its range, scores what
is on offer by it (`jaxrec.nets.nearest`), and shows the K best items that may be shown.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp
from flax import struct

from jaxrec.checks import InputError, check_name, check_shape
from jaxrec.config.action import ActionConfig, check_vector_range
from jaxrec.nets.nearest import behaviour_scores, item_scores
from jaxrec.nets.offers import masked
from jaxrec.nets.policy import to_items
from jaxrec.ops.slates import top_slate
from jaxrec.types import Array, Env, Observation, StepOutput, VectorAction, World

KINDS = ("item", "query", "behaviours")

# State of the environment of slates, its observation, a vector [A], world -> positions [K] of the slate.
ToSlate = Callable[[Any, Observation, Array, World], Array]


class VectorState(struct.PyTreeNode):
    """A wrapped state, and what may be shown next."""

    env_state: Any
    obs: Observation


def vector_actions(
    env: Env, of: Literal["item", "query", "behaviours"] = "item", *, low: float = -1.0, high: float = 1.0
) -> Env:
    """Let vectors between `low` and `high` name the slates of `env`; raises InputError where they cannot.

    Pass the environment itself: wrappers such as `auto_reset` come afterwards.
    """
    action = vector_action(env, of, low, high)
    to_slate = make_to_slate(env, action)

    def reset(key: Array, world: World) -> tuple[VectorState, Observation]:
        state, obs = env.reset(key, world)
        return VectorState(state, obs), obs

    def step(key: Array, state: VectorState, action: Array, world: World) -> tuple[VectorState, StepOutput]:
        positions = to_slate(state.env_state, state.obs, action, world)
        after, out = env.step(key, state.env_state, to_items(positions, state.obs, world), world)
        return VectorState(after, out.obs), out

    return env._replace(
        reset=reset,
        step=step,
        spec=dataclasses.replace(env.spec, action=action),
        memory=None,
        expected_feedback=None,
        item_rewards=env.item_rewards_of(lambda state: state.env_state),
        hidden=env.hidden_of(lambda state: state.env_state),
    )


def vector_action(env: Env, of: str, low: float, high: float) -> VectorAction:
    """Describe the vectors that name slates of `env`; raises InputError where they cannot."""
    check_name("env.action.name", of, KINDS)
    check_vector_range(low, high)
    if env.spec.auto_reset:
        raise InputError("vector_actions: got an environment with auto_reset; write auto_reset(vector_actions(...)).")
    size, slate = vector_size(env, of), env.spec.slate_size
    return VectorAction(size=size, low=low, high=high, of=of, slate=slate)  # type: ignore[arg-type]


def vector_size(env: Env, of: str) -> int:
    """A: columns of an item's row, or kinds of feedback."""
    if of != "behaviours":
        return env.spec.candidate_size or env.world.item_table.shape[1]
    if env.expected_feedback is None:
        raise InputError(
            f"env.action.name: behaviours, but {env.spec.name} has no model that expects feedback from what policies "
            "see; set it to item or query, or use logged users with env.response: last_rows."
        )
    return len(env.spec.feedback)


def make_to_slate(env: Env, action: VectorAction) -> ToSlate:
    """Build the function that turns vectors into positions among what `env`, whose actions are slates, has on offer."""

    def to_slate(env_state: Any, obs: Observation, vector: Array, world: World) -> Array:
        check_shape("action", vector, action.shape)
        vector = jnp.clip(vector, action.low, action.high)
        if action.of == "behaviours":
            assert env.expected_feedback is not None, "vector_size refuses it"
            scores = behaviour_scores(vector, env.expected_feedback(env_state, world))
        else:
            scores = item_scores(vector, action, obs, world)
        return top_slate(masked(scores, obs, world, env.spec.repeats), action.slate)

    return to_slate


def act_as_in(env: Env, section: Any) -> Env:
    """`env` with the vectors of its section of a recipe, or as it is if the section has none."""
    action: ActionConfig | None = getattr(section, "action", None)
    return env if action is None else vector_actions(env, action.name, low=action.low, high=action.high)
