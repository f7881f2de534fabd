"""Exploration: slates that deviate from the greedy choice now and then, and what is not known of values yet."""

import jax
import jax.numpy as jnp

from jaxrec.ops.slates import sample_slate, without
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


def epsilon_greedy_log_probs(scores: Array, best: Array, slate: Array, epsilon: Array | float) -> Array:
    """Log-probabilities of the places of `epsilon_greedy_slate`; their sum is that of the slate.

    Scores [..., M], best and slate [..., K] -> [..., K]. Places of `best` that hold M are no part of the slate. With N
    items outside the best slate, the first of E replaced places has one of N items, the next one of N - 1, and so on.
    Place k < N is replaced with probability epsilon, later ones never.
    """
    inside = best < scores.shape[-1]
    outside = (without(scores, best) > -jnp.inf).sum(-1, keepdims=True)  # N
    replaced = (slate != best) & inside
    earlier = jnp.cumsum(replaced, axis=-1) - replaced.astype(jnp.int32)
    can = jnp.expand_dims(jnp.arange(best.shape[-1]), range(best.ndim - 1)) < outside
    drawn = jnp.log(epsilon) - jnp.log(jnp.maximum(outside - earlier, 1).astype(scores.dtype))
    kept = jnp.where(can, jnp.log1p(-epsilon), 0.0)
    return jnp.where(inside, jnp.where(replaced, drawn, kept), 0.0)


def boltzmann_slate(key: Array, scores: Array, temperature: Array | float, slate_size: int) -> Array:
    """Draw slates from softmax(scores / temperature) without replacement; [..., M] -> [..., K] int32.

    The first item is Boltzmann exploration (Sutton and Barto, 2018, section 2.8, "soft-max"). Each further one is drawn
    in the same way from the items that are left.
    """
    return sample_slate(key, scores / temperature, slate_size)


def count_bonus(counts: Array) -> Array:
    """How little is known of each item: sqrt(log(1 + sum n) / (1 + n_i)); [I] -> [I].

    UCB1 (Auer, Cesa-Bianchi and Fischer, 2002) has sqrt(2 log(n) / n_i), after one trial of every item. One more trial
    of each keeps it finite before, and the factor is that of the caller.
    """
    return jnp.sqrt(jnp.log1p(counts.sum()) / (1.0 + counts))


def spread(values: Array) -> Array:
    """Deviation of an ensemble's values, 0 where they are -inf; [E, ..., M] -> [..., M]."""
    return jnp.where(values > -jnp.inf, values, 0.0).std(axis=0)


def redrawn(key: Array, head: Array, ended: Array, heads: int) -> Array:
    """Keep the head of an episode, and draw one of `heads` for the next where it ended; [...] int32, [...] -> [...].

    Bootstrapped DQN (arXiv 1602.04621, algorithm 1): one head is followed for a whole episode, so its guess about what
    comes later is tried out.
    """
    return jnp.where(ended, jax.random.randint(key, head.shape, 0, heads), head)
