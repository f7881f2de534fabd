"""Stochastic policies whose actions are vectors: Gaussians, squashed into the range where there is one."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.checks import InputError
from jaxrec.config.policy import PolicyConfig
from jaxrec.learn.actor import Acted, Actor, Judged
from jaxrec.nets.vector_network import Points
from jaxrec.nets.vector_policy import make_vector_policy
from jaxrec.ops.losses import slate_entropy
from jaxrec.ops.squashed import gaussian_entropy, gaussian_kl, squash, squashed_log_prob
from jaxrec.types import Array, EnvSpec, Observation, Params, World


def make_vector_actor(
    spec: EnvSpec, config: PolicyConfig, *, by_pick: bool = False, temperature: Array | float = 1.0
) -> Actor:
    """Vectors drawn from the policy's Gaussian; raises InputError for slates and for credit by item.

    The temperature multiplies standard deviations.
    """
    if by_pick:
        raise InputError(
            f"learner.credit: item, but a vector of {spec.name} is one action without picks; set it to slate."
        )
    policy = make_vector_policy(spec, config)
    low, high = policy.action.low, policy.action.high

    def gaussian(params: Params, items: Any, obs: Observation) -> tuple[Points, Array]:
        points = policy.points(params, items, obs)
        assert points.log_std is not None, "learners with critics have no Gaussian"
        wider = math.log(temperature) if isinstance(temperature, float) else jnp.log(temperature)
        return points, points.log_std + wider

    def act(key: Array, params: Params, items: Any, obs: Observation, world: World) -> Acted:
        points, log_std = gaussian(params, items, obs)
        noise = jax.vmap(lambda k, like: jax.random.normal(k, like.shape))(key, points.mean)
        action = squash(points.mean + jnp.exp(log_std) * noise, low, high)
        # From the action, as `judge` computes it: near the ends of the range rounding is then the same in both.
        log_prob = squashed_log_prob(action, points.mean, log_std, low, high)
        return Acted(action, log_prob, points.value)  # type: ignore[arg-type]

    def value(params: Params, items: Any, obs: Observation, world: World) -> Array:
        return gaussian(params, items, obs)[0].value  # type: ignore[return-value]

    def judge(params: Params, items: Any, obs: Observation, action: Array, old_log_prob: Array, world: World) -> Judged:
        points, log_std = gaussian(params, items, obs)
        log_prob = squashed_log_prob(action, points.mean, log_std, low, high)

        def entropy() -> Array:
            if math.isfinite(low):  # that of a squashed Gaussian has no closed form
                return slate_entropy(log_prob, old_log_prob)
            return gaussian_entropy(log_std).mean()

        def divergence(other: Params) -> Array:
            there, other_log_std = gaussian(other, policy.slates.items(other, world), obs)
            return gaussian_kl(points.mean, log_std, there.mean, other_log_std).mean()

        return Judged(log_prob, points.value, entropy, divergence)  # type: ignore[arg-type]

    def credit(*_: Any) -> tuple[Array, Array]:
        raise AssertionError("a vector has no picks")

    return Actor(policy.slates.init, policy.slates.items, act, value, judge, credit)
