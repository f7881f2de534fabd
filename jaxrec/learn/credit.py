"""Advantages of the single items of a slate.

A slate is drawn item by item, so the gradient of the return is that of each pick's log-probability times what follows
the pick: the rewards of this item and of those after it in the slate, and everything later. Of that, any number may be
subtracted that depends only on what came before the pick.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.checks import InputError
from jaxrec.learn.actor import Actor
from jaxrec.types import Array, Env, EnvSpec, Params, Transition, World


class Picks(struct.PyTreeNode):
    """Rewards of the items of slates, in the order of their picks; unscaled."""

    own: Array  # [..., K] of each item
    expected: Array | None  # [..., K] what the policy expects at this place, given the earlier picks; None: unknown


def check_credit(spec: EnvSpec) -> None:
    """Raise InputError if no reward belongs to a single item."""
    if not any(spec.reward_weights):
        raise InputError(
            f"learner.credit: {spec.name} rewards no feedback of single items; give env.reward a kind of feedback with "
            "a weight, or set learner.credit to slate."
        )


def answers_are_known(env: Env) -> bool:
    """True if the environment says what each item of its catalogue is expected to earn."""
    return env.item_rewards is not None and not env.spec.num_candidates


def picks_of(env: Env, actor: Actor, params: Params, transitions: Transition, world: World) -> Picks:
    """Rewards of the items of slates, expected ones where they are known; transitions are [T, S, N, ...]."""
    if answers_are_known(env):
        return known_picks(env, actor, params, transitions, world)
    return sampled_picks(transitions, env.spec)


def sampled_picks(transitions: Transition, spec: EnvSpec) -> Picks:
    """Rewards of the feedback that users gave."""
    return Picks(transitions.feedback @ jnp.asarray(spec.reward_weights, transitions.feedback.dtype), None)


def known_picks(env: Env, actor: Actor, params: Params, transitions: Transition, world: World) -> Picks:
    """Expected rewards of the person who answered; one step of all users at a time, since all items are scored."""
    items, rewards_of = actor.prepare(params, world), env.item_rewards
    assert rewards_of is not None

    def step(one: Transition) -> Picks:
        rewards = jax.vmap(jax.vmap(rewards_of, (0, None)), (0, None))(one.env_state, world)
        return Picks(*actor.credit(params, items, one.obs, one.action, rewards, world))

    return jax.lax.map(step, transitions)


def pick_advantages(advantage: Array, picks: Picks) -> Array:
    """Divide the advantage of slates [...], whose rewards are in the same unit as the picks, among the picks: [..., K].

    With expectations e of the policy, pick k gets

        own_k - e_k + sum_{j > k} (e_j - e_k) + advantage - sum_j own_j + K e_1

    where e_j stands for the reward of a later item, whose mean it is, and the last three terms are what follows the
    slate. Without them, it is the advantage without the rewards of earlier picks, which are replaced by their mean.
    """
    own, expected = picks.own, picks.expected
    size = own.shape[-1]
    if expected is None:
        earlier = jnp.cumsum(own, axis=-1) - own
        usual = own.mean() * jnp.arange(size, dtype=own.dtype)
        return advantage[..., None] - (earlier - jnp.broadcast_to(usual, earlier.shape))
    after = advantage - own.sum(-1) + size * expected[..., 0]
    later = jnp.cumsum(expected[..., ::-1], axis=-1)[..., ::-1]  # of this place and those after it
    places = jnp.broadcast_to(jnp.arange(size, 0, -1, dtype=own.dtype), own.shape)  # how many these are
    return own - expected + (later - places * expected) + after[..., None]
