"""The parts that all on-policy learners share: acting, advantage estimation, and epochs of minibatch steps.

Learners differ only in the loss and in what has an advantage: `make_on_policy(env, config, loss)`. Advantages come from
GAE per user stream. Minibatches are drawn by a permutation per shard, so that data never leaves its device.
"""

from collections.abc import Callable
from functools import partial

import chex
import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.checks import InputError
from jaxrec.config.on_policy import OnPolicyConfig
from jaxrec.learn.actor import Actor, Judged, make_slate_actor
from jaxrec.learn.credit import Picks, answers_are_known, check_credit, pick_advantages, picks_of, sampled_picks
from jaxrec.learn.minibatches import descend_epochs, flat_steps
from jaxrec.learn.rollout import Decision, Users, critic_view, experience_metrics, rollout, split_shards
from jaxrec.learn.state import LearnerState, annealed_rate, make_init, make_optimizer
from jaxrec.learn.vector_actor import make_vector_actor
from jaxrec.ops.moments import Moments, add_batch, no_moments
from jaxrec.ops.returns import gae
from jaxrec.ops.schedules import linear
from jaxrec.types import Array, Env, EnvSpec, Learner, Metrics, Observation, Params, Transition, VectorAction, World


class OnPolicyState(LearnerState):
    """The state of a learner that remembers more; others have the state of all learners, and its checkpoints."""

    targets: Moments | None = None  # of the value's targets, if they are normalised
    start: Params | None = None  # of the policy that learning began from, if the policy is pulled to it


class Extras(struct.PyTreeNode):
    """Log-probability and values of a transition under the policy that acted."""

    log_prob: Array  # [...], or [..., K] of the picks
    value: Array  # [...]
    final_value: Array  # [...] of final_obs where the episode was truncated, else 0


class Batch(struct.PyTreeNode):
    """Transitions as a loss reads them, leaves [S, N T, ...], and [N, ...] of a minibatch."""

    obs: Observation
    action: Array  # [S, B, *EnvSpec.action.shape]
    log_prob: Array  # [S, B] of the action when it was taken, or [S, B, K] of its picks
    value: Array  # [S, B] estimated at that time
    advantage: Array  # [S, B], or [S, B, K] of the picks
    target: Array  # [S, B] for the value


# The current policy's output for a minibatch, and the minibatch -> [], metrics.
Loss = Callable[[Judged, Batch], tuple[Array, Metrics]]


def make_on_policy(env: Env, config: OnPolicyConfig, loss: Loss, *, by_pick: bool = False) -> Learner:
    """Build a learner over an auto-resetting environment, whose actions are slates or vectors.

    With `by_pick`, every item of a slate has a log-probability and an advantage of its own.
    """
    make_actor = make_vector_actor if isinstance(env.spec.action, VectorAction) else make_slate_actor
    actor_at = partial(make_actor, env.spec, config.policy, by_pick=by_pick)
    fresh = actor_at().init
    if by_pick:
        check_credit(env.spec)
        if config.policy.repetition != "none" and answers_are_known(env):
            raise InputError(
                f"learner.credit: {env.spec.name} knows expected answers, which are not known of picks that depend on "
                "earlier ones; set learner.credit to slate, or learner.policy.repetition to none."
            )
    optimizer = make_optimizer(config)

    def init(key: Array, world: World, params: Params | None = None) -> LearnerState:
        first = make_init(env, config, fresh, optimizer)(key, world, params)
        if not (config.normalise_targets or config.start_kl):
            return first
        return OnPolicyState(
            **vars(first),
            targets=no_moments() if config.normalise_targets else None,
            start=jax.tree.map(jnp.copy, first.params) if config.start_kl else None,
        )

    def objective(params: Params, batch: Batch, state: LearnerState, world: World) -> tuple[Array, Metrics]:
        actor = actor_at(temperature=temperature(config, state))
        items = actor.prepare(params, world)
        judged = actor.judge(params, items, batch.obs, batch.action, batch.log_prob, world)
        total, metrics = loss(judged, batch)
        if isinstance(state, OnPolicyState) and state.start is not None:
            distance = judged.divergence(state.start)
            total += start_weight(config, state) * distance
            metrics |= {"start_kl": distance}
        return total, metrics | {"loss": total}

    def update(state: LearnerState, world: World) -> tuple[LearnerState, Metrics]:
        known = by_pick and answers_are_known(env)
        targets = state.targets if isinstance(state, OnPolicyState) else None
        actor = actor_at(temperature=temperature(config, state))
        users, transitions, next_value = collect(env, actor, state, world, config, targets, keep_states=known)
        picks = picks_of(env, actor, state.params, transitions, world) if by_pick else None
        batch = to_batch(transitions, next_value, config, env.spec, picks)
        metrics = {"explained_variance": explained_variance(batch.value, batch.target)}
        if targets is not None:
            targets = add_batch(targets, batch.target)
            batch = normalised(batch, targets)
            metrics |= {"target_mean": targets.mean, "target_deviation": targets.deviation}
        key, key_epochs = split_shards(users.key, 2)
        rate = annealed_rate(config, state)
        of_batch = partial(objective, state=state, world=world)
        params, opt_state, more = descend_epochs(of_batch, optimizer, state, key_epochs, batch, config, rate)
        metrics |= more | experience_metrics(users, transitions) | {"learning_rate": rate}
        state = state.replace(params=params, opt_state=opt_state, users=users.replace(key=key), step=state.step + 1)
        return state if targets is None else state.replace(targets=targets), metrics

    return Learner(init, update)


