"""What the choice of items tells about a person's tastes, whatever the answers were.

People answer what they chose or were chosen for, and that is seldom what they dislike. A fit to the answers alone
knows nothing about items of a kind that a person avoids, and so expects of them what the average person gives. Hence
the prior mean of a user's tastes p_u is

    A m_u        m_u = sum over the user's n rows (v_j - centre) / (n + FEW)

v_j are the vectors of the rows' items, and their mean over all rows is the centre: a user about whom nothing is known
has the mean 0. This is the implicit feedback of SVD++ (Koren, 2008, equation 15), with item vectors that are shared.
Each kind of feedback has its own A; one that is 1 in every row has none, since the choice is its answer. A row is
predicted from the user's *other* rows, since it would explain itself.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.types import Array

FEW = 5.0  # rows that an average person is taken to have had before the first


class Exposure(struct.PyTreeNode):
    """What is learned from the items of a user's rows."""

    weights: Array  # [F, d, d] A
    centre: Array  # [d] mean vector of the log's rows
    covariance: Array  # [F, D, D] of A m_u over the users; the bias, which comes first, has none


class Met(NamedTuple):
    """The items of rows."""

    total: Array  # [..., d] sum of v_j - centre
    rows: Array  # [...] number of them


def met_by(vectors: Array, rows: Any, users: int, centre: Array) -> Met:
    """The items that users met, from item vectors [I, d] and rows (`taste_posterior.Rows`) of users below `users`.

    Rows of user -1, which are padding, are left out.
    """
    total = jax.ops.segment_sum(vectors[rows.item] - centre[None], rows.user, users)
    return Met(total, jax.ops.segment_sum(jnp.ones(rows.item.shape), rows.user, users))


def mean_of(met: Met) -> Array:
    """Give m of the items met: [..., d]."""
    return met.total / (met.rows + FEW)[..., None]


def prior_means(weights: Array, met: Met) -> Array:
    """Prior means of the tastes p: [..., F, d]."""
    return jnp.einsum("fde,...e->...fd", weights, mean_of(met))


def of_other_rows(weights: Array, met: Met) -> tuple[Array, Array]:
    """Tables of users [U, F, d] and [U] that predict a row from its user's other rows; see `of_itself`."""
    share = 1.0 / (met.rows - 1.0 + FEW)
    return jnp.einsum("fde,ue->ufd", weights, met.total) * share[:, None, None], share


def of_itself(weights: Array, vectors: Array, centre: Array) -> Array:
    """What items [I, d] tell about themselves: [I, F].

    The product p'v of a row (u, i), p being the prior mean of the taste of u from the other rows, is tastes[u] v_i -
    share[u] own[i], with `tastes, share = of_other_rows(...)` and `own = of_itself(...)`. A is applied to users and to
    items, not to rows: rows are many, and their products with A took most of the time of a fit.
    """
    means = jnp.einsum("fde,ie->ifd", weights, vectors - centre[None])
    return (means * vectors[:, None]).sum(-1)


def with_bias(tastes: Array) -> Array:
    """Add a bias of 0 before tastes: [..., F, d] -> [..., F, D]."""
    return jnp.concatenate([jnp.zeros_like(tastes[..., :1]), tastes], axis=-1)


def exposure_of(weights: Array, centre: Array, centres: Array, rated: Array) -> Exposure:
    """What is learned from items, given prior means `centres` [U, F, D], of which those of users `rated` [U] count."""
    share = rated.astype(jnp.float32) / rated.sum().astype(jnp.float32)
    off = centres - jnp.einsum("u,ufd->fd", share, centres)[None]
    return Exposure(weights, centre, jnp.einsum("u,ufd,ufe->fde", share, off, off))


def counts_of(item: Array, real: Array, items: int) -> Array:
    """Rows of each item below `items`, from items and `real` (1, or 0 in padding) of the same shape: [I]."""
    return jnp.zeros(items).at[item].add(real)


def centre_of(vectors: Array, counts: Array) -> Array:
    """Mean vector of the rows' items: [d]."""
    return counts @ vectors / counts.sum()


def nothing_met(exposure: Exposure) -> Met:
    """Before the first row."""
    return Met(jnp.zeros_like(exposure.centre), jnp.zeros(()))


def meet(exposure: Exposure, met: Met, vector: Array) -> tuple[Met, Array]:
    """Add an item [d]; gives also what that adds to the prior mean [F, D]."""
    after = Met(met.total + vector - exposure.centre, met.rows + 1.0)
    moved = prior_means(exposure.weights, after) - prior_means(exposure.weights, met)
    return after, with_bias(moved)


def still_open(exposure: Exposure, met: Met) -> Array:
    """Covariance [F, D, D] of the prior mean that later rows will move: all of it before the first row."""
    return FEW / (FEW + met.rows) * exposure.covariance
