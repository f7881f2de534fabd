"""Choice models, by name: which of the shown items a user chooses, given one score per item.

A score is how much the user likes a shown item, on the user model's own scale. A model needs at most K uniform
numbers, so that a step can draw all its randomness at once.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.config.choice import ChoiceConfig
from jaxrec.types import Array


class ChoiceNumbers(struct.PyTreeNode):
    """The constants of a choice model as arrays, so that other values need no new program and may differ by user."""

    none: Array  # []
    decay: Array  # []


class Choice(NamedTuple):
    """How one user chooses."""

    pick: Callable[[Array, Array], Array]  # (scores [K], uniform [draws]) -> chosen [K], 0 or 1
    draws: Callable[[int], int]  # how many numbers `pick` needs for a slate of K
    single: bool  # at most one item is chosen


def proportional(config: ChoiceConfig | ChoiceNumbers) -> Choice:
    """P(i) = (s_i + 1) / (sum_j (s_j + 1) + none + 1), for scores from -1 (RecSim's multinomial proportional)."""

    def pick(scores: Array, uniform: Array) -> Array:
        return _one_of(jnp.maximum(scores + 1.0, 0.0), config.none + 1.0, uniform)

    return Choice(pick, lambda slate_size: 1, single=True)


def logit(config: ChoiceConfig | ChoiceNumbers) -> Choice:
    """P(i) = exp(s_i) / (sum_j exp(s_j) + exp(none)) (multinomial logit)."""

    def pick(scores: Array, uniform: Array) -> Array:
        peak = jnp.maximum(scores.max(), config.none)
        return _one_of(jnp.exp(scores - peak), jnp.exp(config.none - peak), uniform)

    return Choice(pick, lambda slate_size: 1, single=True)


def cascade(config: ChoiceConfig | ChoiceNumbers) -> Choice:
    """Read from the top; choose item i with chance sigmoid(s_i) and stop, else read on with chance `decay`.

    This is the cascade model (Craswell et al., WSDM 2008) with a persistence of `decay`: P(i) = sigmoid(s_i)
    prod_{j<i} (1 - sigmoid(s_j)) decay.
    """

    def pick(scores: Array, uniform: Array) -> Array:
        attraction = jax.nn.sigmoid(scores)
        reached = jnp.cumprod(jnp.concatenate([jnp.ones(1), (1.0 - attraction[:-1]) * config.decay]))
        taken = attraction * reached
        return _one_of(taken, 1.0 - taken.sum(), uniform)

    return Choice(pick, lambda slate_size: 1, single=True)


def position(config: ChoiceConfig | ChoiceNumbers) -> Choice:
    """Choose each item independently: P(i) = sigmoid(s_i) decay^i, i = 0..K-1 (position-based model)."""

    def pick(scores: Array, uniform: Array) -> Array:
        chex.assert_equal_shape([scores, uniform])
        attention = config.decay ** jnp.arange(scores.shape[0], dtype=scores.dtype)
        return (uniform < jax.nn.sigmoid(scores) * attention).astype(jnp.float32)

    return Choice(pick, lambda slate_size: slate_size, single=False)


def _one_of(weights: Array, none: Array | float, uniform: Array) -> Array:
    """Choose item i with chance weights_i / (sum of weights + none), or nothing; [K], [], [1] -> [K] of 0 and 1."""
    chex.assert_rank(weights, 1)
    chex.assert_shape(uniform, (1,))
    upper = jnp.cumsum(weights)
    lower = jnp.concatenate([jnp.zeros(1, upper.dtype), upper[:-1]])  # the same edges: no mark is between two items
    mark = uniform[0] * (upper[-1] + none)
    return ((mark >= lower) & (mark < upper)).astype(jnp.float32)


CHOICES = {"proportional": proportional, "logit": logit, "cascade": cascade, "position": position}


def make_choice(config: ChoiceConfig, numbers: ChoiceNumbers | None = None) -> Choice:
    """Build the choice model that a config names, with its constants or with `numbers` instead."""
    return CHOICES[config.name](config if numbers is None else numbers)


def choice_numbers(config: ChoiceConfig) -> ChoiceNumbers:
    """Turn the constants of a config into arrays."""
    return ChoiceNumbers(none=jnp.asarray(config.none, jnp.float32), decay=jnp.asarray(config.decay, jnp.float32))
