"""All items, looking ahead: rank by the expected immediate reward plus what showing the item changes later.

    Q(s, A) = sum_{i in A} (r(s, i) + g(s, i)) + w(s)

r is the expected immediate reward, fitted for all items as `jaxrec.learn.all_items` does. g is learned from what
happened after the shown slates: w(s) + sum_A g(s, i) is regressed on the return after the step, and v(s) on the return
from the step on. Returns are lambda-returns (GAE, arXiv 1506.02438). In them, the sampled reward of an item is replaced
by the person's expected reward, which the simulator knows. The slate with the highest Q has the K highest r + g.

A policy-gradient learner has one advantage for a whole slate, and learns a random policy whose best slate may be
another. Here the state that the heads of g, w and v read is fixed to what r needs, so they cannot disturb r, and the
gradients of both parts are clipped apart. Rewards are in shares of the highest reward of a slate.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxrec.config.learners import FarSightedConfig
from jaxrec.learn.all_items import all_items_loss, check_env, reward_range
from jaxrec.learn.minibatches import descend_epochs, flat_steps
from jaxrec.learn.rollout import Decision, Users, experience_metrics, rollout, split_shards
from jaxrec.learn.state import LearnerState, annealed_rate, first_fields
from jaxrec.nets.policy import Policy, PolicyOutput, make_policy, to_items, to_positions
from jaxrec.ops.returns import gae
from jaxrec.ops.slates import top_slate
from jaxrec.types import Array, Env, Learner, Metrics, Observation, Params, Transition, World


class Extras(struct.PyTreeNode):
    """Values of a transition when it was made."""

    value: Array  # [S, N]
    final_value: Array  # [S, N] of final_obs where the episode was truncated, else 0


class Batch(struct.PyTreeNode):
    """What the losses read; leaves [S, B, ...]."""

    obs: Observation
    env_state: Any
    slate: Array  # [S, B, K] positions among the scores
    later: Array  # [S, B] return after the step
    total: Array  # [S, B] return from the step on


def make(env: Env, config: FarSightedConfig) -> Learner:
    """Build the learner over an auto-resetting environment that knows `item_rewards`."""
    check_env(env, config.name)
    policy = make_policy(env.spec, config.policy)
    optimizer = make_optimizer(config)
    low, high = reward_range(env.spec, config.name)

    def init(key: Array, world: World, params: Params | None = None) -> LearnerState:
        key_policy, key_users = jax.random.split(key)
        start: Params = policy.init(key_policy, world) if params is None else params
        return LearnerState(**first_fields(env, config, start, optimizer, key_users, world))

    def objective(params: Params, batch: Batch, world: World) -> tuple[Array, Metrics]:
        assert env.item_rewards is not None
        known = jax.vmap(jax.vmap(env.item_rewards, (0, None)), (0, None))(batch.env_state, world)
        output = policy.apply(params, policy.items(params, world), batch.obs, world)
        loss, error = all_items_loss(immediate(output), (known - low) / (high - low))
        later, total = future_losses(output, batch)
        metrics = {"loss": loss, "mean_error": error, "later_loss": later, "value_loss": total}
        return loss + config.future_coef * (later + total), metrics

    def update(state: LearnerState, world: World) -> tuple[LearnerState, Metrics]:
        users, transitions, next_value = collect(env, policy, state, world, config)
        batch, explained = to_batch(env, transitions, next_value, world, config)
        key, key_epochs = split_shards(users.key, 2)
        rate = annealed_rate(config, state)

        params, opt_state, metrics = descend_epochs(
            lambda params, part: objective(params, part, world), optimizer, state, key_epochs, batch, config, rate
        )
        metrics |= experience_metrics(users, transitions) | {"learning_rate": rate, "explained_variance": explained}
        state = state.replace(params=params, opt_state=opt_state, users=users.replace(key=key), step=state.step + 1)
        return state, metrics

    return Learner(init, update)


def make_optimizer(config: FarSightedConfig) -> optax.GradientTransformation:
    """Adam, with the gradients of the future's heads clipped apart from the others."""

    def labels(params: Params) -> Any:
        return {name: "future" if name.startswith("future") else "rest" for name in params}

    def clip() -> optax.GradientTransformation:
        return optax.clip_by_global_norm(config.max_grad_norm)

    return optax.chain(optax.partition({"future": clip(), "rest": clip()}, labels), optax.scale_by_adam(eps=1e-5))


