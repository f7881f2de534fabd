"""The posterior of users' tastes given the items: Laplace's approximation, the population, draws."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.data.log import Log
from jaxrec.nets.tastes import Belief, Moments, Tastes, design
from jaxrec.ops.parts import rounded_up
from jaxrec.sharding.compile import compiled
from jaxrec.supervised.contrast import DrawnItems, asked_of
from jaxrec.types import Array

ROWS_PER_CHUNK = 8192  # of the log, when curvatures are summed: [rows, F, D, D] would not fit for all rows
NEWTON_STEPS = 3  # from the fitted value, which is nearly the most likely one


class Rows(NamedTuple):
    """The rows of a log, and perhaps padding."""

    user: Any  # [R] int32; -1 in padding
    item: Any  # [R] int32
    answer: Any  # [R, F]
    offset: Any  # [R, F] added to the logits by short-term effects


class Users(NamedTuple):
    """Posterior of theta for users with given items."""

    mean: Array  # [U, F, D]
    precision: Array  # [U, F, D, D]


def rows_of(log: Log, offset: np.ndarray | None = None) -> Rows:
    """The rows of a log, with offsets [R, F], None for 0.

    Host arrays, which compiled functions take as they are: to put one on the device compiles a program for its shape.
    """
    answer = np.asarray(log.feedback)
    moved = np.zeros_like(answer) if offset is None else np.asarray(offset, answer.dtype)
    return Rows(np.asarray(log.user, np.int32), np.asarray(log.item, np.int32), answer, moved)


def padded(rows: Rows) -> Rows:
    """Rows in chunks, [chunks, n, ...]; padding belongs to user -1."""
    return _with_padding(rows, in_chunks)


def filled_up(rows: Rows) -> Rows:
    """Rows with padding, which belongs to user -1, up to one of few sizes; see `to_few_sizes`."""
    return _with_padding(rows, to_few_sizes)


def _with_padding(rows: Rows, pad: Callable[[Any, int], np.ndarray]) -> Rows:
    return Rows(pad(rows.user, -1), pad(rows.item, 0), pad(rows.answer, 0), pad(rows.offset, 0))


def in_chunks(x: Array | np.ndarray, fill: int) -> np.ndarray:
    """Cut [R, ...] into [chunks, n, ...], with a last chunk that is filled up."""
    size = min(ROWS_PER_CHUNK, max(len(x), 1))
    return _longer(x, -len(x) % size, fill).reshape(-1, size, *x.shape[1:])


def to_few_sizes(x: Array | np.ndarray, fill: int) -> np.ndarray:
    """Fill up [R, ...] to one of few sizes, so that fits to parts of a log share compiled programs."""
    return _longer(x, rounded_up(len(x)) - len(x), fill)


def _longer(x: Array | np.ndarray, more: int, fill: int) -> np.ndarray:
    return np.pad(np.asarray(x), ((0, more),) + ((0, 0),) * (x.ndim - 1), constant_values=fill)


def user_posterior(
    vectors: Array,
    logits: Array,
    precision: Array,
    start: Array,
    chunks: Rows,
    others: DrawnItems | None = None,
    means: Array | float = 0.0,
) -> Users:
    """Laplace's approximation for every user: Newton's method from `start` [U, F, D], then the curvature there.

    Item vectors [I, d] and logits [I, F] are given. The prior has `precision` [D] and `means` [U, F, D]. `others` are
    drawn next to the rows, in the same chunks.
    """
    size = start.shape[-1]
    prior = jnp.diag(precision)[None, None]

    def sums(theta: Array) -> tuple[Array, Array]:
        """Gradient [U, F, D] and curvature [U, F, D, D] of the negative log posterior."""

        def add(carry: tuple[Array, Array], part: tuple[Rows, Array | None]):
            (gradient, curvature), (rows, drawn) = carry, part
            x, p, own = _answers(vectors, logits, theta, rows)
            slope = ((p - rows.answer) * own)[..., None] * x[:, None]
            bend = (p * (1 - p) * own)[..., None, None] * (x[:, :, None] * x[:, None, :])[:, None]
            if others is not None and drawn is not None:
                x, p, asked = _drawn_answers(vectors, logits, theta, rows, drawn, others)
                slope = slope + jnp.einsum("nkf,nkd->nfd", p * asked, x)
                bend = bend + jnp.einsum("nkf,nkd,nke->nfde", p * (1 - p) * asked, x, x)
            return (gradient.at[rows.user].add(slope), curvature.at[rows.user].add(bend)), None

        zero = (precision[None, None] * (theta - means), jnp.broadcast_to(prior, (*theta.shape, size)))
        return jax.lax.scan(add, zero, (chunks, None if others is None else others.items))[0]

    def newton(theta: Array, _: None):
        gradient, curvature = sums(theta)
        return theta - jnp.linalg.solve(curvature, gradient[..., None])[..., 0], None

    mean = jax.lax.scan(newton, start, None, length=NEWTON_STEPS)[0]
    return Users(mean, sums(mean)[1])


def doubt_about_users(
    vectors: Array, logits: Array, users: Users, chunks: Rows, others: DrawnItems | None = None
) -> Array:
    """How much doubt about its users an item meets: sums over its rows, and those it is drawn for, [I, D, D].

    What is summed is the covariance of theta of the row's user, times the curvature p (1 - p) of the row's loss. Half
    of x' doubt x, with x = (1, v_i), is what this doubt adds to the expected loss of the item's rows, to second order.
    Rows in chunks, items and `others` are those of `user_posterior`.
    """
    covariance = jnp.linalg.inv(users.precision)

    def add(doubt: Array, part: tuple[Rows, Array | None]) -> tuple[Array, None]:
        rows, drawn = part
        _, p, own = _answers(vectors, logits, users.mean, rows)
        doubt = doubt.at[rows.item].add(jnp.einsum("nf,nfde->nde", p * (1 - p) * own, covariance[rows.user]))
        if others is not None and drawn is not None:
            _, p, asked = _drawn_answers(vectors, logits, users.mean, rows, drawn, others)
            doubt = doubt.at[drawn].add(jnp.einsum("nkf,nfde->nkde", p * (1 - p) * asked, covariance[rows.user]))
        return doubt, None

    size = users.mean.shape[-1]
    start = jnp.zeros((len(vectors), size, size))
    return jax.lax.scan(add, start, (chunks, None if others is None else others.items))[0]


def _answers(vectors: Array, logits: Array, theta: Array, rows: Rows) -> tuple[Array, Array, Array]:
    """Designs [n, D] and probabilities [n, F] of rows, and 1 or, for padding, 0: [n, 1]."""
    x = design(vectors[rows.item])
    z = logits[rows.item] + rows.offset + jnp.einsum("nfd,nd->nf", theta[rows.user], x)
    return x, jax.nn.sigmoid(z), (rows.user >= 0)[:, None].astype(z.dtype)


def _drawn_answers(
    vectors: Array, logits: Array, theta: Array, rows: Rows, drawn: Array, others: DrawnItems
) -> tuple[Array, Array, Array]:
    """Designs [n, N, D] and probabilities [n, N, F] of items drawn for rows, and for which kinds they are 0."""
    x = design(vectors[drawn])
    p = jax.nn.sigmoid(logits[drawn] + jnp.einsum("nfd,nkd->nkf", theta[rows.user], x))
    return x, p, asked_of(drawn, others.drawing)


def population_of(users: Users, rated: Array) -> Belief:
    """Distribution of theta over the users `rated` [U] bool: that of their means plus the mean of their covariances."""
    share = rated.astype(jnp.float32) / rated.sum().astype(jnp.float32)
    centre = jnp.einsum("u,ufd->fd", share, users.mean)
    off = users.mean - centre[None]
    spread = jnp.einsum("u,ufd,ufe->fde", share, off, off)
    return Belief(centre, spread + jnp.einsum("u,ufde->fde", share, jnp.linalg.inv(users.precision)))


def expected_logits(tastes: Tastes, users: Users, rows: Rows) -> Moments:
    """Logits of rows [R] under the posterior."""
    moments = compiled(_expected_logits)(tastes, users, filled_up(rows))
    return jax.tree.map(lambda x: np.asarray(x)[: len(rows.user)], moments)


def _expected_logits(tastes: Tastes, users: Users, rows: Rows) -> Moments:
    x = design(tastes.item_vectors[rows.item])
    mean = tastes.item_logits[rows.item] + jnp.einsum("rfd,rd->rf", users.mean[rows.user], x)
    covariance = jnp.linalg.inv(users.precision)
    return Moments(mean, jnp.einsum("rd,rfde,re->rf", x, covariance[rows.user], x), rows.offset)


def with_draws(tastes: Tastes, users: Users, count: int, seed: int) -> Tastes:
    """Tastes with M = `count` posterior draws of every user, with the calibrated share of the variance."""
    key = jax.random.fold_in(jax.random.key(seed), 2)
    draws = compiled(_draws, static=3)(users, tastes.link.spread, key, count)
    return tastes.replace(means=users.mean, draws=draws)


def _draws(users: Users, spread: Array, key: Array, count: int) -> Array:
    noise = jax.random.normal(key, (count, *users.mean.shape)) * jnp.sqrt(spread)[None, None, :, None]
    factor = jnp.linalg.cholesky(users.precision)  # precision = L L', so L'^-1 noise has its inverse as covariance
    upper = jnp.broadcast_to(jnp.swapaxes(factor, -1, -2)[None], (*noise.shape, noise.shape[-1]))
    return users.mean[None] + jax.scipy.linalg.solve_triangular(upper, noise[..., None])[..., 0]
