"""What learners of action values read and write in one update."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxrec.config.learners import ValueConfig
from jaxrec.learn import priorities
from jaxrec.learn import replay as ring
from jaxrec.learn.heads import Heads, start, start_streams
from jaxrec.learn.rollout import FollowingUsers
from jaxrec.learn.state import LearnerState
from jaxrec.nets.policy import Policy
from jaxrec.types import Array, Params, World


class ValueState(LearnerState):
    """The state of exploration that remembers nothing, without priorities."""

    target_params: Params
    gradient_step: Array  # [] int32, gradient steps so far
    replay: ring.Replay


class PrioritisedState(ValueState):
    """The same with priorities; others have no such field in their checkpoints."""

    priorities: priorities.Priorities | None


class ExploringState(PrioritisedState):
    """The same with what the explorations ucb and thompson remember."""

    counts: Array | None  # [I] how often each item was shown; float, so that it never wraps
    heads: Heads | None


def first_state(
    config: ValueConfig,
    fields: dict[str, Any],
    key: Array,
    policy: Policy,
    optimizer: optax.GradientTransformation,
    world: World,
) -> ValueState:
    """The state of the fields that all have, with what the config asks for besides."""
    sizes = (config.shards, config.replay_steps, config.users_per_shard)
    kept = priorities.empty(*sizes) if config.priority else None
    if not (config.has_counts or config.has_heads):
        return ValueState(**fields) if kept is None else PrioritisedState(**fields, priorities=kept)
    counts, heads = None, None
    if config.has_counts:
        counts = jnp.zeros(world.item_table.shape[0])
    if config.has_heads:
        key_heads, key_streams = jax.random.split(key)
        heads = start(key_heads, policy, config, fields["params"], optimizer, fields["users"].obs, world)
        fields |= {"users": FollowingUsers(**vars(fields["users"]), memory=start_streams(key_streams, config))}
    return ExploringState(**fields, priorities=kept, counts=counts, heads=heads)
