"""Deterministic policies of vectors, by the slope of critics: DDPG (arXiv 1509.02971) and TD3 (arXiv 1802.09477).

    target   y = r + discount min_c Q'_c(s', a'),  a' = pi'(s') + clip(noise, -c, c)      TD3, eq. 10 and 14
    critics  loss = mean over critics of huber(Q_c(s, a) - y)
    policy   loss = -mean Q_1(s, pi(s)), every `policy_delay` steps of the critics       DDPG, eq. 6

DDPG is the same with one critic, no noise on targets and no delay. Its noise of exploration is Gaussian, as in TD3,
not a process that remembers. With `policy.nearest` the policy is that of Wolpertinger (arXiv 1512.07679): critics
choose among the items nearest to its point, in targets and, but for a share of the size of the noise, in what is done.
The slope is that at the point.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxrec.config.replay_learners import ActorCriticConfig
from jaxrec.learn import replay as ring
from jaxrec.learn.heads import Streams
from jaxrec.learn.rollout import split_shards
from jaxrec.learn.state import make_optimizer
from jaxrec.learn.value_core import Judgement, Parts, draw, follow, make_replay_learner, reprioritised
from jaxrec.learn.value_state import Explorer, ValueState
from jaxrec.nets.vector_policy import CRITICS, VectorPolicy, make_vector_policy, split
from jaxrec.ops.descend import descend
from jaxrec.ops.losses import td_loss
from jaxrec.ops.schedules import linear
from jaxrec.types import Array, Env, Learner, Metrics, Observation, Params, Transition, VectorAction, World


def make(env: Env, config: ActorCriticConfig) -> Learner:
    """Build DDPG or TD3 over an auto-resetting environment; raises InputError if its actions are not vectors."""
    policy, one = make_vector_policy(env.spec, config.policy), make_optimizer(config)

    def remember(transitions: Transition) -> ring.Experience:
        return ring.experience(transitions, transitions.reward[..., None] * config.reward_scale)

    def explorer(state: ValueState, world: World) -> Explorer:
        items = policy.slates.items(state.params, world)
        noise = linear(state.step, config.noise_start, config.noise_end, config.noise_updates)

        def choose(key: Array, obs: Observation, memory: Streams | None) -> Array:
            keys = split_shards(key, 2)
            point = with_noise(keys[0], policy.best(state.params, items, obs), policy.action, noise, math.inf)
            if not config.policy.nearest:
                return point
            refined = policy.refine(state.params, items, obs, point, world)
            # What critics choose among many neighbours does not depend on the noise, so they do not always choose.
            as_it_is = jax.vmap(lambda k, like: jax.random.uniform(k, like.shape))(keys[1], point[..., 0]) < noise
            return jnp.where(as_it_is[..., None], point, refined)

        return Explorer(choose, {"noise": noise})

    descend_once = partial(gradient_step, policy=policy, optimizer=one, config=config)
    return make_replay_learner(env, config, Parts(policy.slates.init, of_parts(one), explorer, descend_once, remember))


def of_parts(one: optax.GradientTransformation) -> optax.GradientTransformation:
    """States of the optimiser for the policy and for its critics, which take their steps at different times."""

    def init(params: Params) -> Any:
        own, critics = split(params)
        return {"policy": one.init(own), CRITICS: one.init(critics)}

    return optax.GradientTransformation(init, one.update)  # only the start is used


def with_noise(key: Array, point: Array, action: VectorAction, deviation: Array | float, most: float) -> Array:
    """Add Gaussian noise of at most `most` to points [S, B, A] within the range, in halves of it; keys [S]."""
    half = 0.5 * (action.high - action.low) if math.isfinite(action.high) else 1.0
    noise = jax.vmap(lambda k, like: jax.random.normal(k, like.shape))(key, point)
    moved = point + half * jnp.clip(deviation * noise, -most, most)
    return jnp.clip(moved, action.low, action.high)


def gradient_step(
    learned: Any,
    key: Array,
    replay: ring.Replay,
    streams: Streams | None,
    world: World,
    rate: Array,
    *,
    policy: VectorPolicy,
    optimizer: optax.GradientTransformation,
    config: ActorCriticConfig,
) -> tuple[Any, Metrics]:
    """One minibatch: the critics and, every `policy_delay` steps, the policy and the target networks."""
    keys = split_shards(key, 2)
    learned, batch, where = draw(learned, keys[0], replay, config)
    target = targets(keys[1], learned.target_params, policy, batch, world, config)
    own, critics = split(learned.params)
    grad, judged = jax.grad(critic_loss, has_aux=True)(critics, own, policy, batch, target, world, config)
    opt_state = dict(learned.opt_state)
    critics, opt_state[CRITICS] = descend(optimizer, grad, critics, opt_state[CRITICS], rate)
    done = learned.gradient_step + 1

    def improve(kept: tuple[Params, Any, Params]) -> tuple[Params, Any, Params]:
        own, state, target_params = kept
        slope = jax.grad(policy_loss)(own, critics, policy, batch, world)
        own, state = descend(optimizer, slope, own, state, rate)
        moves = done // config.policy_delay
        return own, state, follow(own | critics, target_params, moves, config)

    kept = (own, opt_state["policy"], learned.target_params)
    due = done % config.policy_delay == 0
    own, opt_state["policy"], target_params = jax.lax.cond(due, improve, lambda kept: kept, kept)
    learned = learned.replace(
        params=own | critics, target_params=target_params, opt_state=opt_state, gradient_step=done
    )
    learned = reprioritised(learned, where, judged.error, config)
    return learned, judged.metrics | {"grad_norm": optax.tree.norm(grad)}


def targets(
    key: Array, params: Params, policy: VectorPolicy, batch: ring.Sample, world: World, config: ActorCriticConfig
) -> Array:
    """Targets of the critics from the target networks: [S, B]."""
    items = policy.slates.items(params, world)
    point = policy.best(params, items, batch.next_obs)
    point = with_noise(key, point, policy.action, config.target_noise, config.target_noise_clip)
    action = policy.refine(params, items, batch.next_obs, point, world)
    following = policy.values(params, batch.next_obs, action, world).min(-1)
    return jax.lax.stop_gradient(batch.item_reward.sum(-1) + batch.discount * following)


def critic_loss(
    critics: Params,
    own: Params,
    policy: VectorPolicy,
    batch: ring.Sample,
    target: Array,
    world: World,
    config: ActorCriticConfig,
) -> tuple[Array, Judgement]:
    """Temporal-difference error of the critics, the mean over them."""
    q = policy.values(own | critics, batch.obs, batch.action, world)  # [S, B, critics]
    wanted = jnp.broadcast_to(target[..., None], q.shape)
    error, metrics = td_loss(q, wanted, batch.weight, config.huber)
    return error, Judgement(metrics, jnp.abs(q - wanted).mean(-1))


def policy_loss(own: Params, critics: Params, policy: VectorPolicy, batch: ring.Sample, world: World) -> Array:
    """-mean Q_1(s, pi(s)), whose slope in the parameters of the policy alone is wanted: []."""
    point = policy.best(own, policy.slates.items(own, world), batch.obs)
    q = policy.values(jax.lax.stop_gradient(own) | critics, batch.obs, point, world)[..., 0]
    return -(batch.weight * q).sum() / jnp.maximum(batch.weight.sum(), 1.0)
