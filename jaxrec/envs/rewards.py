"""Rewards by name: a weighted sum of what the users gave back."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp

from jaxrec.checks import check_name
from jaxrec.types import Array

Reward = Callable[[Array], Array]


def make_reward(reward: Mapping[str, float], feedback: tuple[str, ...]) -> Reward:
    """Give a function [K, F] -> []: the sum over the slate of weight times feedback."""
    for name in reward:
        check_name("env.reward", name, feedback)
    weights = tuple(float(reward.get(name, 0.0)) for name in feedback)

    def weighted(values: Array) -> Array:
        return (values * jnp.asarray(weights, values.dtype)[None, :]).sum()

    return weighted