def temperature(config: OnPolicyConfig, state: LearnerState) -> Array | float:
    """By what logits are divided in the next update: constant, or linear over `temperature_updates`."""
    steps = config.temperature_updates
    return linear(state.step, config.temperature, config.temperature_end, steps) if steps else config.temperature


def start_weight(config: OnPolicyConfig, state: LearnerState) -> Array | float:
    """Weight of the pull to the starting policy in the next update: constant, or linear over `start_kl_updates`."""
    steps = config.start_kl_updates
    return linear(state.step, config.start_kl, config.start_kl_end, steps) if steps else config.start_kl


def collect(
    env: Env,
    actor: Actor,
    state: LearnerState,
    world: World,
    config: OnPolicyConfig,
    targets: Moments | None = None,
    *,
    keep_states: bool = False,
) -> tuple[Users, Transition, Array]:
    """Roll out the current policy; transitions and next values are [T, S, N, ...], values in scaled rewards.

    `targets` are the moments in which the network predicts values, if there are some.
    """
    items, show_hidden = actor.prepare(state.params, world), config.policy.value == "hidden"

    def restored(value: Array) -> Array:
        return value if targets is None else targets.restore(value)

    def value_of(obs: Observation) -> Array:
        return restored(actor.value(state.params, items, obs, world))

    def act(key: Array, obs: Observation) -> Decision:
        acted = actor.act(key, state.params, items, obs, world)
        value = restored(acted.value)
        return Decision(acted.action, Extras(acted.log_prob, value, jnp.zeros_like(value)))

    def finish(extras: Extras, final_obs: Observation, truncated: Array) -> Extras:
        # A real branch (nothing here is under vmap): most steps truncate no episode and skip the second forward pass.
        value = jax.lax.cond(truncated.any(), value_of, lambda obs: jnp.zeros_like(extras.value), final_obs)
        return extras.replace(final_value=jnp.where(truncated, value, 0.0))

    users, transitions = rollout(
        env, act, finish, state.users, world, config.horizon, keep_states=keep_states, show_hidden=show_hidden
    )
    last = critic_view(env, users, world) if show_hidden else users.obs
    following = jnp.concatenate([transitions.extras.value[1:], value_of(last)[None]])
    next_value = jnp.where(transitions.truncated, transitions.extras.final_value, following)
    return users, transitions, next_value


def to_batch(
    transitions: Transition, next_value: Array, config: OnPolicyConfig, spec: EnvSpec, picks: Picks | None
) -> Batch:
    """Advantages per user stream, of slates or of their picks, then [T, S, N, ...] -> [S, T N, ...]."""
    value, reward = transitions.extras.value, transitions.reward
    if picks is not None and picks.expected is not None and spec.items_add_up:
        reward = reward + (picks.own - sampled_picks(transitions, spec).own).sum(-1)
    reward = reward * config.reward_scale
    chex.assert_equal_shape((reward, value, next_value))  # [T, S, N]: a lost axis would broadcast
    ended = (transitions.terminated, transitions.truncated)
    advantage = gae(reward, value, next_value, *ended, config.gamma, config.gae_lambda)
    target = advantage + value
    if picks is not None:
        advantage = pick_advantages(advantage, jax.tree.map(lambda x: x * config.reward_scale, picks))
    batch = Batch(
        obs=transitions.obs,
        action=transitions.action,
        log_prob=transitions.extras.log_prob,
        value=value,
        advantage=advantage,
        target=target,
    )
    return flat_steps(batch)


def normalised(batch: Batch, targets: Moments) -> Batch:
    """The batch with values and their targets as the network predicts them."""
    return batch.replace(value=targets.normalise(batch.value), target=targets.normalise(batch.target))


def standardised(advantage: Array) -> Array:
    """Advantages at mean 0 and deviation 1 over the minibatch of all shards."""
    return (advantage - advantage.mean()) / (advantage.std() + 1e-8)


def explained_variance(value: Array, target: Array) -> Array:
    """1 - Var(target - value) / Var(target); 1 for a perfect critic, 0 for a constant one."""
    return 1.0 - (target - value).var() / jnp.maximum(target.var(), 1e-8)
