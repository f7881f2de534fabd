"""The state that all learners share, and their optimiser."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxrec.config.learner import LearnerConfig
from jaxrec.learn.rollout import Users, start_users
from jaxrec.nets.network import is_value_part
from jaxrec.ops.schedules import linear
from jaxrec.types import Array, Env, Params, World


class LearnerState(struct.PyTreeNode):
    """What one update reads and writes; learners add fields of their own."""

    params: Params
    opt_state: optax.OptState
    learning_rate: Array  # [] in the state, so that a new rate needs no new compile
    users: Users
    step: Array  # [] int32, updates done


def first_fields(
    env: Env, config: LearnerConfig, params: Params, optimizer: optax.GradientTransformation, key: Array, world: World
) -> dict[str, Any]:
    """Fields of `LearnerState` before the first update; `key` starts the users."""
    return {
        "params": jax.tree.map(jnp.copy, params),  # the state is donated, so it needs its own copy
        "opt_state": optimizer.init(params),
        "learning_rate": jnp.asarray(config.learning_rate),
        "users": start_users(env, key, config.shards, config.users_per_shard, world),
        "step": jnp.asarray(0, jnp.int32),
    }


def make_init(
    env: Env,
    config: LearnerConfig,
    fresh: Callable[[Array, World], Params],
    optimizer: optax.GradientTransformation,
) -> Callable[..., LearnerState]:
    """Build `Learner.init` of learners whose state is a `LearnerState`; `fresh(key, world)` gives new parameters."""

    def init(key: Array, world: World, params: Params | None = None) -> LearnerState:
        key_policy, key_users = jax.random.split(key)
        start: Params = fresh(key_policy, world) if params is None else params
        return LearnerState(**first_fields(env, config, start, optimizer, key_users, world))

    return init


def make_optimizer(config: LearnerConfig) -> optax.GradientTransformation:
    """Clip by the global norm, then Adam; `jaxrec.ops.descend` applies the learning rate.

    A value network that leaves the other parameters alone is clipped alone: large errors of the value would otherwise
    scale down the step of the policy.
    """
    clip = optax.clip_by_global_norm(config.max_grad_norm)
    if config.policy.value != "shared":

        def groups(params: Params) -> Params:
            return {name: "value" if is_value_part(name) else "policy" for name in params}

        clip = optax.partition({"value": clip, "policy": clip}, groups)
    return optax.chain(clip, optax.scale_by_adam(eps=1e-5))


def annealed_rate(config: LearnerConfig, state: LearnerState) -> Array:
    """The learning rate of the next update: constant, or falling to zero over `config.anneal_updates`."""
    rate = state.learning_rate
    return linear(state.step, rate, 0.0, config.anneal_updates) if config.anneal_updates else rate