def collect(
    env: Env, policy: Policy, state: LearnerState, world: World, config: FarSightedConfig
) -> tuple[Users, Transition, Array]:
    """Roll out the slates of the highest scores with Gumbel noise; transitions and next values are [T, S, N, ...]."""
    items = policy.items(state.params, world)

    def value_of(obs: Observation) -> Array:
        return total_of(policy.apply(state.params, items, obs, world))

    def act(key: Array, obs: Observation) -> Decision:
        output = policy.apply(state.params, items, obs, world)
        noise = jax.vmap(lambda k: jax.random.gumbel(k, output.logits.shape[1:]))(key)
        slate = top_slate(output.logits + config.temperature * noise, env.spec.slate_size)
        total = total_of(output)
        return Decision(to_items(slate, obs, world), Extras(total, jnp.zeros_like(total)))

    def finish(extras: Extras, final_obs: Observation, truncated: Array) -> Extras:
        value = jax.lax.cond(truncated.any(), value_of, lambda obs: jnp.zeros_like(extras.value), final_obs)
        return extras.replace(final_value=jnp.where(truncated, value, 0.0))

    users, transitions = rollout(env, act, finish, state.users, world, config.horizon, keep_states=True)
    following = jnp.concatenate([transitions.extras.value[1:], value_of(users.obs)[None]])
    return users, transitions, jnp.where(transitions.truncated, transitions.extras.final_value, following)


def to_batch(
    env: Env, transitions: Transition, next_value: Array, world: World, config: FarSightedConfig
) -> tuple[Batch, Array]:
    """Returns per user stream, then [T, S, N, ...] -> [S, T N, ...]; the share of the returns' variance explained."""
    low, high = reward_range(env.spec, config.name)
    slate = to_positions(transitions.action, transitions.obs, world)
    weights = jnp.asarray(env.spec.reward_weights)
    sampled = (transitions.feedback @ weights).sum(-1)
    reward = transitions.reward + expected_reward(env, transitions.env_state, slate, world) - sampled
    reward = reward / (env.spec.slate_size * (high - low))
    value, ended = transitions.extras.value, (transitions.terminated, transitions.truncated)
    discount = config.gamma if transitions.stay is None else config.gamma * transitions.stay
    advantage = gae(reward, value, next_value, *ended, discount, config.gae_lambda)
    total = advantage + value
    batch = Batch(transitions.obs, transitions.env_state, slate, total - reward, total)
    return flat_steps(batch), 1.0 - advantage.var() / jnp.maximum(total.var(), 1e-8)


def expected_reward(env: Env, env_state: Any, slate: Array, world: World) -> Array:
    """Sum over slates [T, S, N, K] of the expected rewards of their items: [T, S, N]."""
    item_rewards = env.item_rewards
    assert item_rewards is not None

    def of_slate(state: Any, slate: Array) -> Array:
        return item_rewards(state, world)[slate].sum()

    # Step by step: the rewards of all items for all states at once would not fit for a large catalogue.
    return jax.lax.map(lambda step: jax.vmap(jax.vmap(of_slate))(*step), (env_state, slate))


def immediate(output: PolicyOutput) -> PolicyOutput:
    """The output as the all-item loss reads it: logits of immediate rewards, -inf where an item may not be shown."""
    assert output.future is not None
    return output.replace(logits=jnp.where(output.logits > -jnp.inf, output.future.immediate, -jnp.inf))


def total_of(output: PolicyOutput) -> Array:
    """v(s)."""
    assert output.future is not None
    return output.future.total


def future_losses(output: PolicyOutput, batch: Batch) -> tuple[Array, Array]:
    """Half the mean squared errors of w + sum_A g and of v."""
    future = output.future
    assert future is not None
    shown = jnp.take_along_axis(future.later, batch.slate, axis=-1).sum(-1)
    later = 0.5 * jnp.square(future.rest + shown - batch.later).mean()
    return later, 0.5 * jnp.square(future.total - batch.total).mean()
