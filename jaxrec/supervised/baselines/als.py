"""Matrix factorisation of implicit feedback by alternating least squares (Hu, Koren, Volinsky, ICDM 2008).

The loss is the sum over all pairs of users and items of c (p - x_u . y_i)^2, plus `regularisation` times the squares of
all factors. p is 1 and c is 1 + alpha for the pairs of the log, p is 0 and c is 1 for all others. With Y the factors of
all items and Y_u those of the user's items, the best factors of a user are the solution of

    (Y'Y + alpha Y_u'Y_u + regularisation) x_u = (1 + alpha) sum of Y_u

and the same holds for items. Fitting alternates these exact solutions, and a new user is folded in by one of them.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax

from jaxrec.data.log import Log
from jaxrec.ops.elimination import solve_positive
from jaxrec.sharding.compile import compiled
from jaxrec.supervised.baselines.neighbours import distinct_pairs
from jaxrec.types import PADDING, Array

FACTORS, SWEEPS = 64, 10
SHORTEST = 8  # places of the shortest window
PLACES = 2**14  # places of windows that are solved at once
CHUNK = 64  # items of a window whose products are in memory at once


class AlsModel(struct.PyTreeNode):
    """Factors of the items, and what folding in a user needs besides."""

    items: Array  # [I, d]
    gram: Array  # [d, d] Y'Y
    alpha: Array  # []
    regularisation: Array  # []


class Windows(NamedTuple):
    """Users with their items, or items with their users, in blocks of windows of about the same length."""

    owner: Array  # [blocks, B] int32; the number of owners where a block is filled up
    ids: Array  # [blocks, B, L] int32, distinct, with PADDING


def als(
    log: Log, *, alpha: float = 10.0, regularisation: float = 10.0, factors: int = FACTORS, sweeps: int = SWEEPS
) -> AlsModel:
    """Fit factors to the distinct pairs of the log; each sweep solves for all users, then for all items."""
    user, item = distinct_pairs(log)
    users, items = _windows(user, item, log.num_users), _windows(item, user, log.num_items)
    start = factors**-0.5 * jax.random.normal(jax.random.key(0), (log.num_items, factors))
    start = start.at[np.bincount(item, minlength=log.num_items) == 0].set(0.0)
    strength = jnp.asarray(alpha, jnp.float32), jnp.asarray(regularisation, jnp.float32)
    fitted, products = compiled(_sweeps, static=(4, 5))(users, items, start, strength, log.num_users, sweeps)
    return AlsModel(fitted, products, *strength)


def score_als(model: AlsModel, history_items: Array) -> Array:
    """Products of all items with the factors of a user with this history; [..., H] -> [..., I]."""
    ids = jnp.sort(history_items.reshape(-1, history_items.shape[-1]), axis=-1)
    repeated = jnp.concatenate([jnp.zeros_like(ids[:, :1], bool), ids[:, 1:] == ids[:, :-1]], axis=-1)
    ids = jnp.where(repeated, PADDING, ids)  # a pair that repeats counts once
    with jax.default_matmul_precision("highest"):
        users = solve(model.items, model.gram, ids, (model.alpha, model.regularisation))
        scores = users @ model.items.T
    return scores.reshape(*history_items.shape[:-1], model.items.shape[0])


def solve(factors: Array, products: Array, ids: Array, strength: tuple[Array, Array]) -> Array:
    """Best factors of owners whose windows hold the distinct `ids` [B, L] into `factors` [N, d]: [B, d].

    `products` [d, d] is the gram of all factors, `strength` alpha and the regularisation. Windows shorter than d need a
    system of L instead of d unknowns: with M = Y'Y + regularisation, the solution is
    (1 + alpha) M^-1 Y_u' (1 + alpha Y_u M^-1 Y_u')^-1 1.
    """
    alpha, regularisation = strength
    width, length = factors.shape[1], ids.shape[1]
    ridge = products + regularisation * jnp.eye(width)
    if length >= width:
        own, total = _window_sums(factors, ids)
        return solve_positive(ridge[None] + alpha * own, (1 + alpha) * total[..., None])[..., 0]
    rows = _rows(factors, ids)  # [B, L, d]
    scaled = rows @ solve_positive(ridge[None], jnp.eye(width)[None])[0]
    inner = jnp.eye(length)[None] + alpha * jnp.einsum("bld,bmd->blm", scaled, rows)
    weight = solve_positive(inner, jnp.ones((*ids.shape, 1)))[..., 0]
    return (1 + alpha) * jnp.einsum("bl,bld->bd", weight, scaled)


def _rows(factors: Array, ids: Array) -> Array:
    """Factors of ids, zeros for PADDING: [..., d]."""
    return jnp.where((ids != PADDING)[..., None], factors[jnp.maximum(ids, 0)], 0.0)


def _window_sums(factors: Array, ids: Array) -> tuple[Array, Array]:
    """Products and sums of each window's factors: [B, L] -> [B, d, d], [B, d]."""
    size, width = ids.shape[0], factors.shape[1]
    chunk = min(CHUNK, ids.shape[1])
    ids = jnp.pad(ids, ((0, 0), (0, -ids.shape[1] % chunk)), constant_values=PADDING)

    def add(sums: tuple[Array, Array], part: Array) -> tuple[tuple[Array, Array], None]:  # part [B, chunk]
        rows = _rows(factors, part)
        return (sums[0] + jnp.einsum("bld,ble->bde", rows, rows), sums[1] + rows.sum(1)), None

    empty = jnp.zeros((size, width, width)), jnp.zeros((size, width))
    return lax.scan(add, empty, jnp.moveaxis(ids.reshape(size, -1, chunk), 1, 0))[0]


