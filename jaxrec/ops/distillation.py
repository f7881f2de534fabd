"""Losses that move a student's vectors to a teacher's: arrays in, (scalar, metrics) out."""

import chex
import jax.numpy as jnp
from jax import lax

from jaxrec.types import Array, Metrics


def vector_loss(student: Array, teacher: Array) -> tuple[Array, Metrics]:
    """Mean of 1 - cosine; unit vectors [B, E] and [B, E] -> ([], metrics).

    Half the squared distance, which is what sentence-transformers' distillation minimises (arXiv:2004.09813).
    """
    chex.assert_equal_shape([student, teacher])
    cosine = (student * teacher).sum(axis=-1).mean()
    return 1.0 - cosine, {"loss": 1.0 - cosine, "cosine": cosine}


def relation_loss(student: Array, teacher: Array) -> tuple[Array, Metrics]:
    """Mean squared difference between cosines of a batch; unit vectors [B, E] and [B, D] -> ([], metrics).

    The two may have different widths (relational distillation, arXiv:1904.05068). Pairs of a text with itself are left
    out: there is nothing to learn from them.
    """
    difference = _cosines(student) - _cosines(teacher)
    others = len(student) * (len(student) - 1)
    loss = (difference**2).sum() / others  # the diagonal is zero up to rounding
    return loss, {"loss": loss, "cosine_error": jnp.sqrt(loss)}


def agreement(student: Array, teacher: Array) -> Array:
    """Pearson correlation of the cosines between the texts of two encoders; [B, E], [B, D] -> [].

    1 if both encoders give the same similarities up to scale and shift, which is what ranking by similarity depends
    on.
    """
    upper = jnp.triu(jnp.ones((len(student),) * 2), k=1)
    one, other = (
        jnp.where(upper > 0, x - (x * upper).sum() / upper.sum(), 0.0) for x in map(_cosines, (student, teacher))
    )
    return (one * other).sum() / jnp.maximum(jnp.sqrt((one**2).sum() * (other**2).sum()), 1e-12)


def _cosines(x: Array) -> Array:
    return jnp.matmul(x, x.T, precision=lax.Precision.HIGHEST)
