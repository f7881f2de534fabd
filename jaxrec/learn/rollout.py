"""Rollouts of users laid out as [S, N]: logical shards, then the users of one shard.

The number of shards S is part of the experiment, and every random number is drawn per shard. A run therefore gives the
same numbers on 1, 2, 4 or 8 devices, over which the leading axis is sharded.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.types import Array, CriticView, Env, Metrics, Observation, Transition, World

NAN_AT_FIRST = ("episode_return",)  # metrics that are NaN until the first episode has ended


class Users(struct.PyTreeNode):
    """State of all simulated users between two updates."""

    key: Array  # [S] typed PRNG keys
    env_state: Any  # leaves [S, N, ...]
    obs: Observation  # [S, N, ...]
    episode_return: Array  # [S, N] total reward so far in the current episode
    last_return: Array  # [S, N] of the last finished episode, NaN before the first


class UsersWithMemory(Users):
    """Users with a memory that acting reads; a class of its own, so that other checkpoints lack it."""

    memory: Any  # leaves [S, N, ...]


class Decision(struct.PyTreeNode):
    """The result of an acting function; `extras` is the algorithm's own struct, stored in the transition."""

    action: Array  # [S, N, *EnvSpec.action.shape]
    extras: Any = None


def split_shards(key: Array, count: int) -> Array:
    """Split every shard's key: [S] -> [count, S]."""
    return jax.vmap(lambda k: jax.random.split(k, count), out_axes=1)(key)


def start_users(env: Env, key: Array, num_shards: int, per_shard: int, world: World) -> Users:
    """Reset S x N users."""
    keys = split_shards(jax.random.split(key, num_shards), 2)

    def reset_shard(shard_key: Array):
        return jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(shard_key, per_shard), world)

    # Weakly typed leaves (Python numbers in an environment) become strong after one step, which would compile twice.
    env_state, obs = jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), jax.vmap(reset_shard)(keys[1]))
    zeros = jnp.zeros((num_shards, per_shard))
    return Users(
        key=keys[0],
        env_state=env_state,
        obs=obs,
        episode_return=zeros,
        last_return=jnp.full_like(zeros, jnp.nan),
    )


def rollout(
    env: Env,
    act: Callable[..., Decision],
    finish: Callable[[Any, Observation, Array], Any],
    users: Users,
    world: World,
    horizon: int,
    *,
    keep_states: bool = False,
    show_hidden: bool = False,
    remember: Callable[[Array, Any, Array], Any] | None = None,
) -> tuple[Users, Transition]:
    """Step every user `horizon` times; the transitions are [T, S, N, ...].

    `act(key [S], obs) -> Decision` sees all users at once. With `remember`, the users are `UsersWithMemory`: acting is
    `act(key, obs, memory)`, and `remember(key [S], memory, ended [S, N])` gives the memory of the next step.
    `finish(extras, final_obs, truncated)` completes the extras after the step, for instance with the value of the last
    observation of a truncated episode. With `keep_states` the transitions hold the users' hidden states too. With
    `show_hidden`, observations are `CriticView`s.
    """

    def env_shard(key: Array, env_state: Any, action: Array):
        keys = jax.random.split(key, action.shape[0])
        return jax.vmap(env.step, in_axes=(0, 0, 0, None))(keys, env_state, action, world)

    def step(users: Users, _: None) -> tuple[Users, Transition]:
        key, key_act, key_env, *more = split_shards(users.key, 3 if remember is None else 4)
        obs = critic_view(env, users, world) if show_hidden else users.obs
        memory = users.memory if isinstance(users, UsersWithMemory) else None
        decision = act(key_act, obs) if remember is None else act(key_act, obs, memory)
        env_state, out = jax.vmap(env_shard)(key_env, users.env_state, decision.action)
        final = CriticView(**vars(out.final_obs), hidden=out.final_hidden) if show_hidden else out.final_obs
        transition = Transition(
            obs=obs,
            action=decision.action,
            reward=out.reward,
            terminated=out.terminated,
            truncated=out.truncated,
            feedback=out.feedback,
            stay=out.stay,
            extras=finish(decision.extras, final, out.truncated),
            env_state=users.env_state if keep_states else None,
        )
        done = out.terminated | out.truncated
        episode_return = users.episode_return + out.reward
        after = users.replace(
            key=key,
            env_state=env_state,
            obs=out.obs,
            episode_return=jnp.where(done, 0.0, episode_return),
            last_return=jnp.where(done, episode_return, users.last_return),
        )
        return (after if remember is None else after.replace(memory=remember(more[0], memory, done))), transition

    return jax.lax.scan(step, users, None, length=horizon)


def critic_view(env: Env, users: Users, world: World) -> CriticView:
    """What a value network may read of users in training: their observations and what the simulator knows besides."""
    assert env.hidden is not None
    hidden = jax.vmap(jax.vmap(env.hidden, (0, None)), (0, None))(users.env_state, world)
    return CriticView(**vars(users.obs), hidden=hidden)


def experience_metrics(users: Users, transitions: Transition) -> Metrics:
    """Mean reward and episode return, both unscaled, which every learner reports."""
    return {"reward": transitions.reward.mean(), "episode_return": jnp.nanmean(users.last_return)}
