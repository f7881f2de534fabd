"""Filling a log's gaps: means of users and items plus factors by alternating least squares, on the device.

    value(u, i) = mean + user_bias[u] + item_bias[i] + users[u] . items[i]

Biases are shrunk means (items' first, then users' of the remainder). Factors minimise the squared error of the rest
with a penalty of ridge n |factors|^2 for a user or item of n rows (ALS-WR, Zhou et al., AAIM 2008).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrec.checks import InputError
from jaxrec.config.full_matrix import FactorsConfig
from jaxrec.data.log import Log
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array

BLOCK = 4096  # rows whose outer products are in memory at once
LARGEST = 500_000_000  # entries of a matrix, 2 GB
HELD_OUT = 0.1  # of the rows, for the report


class Factors(struct.PyTreeNode):
    """A factorised matrix of values."""

    mean: Array  # []
    user_bias: Array  # [U]
    item_bias: Array  # [I]
    users: Array  # [U, rank]
    items: Array  # [I, rank]

    def matrix(self) -> Array:
        """All values: [U, I]."""
        return self.mean + self.user_bias[:, None] + self.item_bias[None, :] + self.users @ self.items.T

    def rows(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Values of pairs [R], [R] -> [R]."""
        biases = self.mean + self.user_bias[user] + self.item_bias[item]
        return np.asarray(biases + (self.users[user] * self.items[item]).sum(-1))


class _Rows(struct.PyTreeNode):
    """Rows of a log in blocks [blocks, BLOCK]; the last one is filled up with rows of weight 0."""

    user: Array
    item: Array
    value: Array
    weight: Array


def factorise(
    user: np.ndarray, item: np.ndarray, value: np.ndarray, shape: tuple[int, int], config: FactorsConfig, seed: int
) -> Factors:
    """Fit users [R], items [R] and values [R] of a log with `shape` (users, items)."""
    mean = float(value.mean())
    rest = value.astype(np.float64) - mean
    item_bias = _shrunk_means(item, rest, shape[1], config.bias_strength)
    rest -= item_bias[item]
    user_bias = _shrunk_means(user, rest, shape[0], config.bias_strength)
    rest -= user_bias[user]
    start = 0.1 * jax.random.normal(jax.random.key(seed), (shape[1], config.rank))
    users, items = compiled(partial(_sweeps, config, shape))(_blocks(user, item, rest), start)
    means, user_biases, item_biases = (jnp.asarray(x, jnp.float32) for x in (mean, user_bias, item_bias))
    return Factors(means, user_biases, item_biases, users, items)


def matrix_of_log(log: Log, config: FactorsConfig, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Predict every user's value for every item, [U, I], within the range of the log's values; also gives a report.

    The log has one kind of feedback. The report compares a fit without a tenth of the rows, drawn at random, with the
    biases alone on that tenth: root mean squared errors. Raises InputError for several kinds and for huge matrices.
    """
    if len(log.feedback_names) != 1:
        raise InputError(
            f"data.feedback: a matrix holds one kind of feedback, got {', '.join(log.feedback_names)}; keep one."
        )
    shape = log.num_users, log.num_items
    if shape[0] * shape[1] > LARGEST:
        raise InputError(
            f"data: a matrix of {shape[0]:,} users and {shape[1]:,} items is too large; raise data.min_user_rows or "
            "data.min_item_rows."
        )
    value, ids = log.feedback[:, 0], (log.user, log.item)
    held = np.random.default_rng(seed).random(len(log)) < HELD_OUT
    report: dict[str, Any] = {"rows": len(log), "held_out_rows": int(held.sum())}
    if 0 < report["held_out_rows"] < len(log):
        part = factorise(log.user[~held], log.item[~held], value[~held], shape, config, seed)
        flat = part.replace(users=jnp.zeros_like(part.users))
        for name, fit in (("rmse", part), ("rmse_biases", flat)):
            error = np.clip(fit.rows(log.user[held], log.item[held]), value.min(), value.max()) - value[held]
            report[name] = float(np.sqrt(np.mean(error**2)))
    whole = factorise(*ids, value, shape, config, seed)
    return np.clip(np.asarray(whole.matrix()), value.min(), value.max()), report


def _sweeps(config: FactorsConfig, shape: tuple[int, int], rows: _Rows, items: Array) -> tuple[Array, Array]:
    """Solve for users, then items, `sweeps` times from items [I, rank]."""
    user_counts, item_counts = (
        jnp.zeros(size).at[where.reshape(-1)].add(rows.weight.reshape(-1))
        for size, where in zip(shape, (rows.user, rows.item), strict=True)
    )

    def sweep(_: int, factors: tuple[Array, Array]) -> tuple[Array, Array]:
        users = _solve(config.ridge, user_counts, rows.user, rows.item, rows, factors[1])
        return users, _solve(config.ridge, item_counts, rows.item, rows.user, rows, users)

    return jax.lax.fori_loop(0, config.sweeps, sweep, (jnp.zeros((shape[0], config.rank)), items))


def _solve(ridge: float, counts: Array, own: Array, other: Array, rows: _Rows, factors: Array) -> Array:
    """Least squares of one side, [N, rank], given the `factors` of the other; ids `own`, `other` as in `rows`."""
    size, rank = counts.shape[0], factors.shape[1]

    def add(sums: tuple[Array, Array], block: tuple[Array, ...]) -> tuple[tuple[Array, Array], None]:
        own, other, value, weight = block
        x = factors[other] * weight[:, None]
        products, totals = sums
        products = products.at[own].add(x[:, :, None] * x[:, None, :])
        return (products, totals.at[own].add(x * value[:, None])), None

    empty = jnp.zeros((size, rank, rank)), jnp.zeros((size, rank))
    (products, totals), _ = jax.lax.scan(add, empty, (own, other, rows.value, rows.weight))
    penalty = ridge * jnp.maximum(counts, 1.0)[:, None, None] * jnp.eye(rank)[None]
    chol = jax.scipy.linalg.cho_factor(products + penalty)
    return jax.scipy.linalg.cho_solve(chol, totals[..., None])[..., 0]


def _blocks(user: np.ndarray, item: np.ndarray, value: np.ndarray) -> _Rows:
    count = -(-len(user) // BLOCK) * BLOCK

    def fill(x: np.ndarray, dtype: Any) -> Array:
        return jnp.asarray(np.pad(x.astype(dtype), (0, count - len(x))).reshape(-1, BLOCK))

    ids = fill(user, np.int32), fill(item, np.int32)
    return _Rows(*ids, fill(value, np.float32), fill(np.ones(len(user)), np.float32))


def _shrunk_means(group: np.ndarray, value: np.ndarray, size: int, strength: float) -> np.ndarray:
    """Means of each group [R] of values [R], shrunk towards 0 by `strength` rows: [size]."""
    return np.bincount(group, value, size) / (np.bincount(group, minlength=size) + strength)
