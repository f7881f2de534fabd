"""The parts that all on-policy learners share: acting, advantage estimation, and epochs of minibatch steps.

Learners differ only in the loss: `make_on_policy(env, config, loss)`. Advantages come from GAE per user stream.
Minibatches are drawn by a permutation per shard, so that data never leaves its device.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.config.learners import OnPolicyConfig
from jaxrec.learn.actor import Actor, Judged, make_slate_actor
from jaxrec.learn.minibatches import descend_epochs, flat_steps
from jaxrec.learn.rollout import Decision, Users, experience_metrics, rollout, split_shards
from jaxrec.learn.state import LearnerState, annealed_rate, make_init, make_optimizer
from jaxrec.ops.returns import gae
from jaxrec.types import Array, Env, Learner, Metrics, Observation, Params, Transition, World


class Extras(struct.PyTreeNode):
    """Log-probability and values of a transition under the policy that acted."""

    log_prob: Array  # [...]
    value: Array  # [...]
    final_value: Array  # [...] of final_obs where the episode was truncated, else 0


class Batch(struct.PyTreeNode):
    """Transitions as a loss reads them, leaves [S, N T or a part of it, ...]."""

    obs: Observation
    action: Array  # [S, B, *EnvSpec.action.shape]
    log_prob: Array  # [S, B] of the action when it was taken
    value: Array  # [S, B] estimated at that time
    advantage: Array  # [S, B]
    target: Array  # [S, B] for the value


# The current policy's output for a minibatch, and the minibatch -> [], metrics.
Loss = Callable[[Judged, Batch], tuple[Array, Metrics]]


def make_on_policy(env: Env, config: OnPolicyConfig, loss: Loss) -> Learner:
    """Build a learner over an auto-resetting environment whose actions are slates."""
    actor = make_slate_actor(env.spec, config.policy)
    optimizer = make_optimizer(config)

    def objective(params: Params, batch: Batch, world: World) -> tuple[Array, Metrics]:
        items = actor.prepare(params, world)
        judged = actor.judge(params, items, batch.obs, batch.action, batch.log_prob, world)
        total, metrics = loss(judged, batch)
        return total, metrics | {"loss": total}

    def update(state: LearnerState, world: World) -> tuple[LearnerState, Metrics]:
        users, transitions, next_value = collect(env, actor, state, world, config.horizon)
        batch = to_batch(transitions, next_value, config)
        key, key_epochs = split_shards(users.key, 2)
        rate = annealed_rate(config, state)

        params, opt_state, metrics = descend_epochs(
            lambda params, part: objective(params, part, world), optimizer, state, key_epochs, batch, config, rate
        )
        metrics |= experience_metrics(users, transitions)
        metrics |= {"explained_variance": explained_variance(batch.value, batch.target), "learning_rate": rate}
        state = state.replace(params=params, opt_state=opt_state, users=users.replace(key=key), step=state.step + 1)
        return state, metrics

    return Learner(make_init(env, config, actor.init, optimizer), update)


def collect(env: Env, actor: Actor, state: LearnerState, world: World, horizon: int) -> tuple[Users, Transition, Array]:
    """Roll out the current policy; transitions and next values are [T, S, N, ...]."""
    items = actor.prepare(state.params, world)

    def value_of(obs: Observation) -> Array:
        return actor.value(state.params, items, obs, world)

    def act(key: Array, obs: Observation) -> Decision:
        acted = actor.act(key, state.params, items, obs, world)
        return Decision(acted.action, Extras(acted.log_prob, acted.value, jnp.zeros_like(acted.value)))

    def finish(extras: Extras, final_obs: Observation, truncated: Array) -> Extras:
        # A real branch (nothing here is under vmap): most steps truncate no episode and skip the second forward pass.
        value = jax.lax.cond(truncated.any(), value_of, lambda obs: jnp.zeros_like(extras.value), final_obs)
        return extras.replace(final_value=jnp.where(truncated, value, 0.0))

    users, transitions = rollout(env, act, finish, state.users, world, horizon)
    following = jnp.concatenate([transitions.extras.value[1:], value_of(users.obs)[None]])
    next_value = jnp.where(transitions.truncated, transitions.extras.final_value, following)
    return users, transitions, next_value


def to_batch(transitions: Transition, next_value: Array, config: OnPolicyConfig) -> Batch:
    """Advantages per user stream, then [T, S, N, ...] -> [S, T N, ...]."""
    value = transitions.extras.value
    reward = transitions.reward * config.reward_scale
    chex.assert_equal_shape((reward, value, next_value))  # [T, S, N]: a lost axis would broadcast
    ended = (transitions.terminated, transitions.truncated)
    advantage = gae(reward, value, next_value, *ended, config.gamma, config.gae_lambda)
    batch = Batch(
        obs=transitions.obs,
        action=transitions.action,
        log_prob=transitions.extras.log_prob,
        value=value,
        advantage=advantage,
        target=advantage + value,
    )
    return flat_steps(batch)


def explained_variance(value: Array, target: Array) -> Array:
    """1 - Var(target - value) / Var(target); 1 for a perfect critic, 0 for a constant one."""
    return 1.0 - (target - value).var() / jnp.maximum(target.var(), 1e-8)
