"""Exploration: slates that deviate from the greedy choice now and then."""

import jax
import jax.numpy as jnp

from jaxrec.ops.slates import without
from jaxrec.ops.top_k import top_k
from jaxrec.types import Array


def epsilon_greedy_slate(key: Array, scores: Array, best: Array, epsilon: Array | float) -> Array:
    """Replace each item of the best slate at random with probability `epsilon`; [..., M], [..., K] -> [..., K] int32.

    Replacements are drawn uniformly and without repetition from the items outside the best slate whose score is not
    -inf. A place keeps its best item if none of them remains. Places are independent, so the slate keeps
    (1 - epsilon) K of its best items on average, and K = 1 is ordinary epsilon-greedy over the other items.
    """
    key_others, key_places = jax.random.split(key)
    lottery = jnp.where(scores > -jnp.inf, jax.random.uniform(key_others, scores.shape), -jnp.inf)
    lottery = without(lottery, best)
    luck, others = top_k(lottery, best.shape[-1])
    explore = (jax.random.uniform(key_places, best.shape) < epsilon) & (luck > -jnp.inf)
    return jnp.where(explore, others, best)
