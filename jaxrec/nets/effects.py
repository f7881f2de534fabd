"""Short-term effects: what was shown lately moves a person's answers, on top of tastes that stay the same.

    effects_f = alike_f (u_i . s) + mood_f r_f + context_f . x
    s = sum_j keep^age(j) u_j              r_f = (1 - keep) sum_j keep^age(j) (answer_jf - P_f(taste, j))

They are added to the calibrated logits of the tastes. u are directions of items, of at most unit length, whose products
say how alike two items are (alike.py). So u_i . s counts recent items like i: a negative coefficient is boredom, a
positive one is immersion. r is how much better than expected the recent answers were. x is the context of the visit. j
runs over the rows of the history, and age(j) is the number of later rows. Items that were shown at the same time share
s and r. What lies between two visits does not matter: an effect wears off by rows.

Coefficients are fitted in effects_fit.py, and are 0 where the log does not confirm them.
"""

import jax.numpy as jnp
from flax import struct

from jaxrec.types import Array

MEMORY = 100  # latest rows that simulated users remember, at most


class Effects(struct.PyTreeNode):
    """Coefficients for each of F kinds of feedback."""

    alike: Array  # [F] of the similarity to recent items
    mood: Array  # [F] of recent surprise
    keep: Array  # [2] share of s and of r that is kept from row to row
    context: Array | None = None  # [C, F] of the visit's context; None: the log has none
    directions: Array | None = None  # [I, k] u; None: the item vectors of the tastes, at unit length


class Recent(struct.PyTreeNode):
    """What is remembered of recent rows."""

    shown: Array  # [..., k] s
    surprise: Array  # [..., F] r


def remembered(effects: Effects, directions: Array, surprise: Array, seen: Array) -> Recent:
    """Sum up rows of a history, newest last: directions [..., H, k], surprise [..., H, F], seen [..., H] bool."""
    age = jnp.arange(seen.shape[-1], dtype=jnp.float32)[::-1]
    fading, there = effects.keep[:, None] ** age[None], seen.astype(jnp.float32)
    return Recent(
        shown=jnp.einsum("h,...h,...hd->...d", fading[0], there, directions),
        surprise=(1.0 - effects.keep[1]) * jnp.einsum("h,...h,...hf->...f", fading[1], there, surprise),
    )


def forgotten(width: int, kinds: int) -> Recent:
    """What is remembered of nothing."""
    return Recent(jnp.zeros(width), jnp.zeros(kinds))


def remember(effects: Effects, recent: Recent, direction: Array, surprise: Array) -> Recent:
    """Add a row with the item's direction [k] and surprise [F]; the same numbers as `remembered`, row by row."""
    shown, felt = effects.keep
    return Recent(shown * recent.shown + direction, felt * recent.surprise + (1.0 - felt) * surprise)


def offsets(effects: Effects, recent: Recent, directions: Array, context: Array | None) -> Array:
    """What the effects add to logits of items with directions [..., K, k]: [..., K, F]."""
    alike = jnp.einsum("...kd,...d->...k", directions, recent.shown)
    same = jnp.einsum("f,...f->...f", effects.mood, recent.surprise)
    if context is not None and effects.context is not None:
        same = same + context @ effects.context
    return jnp.einsum("...k,f->...kf", alike, effects.alike) + same[..., None, :]
