"""Proximal policy optimisation over Plackett-Luce slates (arXiv 1707.06347).

One ratio a slate; advantages from GAE per user stream, normalised over the minibatch of all shards; several epochs of
minibatches with a permutation per shard, so that data never leaves its device.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxrec.config.learners import PpoConfig
from jaxrec.learn.optimize import annealed_rate, descend, make_optimizer
from jaxrec.learn.rollout import Action, Users, rollout, split_shards, start_users
from jaxrec.nets.policy import Policy, make_policy, to_items, to_positions
from jaxrec.ops.losses import categorical_entropy, clipped_policy_loss, slate_entropy, value_loss
from jaxrec.ops.returns import gae
from jaxrec.ops.slates import sample_slate, slate_log_prob
from jaxrec.types import Array, Env, Learner, Metrics, Observation, Params, Transition, World


class PpoState(struct.PyTreeNode):
    """What one update reads and writes."""

    params: Params
    opt_state: optax.OptState
    learning_rate: Array  # [] here, not in the program: another rate is not another compile
    users: Users
    step: Array  # [] int32, updates done


class PpoExtras(struct.PyTreeNode):
    """What the old policy said of a transition."""

    log_prob: Array  # [...]
    value: Array  # [...]
    final_value: Array  # [...] of final_obs where the episode was truncated, else 0


class Batch(struct.PyTreeNode):
    """Transitions as the loss reads them, leaves [S, N T or a part of it, ...]."""

    obs: Observation
    slate: Array  # [S, B, K]
    log_prob: Array
    value: Array
    advantage: Array
    target: Array  # of the value


def make(env: Env, config: PpoConfig) -> Learner:
    """Build PPO over an auto-resetting environment."""
    policy = make_policy(env.spec, config.policy)
    optimizer = make_optimizer(config)

    def init(key: Array, world: World, params: Params | None = None) -> PpoState:
        key_policy, key_users = jax.random.split(key)
        start: Params = policy.init(key_policy, world) if params is None else params
        return PpoState(
            params=jax.tree.map(jnp.copy, start),  # the state is donated, the caller's parameters are not
            opt_state=optimizer.init(start),
            learning_rate=jnp.asarray(config.learning_rate),
            users=start_users(env, key_users, config.shards, config.num_users // config.shards, world),
            step=jnp.asarray(0, jnp.int32),
        )

    def update(state: PpoState, world: World) -> tuple[PpoState, Metrics]:
        users, transitions, next_value = _collect(env, policy, config, state, world)
        batch = _to_batch(transitions, next_value, config)
        key, key_epochs = split_shards(users.key, 2)
        rate = annealed_rate(config, state.learning_rate, state.step)

        def minibatch_step(carry: tuple[Params, Any], minibatch: Batch):
            params, opt_state = carry
            grad, metrics = jax.grad(ppo_loss, has_aux=True)(params, policy, minibatch, world, config)
            return descend(optimizer, grad, params, opt_state, rate), metrics | {"grad_norm": optax.tree.norm(grad)}

        def epoch(carry: tuple[Params, Any], epoch_key: Array):
            return jax.lax.scan(minibatch_step, carry, _shuffle(epoch_key, batch, config.minibatches))

        keys = split_shards(key_epochs, config.epochs)
        (params, opt_state), metrics = jax.lax.scan(epoch, (state.params, state.opt_state), keys)
        metrics = jax.tree.map(jnp.mean, metrics)
        metrics |= {
            "reward": transitions.reward.mean(),
            "episode_return": jnp.nanmean(users.last_return),
            "explained_variance": _explained_variance(batch.value, batch.target),
            "learning_rate": rate,
        }
        state = state.replace(params=params, opt_state=opt_state, users=users.replace(key=key), step=state.step + 1)
        return state, metrics

    return Learner(init, update)


def ppo_loss(params: Params, policy: Policy, batch: Batch, world: World, config: PpoConfig) -> tuple[Array, Metrics]:
    """Policy, value and entropy terms of one minibatch -> ([], metrics)."""
    output = policy.apply(params, policy.items(params, world), batch.obs, world)
    log_prob = slate_log_prob(output.logits, to_positions(batch.slate, batch.obs, world))
    advantage = (batch.advantage - batch.advantage.mean()) / (batch.advantage.std() + 1e-8)
    policy_term, metrics = clipped_policy_loss(log_prob, batch.log_prob, advantage, config.clip)
    value_term = value_loss(output.value, batch.value, batch.target, config.value_clip)
    single = batch.slate.shape[-1] == 1
    entropy = categorical_entropy(output.logits) if single else slate_entropy(log_prob, batch.log_prob)
    loss = policy_term + config.value_coef * value_term - config.entropy_coef * entropy
    return loss, metrics | {"loss": loss, "value_loss": value_term, "entropy": entropy}


def _collect(
    env: Env, policy: Policy, config: PpoConfig, state: PpoState, world: World
) -> tuple[Users, Transition, Array]:
    """Roll the current policy out; transitions and next values are [T, S, N, ...]."""
    items = policy.items(state.params, world)

    def value_of(obs: Observation) -> Array:
        return policy.apply(state.params, items, obs, world).value

    def act(key: Array, obs: Observation) -> Action:
        output = policy.apply(state.params, items, obs, world)
        positions = jax.vmap(lambda k, logits: sample_slate(k, logits, env.spec.slate_size))(key, output.logits)
        log_prob = slate_log_prob(output.logits, positions)
        extras = PpoExtras(log_prob, output.value, jnp.zeros_like(output.value))
        return Action(to_items(positions, obs, world), extras)

    def finish(extras: PpoExtras, final_obs: Observation, truncated: Array) -> PpoExtras:
        # A real branch (nothing here is under vmap): most steps truncate nobody and skip the second forward pass.
        value = jax.lax.cond(truncated.any(), value_of, lambda obs: jnp.zeros_like(extras.value), final_obs)
        return extras.replace(final_value=jnp.where(truncated, value, 0.0))

    users, transitions = rollout(env, act, finish, state.users, world, config.horizon)
    following = jnp.concatenate([transitions.extras.value[1:], value_of(users.obs)[None]])
    next_value = jnp.where(transitions.truncated, transitions.extras.final_value, following)
    return users, transitions, next_value


def _to_batch(transitions: Transition, next_value: Array, config: PpoConfig) -> Batch:
    """Advantages per user stream, then [T, S, N, ...] -> [S, T N, ...]."""
    value = transitions.extras.value
    reward = transitions.reward * config.reward_scale
    ended = (transitions.terminated, transitions.truncated)
    advantage = gae(reward, value, next_value, *ended, config.gamma, config.gae_lambda)
    batch = Batch(
        obs=transitions.obs,
        slate=transitions.action,
        log_prob=transitions.extras.log_prob,
        value=value,
        advantage=advantage,
        target=advantage + value,
    )
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1, *x.shape[3:]), batch)


def _shuffle(key: Array, batch: Batch, minibatches: int) -> Batch:
    """Permute within every shard and cut: [S, B, ...] -> [minibatches, S, B / minibatches, ...]."""
    size = batch.value.shape[1]
    order = jax.vmap(lambda k: jax.random.permutation(k, size))(key)  # [S, B]

    def cut(x: Array) -> Array:
        mixed = jax.vmap(lambda rows, where: rows[where])(x, order)
        return jnp.moveaxis(mixed.reshape(x.shape[0], minibatches, -1, *x.shape[2:]), 1, 0)

    return jax.tree.map(cut, batch)


def _explained_variance(value: Array, target: Array) -> Array:
    """1 - Var(target - value) / Var(target); 1 is a perfect critic, 0 one that knows nothing."""
    return 1.0 - (target - value).var() / jnp.maximum(target.var(), 1e-8)
