"""What learners of action values read and write in one update."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrec.config.replay_learners import ReplayConfig, ValueConfig
from jaxrec.learn import priorities
from jaxrec.learn import replay as ring
from jaxrec.learn.heads import Ensemble, Streams, start, start_streams
from jaxrec.learn.rollout import UsersWithMemory
from jaxrec.learn.state import LearnerState
from jaxrec.nets.policy import Policy
from jaxrec.types import Array, Metrics, Observation, Params, World


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
    heads: Ensemble | None


class Explorer(NamedTuple):
    """How the users of one update are explored."""

    # Key [S], obs [S, N, ...], memory of the user streams -> actions [S, N, ...]; slates are positions of what is on
    # offer
    choose: Callable[[Array, Observation, Streams | None], Array]
    metrics: Metrics


def first_state(config: ReplayConfig, fields: dict[str, Any]) -> ValueState:
    """Build the first state from the fields of `ValueState`, with priorities if the config asks for them."""
    if not config.priority:
        return ValueState(**fields)
    return PrioritisedState(**fields, priorities=_empty_priorities(config))


def _empty_priorities(config: ReplayConfig) -> priorities.Priorities:
    return priorities.empty(config.shards, config.replay_steps, config.users_per_shard)


def exploring_state(
    config: ValueConfig,
    fields: dict[str, Any],
    key: Array,
    policy: Policy,
    optimizer: optax.GradientTransformation,
    world: World,
) -> ValueState:
    """Build the first state from the fields of `ValueState`, with what the exploration remembers."""
    if not (config.has_counts or config.has_heads):
        return first_state(config, fields)
    kept = _empty_priorities(config) if config.priority else None
    counts, heads = None, None
    if config.has_counts:
        counts = jnp.zeros(world.item_table.shape[0])
    if config.has_heads:
        key_heads, key_streams = jax.random.split(key)
        heads = start(key_heads, policy, config, fields["params"], optimizer, fields["users"].obs, world)
        fields = fields | {"users": UsersWithMemory(**vars(fields["users"]), memory=start_streams(key_streams, config))}
    return ExploringState(**fields, priorities=kept, counts=counts, heads=heads)
