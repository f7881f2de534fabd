"""All items, looking ahead: rank by the expected immediate reward plus what showing the item changes later.

    score(i | obs) = r(i) + later(i)

r is the expected immediate reward of the drawn person, as in `jaxrec.learn.all_items`. What is shown now moves later
answers through a memory s that fades (`jaxrec.types.ItemMemory`), and the simulator knows how. So the later part is not
estimated from noisy returns. It is computed for every item, along whole visits of the current policy, backwards:

    G_t = r_t + c_t G_{t+1}                                        c_t = gamma P(stay after slate t)
    D_t = dr_t/ds + gamma dP(stay)/ds G_{t+1} + c_t keep^K D_{t+1}             D_t = dG_t/ds_t
    later_t(i) = c_t u_i . D_{t+1} keep^((K-1)/2) + gamma dP(stay)/dr G_{t+1} r_t(i)

r_t is the expected reward of the slate that was shown, u_i the direction in which item i moves the memory. The shown
slates are held fixed in the derivative: where they are the best ones, changing them changes nothing to first order (the
envelope theorem). D is the costate of optimal control (Pontryagin). Policies see neither the person nor the memory, and
are fitted to r and later of all items that may be shown, so that they learn the mean of both given the observation.

Compared with policy gradients, every state teaches about every item, and nothing depends on whether a user happened to
leave. Users who would leave are kept where the environment can do so (`stay` of a step). What follows then counts as
much as it is likely, in the rewards that lie ahead and in the weight of the states.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.checks import InputError
from jaxrec.config.every_item import FarSightedConfig
from jaxrec.learn.all_items import all_items_loss, check_env, collect, reward_range, weighted_mean
from jaxrec.learn.minibatches import descend_epochs, flat_steps
from jaxrec.learn.rollout import experience_metrics, split_shards
from jaxrec.learn.state import LearnerState, annealed_rate, make_init, make_optimizer
from jaxrec.nets.policy import PolicyOutput, make_policy
from jaxrec.types import Array, Env, Expected, ItemMemory, Learner, Metrics, Observation, Params, Transition, World


class Ahead(struct.PyTreeNode):
    """What the later part of all items is made of, leaves [..., *]."""

    push: Array  # [..., d] later rewards by the memory
    gain: Array  # [...] later rewards by the reward of the slate
    reach: Array  # [...] weight of the state: the chance that the user is still there, over its mean


class Batch(struct.PyTreeNode):
    """What the losses read; leaves [S, B, ...], and [N, ...] of a minibatch."""

    obs: Observation
    env_state: Any
    ahead: Ahead


def make(env: Env, config: FarSightedConfig) -> Learner:
    """Build the learner over an auto-resetting environment that knows `item_rewards` and `memory`.

    Raises InputError for other environments.
    """
    check_env(env, config.name)
    memory = env.memory
    if memory is None:
        raise InputError(
            "learner.name: far_sighted looks ahead through short-term effects, and these users have none that is "
            "known; use all_items."
        )
    policy = make_policy(env.spec, config.policy)
    optimizer = make_optimizer(config)
    low, high = reward_range(env.spec, config.name)

    def objective(params: Params, batch: Batch, world: World) -> tuple[Array, Metrics]:
        assert env.item_rewards is not None
        known = jax.vmap(env.item_rewards, (0, None))(batch.env_state, world)
        later = later_of_items(batch.ahead, known, memory.directions(world)) / (high - low)
        output = policy.apply(params, policy.items(params, world), batch.obs, world)
        loss, error = all_items_loss(immediate(output), (known - low) / (high - low), batch.ahead.reach)
        off = later_loss(output, later, batch.ahead.reach)
        return loss + config.later_coef * off, {"loss": loss, "mean_error": error, "later_loss": off}

    def update(state: LearnerState, world: World) -> tuple[LearnerState, Metrics]:
        users, transitions = collect(env, policy, state, world, config)
        ahead = look_ahead(memory, transitions, world, config.gamma)
        batch = flat_steps(Batch(transitions.obs, transitions.env_state, ahead))
        key, key_epochs = split_shards(users.key, 2)
        rate = annealed_rate(config, state)

        params, opt_state, metrics = descend_epochs(
            lambda params, part: objective(params, part, world), optimizer, state, key_epochs, batch, config, rate
        )
        metrics |= experience_metrics(users, transitions) | {"learning_rate": rate}
        state = state.replace(params=params, opt_state=opt_state, users=users.replace(key=key), step=state.step + 1)
        return state, metrics

    return Learner(make_init(env, config, policy.init, optimizer), update)


def look_ahead(memory: ItemMemory, transitions: Transition, world: World, gamma: float) -> Ahead:
    """Go back through transitions [T, S, N, ...]; what lies after their end and after episodes counts nothing."""
    slate_size = transitions.action.shape[-1]
    keep = memory.keep(world)
    over = jax.vmap(jax.vmap(memory.expected, (0, 0, None)), (0, 0, None))
    ended = transitions.terminated | transitions.truncated
    stay = jnp.ones_like(transitions.reward) if transitions.stay is None else transitions.stay

    def back(after: tuple[Array, Array], step: tuple[Any, Array, Array, Array]) -> tuple[tuple[Array, Array], Ahead]:
        state, slate, stay, ended = step
        seen: Expected = over(state, slate, world)
        value, push = (jnp.where(ended[(...,) + (None,) * (x.ndim - ended.ndim)], 0.0, x) for x in after)
        going_on = gamma * stay
        ahead = Ahead(
            reach=jnp.zeros_like(value),
            push=going_on[..., None] * keep ** ((slate_size - 1) / 2) * push,
            gain=gamma * seen.stay_gain * value,
        )
        moved = seen.reward_slope + gamma * seen.stay_slope * value[..., None]
        before = seen.reward + going_on * value, moved + going_on[..., None] * keep**slate_size * push
        return before, ahead

    width = memory.directions(world).shape[-1]
    nothing = jnp.zeros(ended.shape[1:]), jnp.zeros((*ended.shape[1:], width))
    steps = transitions.env_state, transitions.action, stay, ended
    ahead: Ahead = jax.lax.scan(back, nothing, steps, reverse=True)[1]
    reach = still_there(stay, ended)
    return ahead.replace(reach=reach / reach.mean())


def still_there(stay: Array, ended: Array) -> Array:
    """The chance that users have stayed until each step [T, ...], from that after each step; 1 in a new episode."""

    def step(there: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        chance, over = now
        return jnp.where(over, 1.0, there * chance), there

    return jax.lax.scan(step, jnp.ones_like(stay[0]), (stay, ended))[1]


def later_of_items(ahead: Ahead, known: Array, directions: Array) -> Array:
    """What showing each item changes later: [..., R], from expected rewards [..., R] and directions [R, k]."""
    return ahead.push @ directions.T + ahead.gain[..., None] * known


def immediate(output: PolicyOutput) -> PolicyOutput:
    """The output as the all-item loss reads it: logits of immediate rewards, -inf where an item may not be shown."""
    assert output.future is not None
    return output.replace(logits=jnp.where(output.logits > -jnp.inf, output.future.immediate, -jnp.inf))


def later_loss(output: PolicyOutput, later: Array, weights: Array | None = None) -> Array:
    """Half the mean squared error of the later part [..., R], over the items that may be shown and then over states."""
    assert output.future is not None
    open_ = output.logits > -jnp.inf
    square = jnp.where(open_, jnp.square(output.future.later - later), 0.0).sum(-1)
    return 0.5 * weighted_mean(square / jnp.maximum(open_.sum(-1), 1).astype(square.dtype), weights)