def _sweeps(
    users: tuple[Windows, ...],
    items: tuple[Windows, ...],
    start: Array,
    strength: tuple[Array, Array],
    num_users: int,
    sweeps: int,
) -> tuple[Array, Array]:
    """Alternate from item factors `start` [I, d]; returns those of the last sweep, and their gram [d, d]."""

    def side(windows: tuple[Windows, ...], factors: Array, size: int) -> Array:
        products, found = factors.T @ factors, jnp.zeros((size, factors.shape[1]))
        for part in windows:
            solved = lax.map(partial(solve, factors, products, strength=strength), part.ids)
            found = found.at[part.owner].set(solved, mode="drop")
        return found

    def sweep(_: int, factors: Array) -> Array:
        return side(items, side(users, factors, num_users), factors.shape[0])

    with jax.default_matmul_precision("highest"):
        fitted = lax.fori_loop(0, sweeps, sweep, start)
        return fitted, fitted.T @ fitted


def _windows(owner: np.ndarray, other: np.ndarray, size: int) -> tuple[Windows, ...]:
    """Group `other` [N] by `owner` [N], in windows of a few lengths; owners without pairs are absent."""
    order = np.argsort(owner, kind="stable")
    owner, other = owner[order], other[order]
    start, count = np.searchsorted(owner, np.arange(size)), np.bincount(owner, minlength=size)
    length = SHORTEST * 4 ** np.ceil(np.log(np.maximum(count / SHORTEST, 1)) / np.log(4) - 1e-9).astype(int)
    groups = []
    for window in np.unique(length[count > 0]):
        who = np.flatnonzero((length == window) & (count > 0))
        batch = min(max(1, PLACES // window), len(who))
        place = np.arange(window)
        rows = np.minimum(start[who, None] + place, len(other) - 1)
        ids = np.where(place < count[who, None], other[rows], PADDING)
        blocks = -(-len(who) // batch)
        missing = blocks * batch - len(who)
        ids = np.pad(ids, ((0, missing), (0, 0)), constant_values=PADDING).reshape(blocks, batch, window)
        who = np.pad(who, (0, missing), constant_values=size).reshape(blocks, batch)
        groups.append(Windows(jnp.asarray(who, jnp.int32), jnp.asarray(ids, jnp.int32)))
    return tuple(groups)
