"""Stochastic policies: drawing actions, their log-probability and the policy's entropy.

Policy-gradient learners reach actions only through this interface, so the form of an action is known only here.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.config.policy import PolicyConfig
from jaxrec.nets.policy import PolicyOutput, cooled, drawn_slate, make_policy, to_items, to_positions
from jaxrec.ops.losses import categorical_entropy, categorical_kl, slate_entropy
from jaxrec.ops.slates import expected_of_picks, pick_log_probs, slate_log_prob
from jaxrec.ops.spread_slates import spread_log_probs
from jaxrec.types import Array, EnvSpec, Observation, Params, World


class Acted(struct.PyTreeNode):
    """Sampled actions with their log-probability and value under the policy."""

    action: Array  # [S, N, *EnvSpec.action.shape]
    log_prob: Array  # [S, N] of the slate, or [S, N, K] of its picks
    value: Array  # [S, N] expected discounted return, in scaled rewards


class Judged(NamedTuple):
    """Log-probability, value and entropy of a policy for actions of an older one; losses differentiate through it."""

    log_prob: Array  # [S, B] of the slate, or [S, B, K] of its picks
    value: Array  # [S, B]
    entropy: Callable[[], Array]  # -> [] of the policy, mean over the batch; computed only by losses that need it
    # Parameters of another policy -> [], KL(this policy || the other) of items or vectors, mean over the batch.
    divergence: Callable[[Params], Array]


class Actor(NamedTuple):
    """Pure functions of a stochastic policy. `prepare` computes `items` once for all calls with the same parameters."""

    init: Callable[[Array, World], Params]
    prepare: Callable[[Params, World], Any]  # params, world -> items
    act: Callable[[Array, Params, Any, Observation, World], Acted]  # key [S], params, items, obs [S, N, ...], world
    value: Callable[[Params, Any, Observation, World], Array]  # params, items, obs, world -> [S, N]
    # params, items, obs [S, B, ...], action, log_prob [S, B] of the policy that acted, world
    judge: Callable[[Params, Any, Observation, Array, Array, World], Judged]
    # params, items, obs [S, B, ...], action, rewards [S, B, R] of all items, world -> those of the items of the slate
    # and what the policy expects at their places, given the earlier ones: [S, B, K] each
    credit: Callable[[Params, Any, Observation, Array, Array, World], tuple[Array, Array]]


def make_slate_actor(
    spec: EnvSpec, config: PolicyConfig, *, by_pick: bool = False, temperature: Array | float = 1.0
) -> Actor:
    """Slates drawn from the Plackett-Luce model of the policy's logits; raises InputError for other actions.

    Logits are divided by the temperature. Log-probabilities are those of whole slates or, `by_pick`, of each pick given
    the earlier ones.
    """
    slate_size = spec.slate_size
    policy = make_policy(spec, config)

    def log_prob_of(output: PolicyOutput, slate: Array) -> Array:
        if output.spread is None:
            return pick_log_probs(output.logits, slate) if by_pick else slate_log_prob(output.logits, slate)
        picks = spread_log_probs(output.logits, output.spread, slate)
        return picks if by_pick else picks.sum(-1)

    def outputs(params: Params, items: Any, obs: Observation, world: World, slate: Array | None = None) -> PolicyOutput:
        return cooled(policy.apply(params, items, obs, world, slate), temperature)

    def act(key: Array, params: Params, items: Any, obs: Observation, world: World) -> Acted:
        output = outputs(params, items, obs, world)
        positions = jax.vmap(partial(drawn_slate, slate_size=slate_size))(key, output)
        log_prob = log_prob_of(output, positions)
        return Acted(to_items(positions, obs, world), log_prob, output.value)

    def value(params: Params, items: Any, obs: Observation, world: World) -> Array:
        return policy.apply(params, items, obs, world).value

    def judge(params: Params, items: Any, obs: Observation, action: Array, old_log_prob: Array, world: World) -> Judged:
        slate = to_positions(action, obs, world)
        output = outputs(params, items, obs, world, slate)
        log_prob = log_prob_of(output, slate)

        def entropy() -> Array:
            if slate_size == 1:
                return categorical_entropy(first_pick_logits(output))
            return slate_entropy(*(x.sum(-1) if by_pick else x for x in (log_prob, old_log_prob)))

        def divergence(other: Params) -> Array:
            there = outputs(other, policy.items(other, world), obs, world)
            return categorical_kl(first_pick_logits(output), first_pick_logits(there))

        return Judged(log_prob, output.value, entropy, divergence)

    def credit(
        params: Params, items: Any, obs: Observation, action: Array, rewards: Array, world: World
    ) -> tuple[Array, Array]:
        slate = to_positions(action, obs, world)
        expected = expected_of_picks(outputs(params, items, obs, world).logits, slate, rewards)
        return jnp.take_along_axis(rewards, slate, axis=-1), expected

    return Actor(policy.init, policy.items, act, value, judge, credit)


def first_pick_logits(output: PolicyOutput) -> Array:
    """Logits of the first item of a slate: [..., M]."""
    if output.spread is None:
        return output.logits
    return output.logits + jnp.take_along_axis(output.spread.bonus[..., 0], output.spread.groups, axis=-1)
