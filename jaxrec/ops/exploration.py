"""Exploration: slates that leave the greedy choice now and then."""

import jax
import jax.numpy as jnp

from jaxrec.ops.slates import top_slate, without
from jaxrec.ops.top_k import top_k
from jaxrec.types import Array


def epsilon_greedy_slate(key: Array, scores: Array, slate_size: int, epsilon: Array | float) -> Array:
    """Fill each place of the best slate, with chance `epsilon`, at random instead; [..., M] -> [..., K] int32.

    The stand-ins are drawn uniformly and without repetition from the items outside the best slate whose score is not
    -inf; a place keeps its best item where none of them is left. Every place is judged alone, so the slate keeps
    (1 - epsilon) K of its best items on average, and K = 1 is ordinary epsilon-greedy over the other items.
    """
    key_others, key_places = jax.random.split(key)
    best = top_slate(scores, slate_size)  # [..., K]
    lottery = jnp.where(scores > -jnp.inf, jax.random.uniform(key_others, scores.shape), -jnp.inf)
    lottery = without(lottery, best)
    luck, others = top_k(lottery, slate_size)
    explore = (jax.random.uniform(key_places, best.shape) < epsilon) & (luck > -jnp.inf)
    return jnp.where(explore, others, best)
