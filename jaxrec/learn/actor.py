"""Stochastic policies: drawing actions, their log-probability and the policy's entropy.

Policy-gradient learners reach actions only through this interface, so the form of an action is known only here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import struct

from jaxrec.config.learners import PolicyConfig
from jaxrec.nets.policy import make_policy, to_items, to_positions
from jaxrec.ops.losses import categorical_entropy, slate_entropy
from jaxrec.ops.slates import sample_slate, slate_log_prob
from jaxrec.types import Array, EnvSpec, Observation, Params, World


class Acted(struct.PyTreeNode):
    """Sampled actions with their log-probability and value under the policy."""

    action: Array  # [S, N, *EnvSpec.action.shape]
    log_prob: Array  # [S, N]
    value: Array  # [S, N] expected discounted return, in scaled rewards


class Judged(NamedTuple):
    """Log-probability, value and entropy of a policy for actions of an older one; losses differentiate through it."""

    log_prob: Array  # [S, B]
    value: Array  # [S, B]
    entropy: Callable[[], Array]  # -> [] of the policy, mean over the batch; computed only by losses that need it


class Actor(NamedTuple):
    """Pure functions of a stochastic policy. `prepare` computes `items` once for all calls with the same parameters."""

    init: Callable[[Array, World], Params]
    prepare: Callable[[Params, World], Any]  # params, world -> items
    act: Callable[[Array, Params, Any, Observation, World], Acted]  # key [S], params, items, obs [S, N, ...], world
    value: Callable[[Params, Any, Observation, World], Array]  # params, items, obs, world -> [S, N]
    # params, items, obs [S, B, ...], action, log_prob [S, B] of the policy that acted, world
    judge: Callable[[Params, Any, Observation, Array, Array, World], Judged]


def make_slate_actor(spec: EnvSpec, config: PolicyConfig) -> Actor:
    """Slates drawn from the Plackett-Luce model of the policy's logits; raises InputError for other actions."""
    slate_size = spec.slate_size
    policy = make_policy(spec, config)

    def act(key: Array, params: Params, items: Any, obs: Observation, world: World) -> Acted:
        output = policy.apply(params, items, obs, world)
        positions = jax.vmap(lambda k, logits: sample_slate(k, logits, slate_size))(key, output.logits)
        log_prob = slate_log_prob(output.logits, positions)
        return Acted(to_items(positions, obs, world), log_prob, output.value)

    def value(params: Params, items: Any, obs: Observation, world: World) -> Array:
        return policy.apply(params, items, obs, world).value

    def judge(params: Params, items: Any, obs: Observation, action: Array, old_log_prob: Array, world: World) -> Judged:
        output = policy.apply(params, items, obs, world)
        log_prob = slate_log_prob(output.logits, to_positions(action, obs, world))

        def entropy() -> Array:
            return categorical_entropy(output.logits) if slate_size == 1 else slate_entropy(log_prob, old_log_prob)

        return Judged(log_prob, output.value, entropy)

    return Actor(policy.init, policy.items, act, value, judge)
