"""Residual quantisation on the device: a vector becomes one code per level, each for what the levels before left over.

    r_1 = z,    k_l = argmin_k |r_l - e_lk|^2 + p_lk,    r_(l+1) = r_l - e_(l, k_l),    z ~ sum_l e_(l, k_l)

`e` are the codebooks. A price `p` makes codes that already have many items less attractive (`prices_of`), so that codes
are used evenly. Vectors that were not there when the codebooks were fitted are quantised by the same rule.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from jaxrec.types import Array

ROWS = 4096  # vectors whose distances to all codes are held at a time
DAMPING = 0.2  # share of the new prices at each step


class Autoencoder(struct.PyTreeNode):
    """The two maps around the codebooks of an RQ-VAE: a linear map plus a perceptron, each way."""

    encode: dict[str, Array]  # linear [E, d], in [E, W], in_bias [W], out [W, d]
    decode: dict[str, Array]  # linear [d, E], in [d, W], in_bias [W], out [W, E]


class Quantiser(struct.PyTreeNode):
    """What turns vectors into codes."""

    mean: Array  # [E] of the vectors that it was fitted to
    codebooks: Array  # [L, C, d]; d = E without an autoencoder
    prices: Array  # [L, C]
    autoencoder: Autoencoder | None = None

    @property
    def levels(self) -> int:
        """L, the codes of a vector."""
        return self.codebooks.shape[0]

    @property
    def codes(self) -> int:
        """C, the different codes at each level."""
        return self.codebooks.shape[1]


class Quantised(NamedTuple):
    """Codes of vectors, and what the codebooks make of them."""

    codes: Array  # [N, L] int32
    latent: Array  # [N, d] before
    sums: Array  # [N, d] after


def perceive(maps: dict[str, Array], x: Array) -> Array:
    """Linear map plus a perceptron with one hidden layer: [N, E] -> [N, d] or back."""
    return x @ maps["linear"] + jax.nn.gelu(x @ maps["in"] + maps["in_bias"][None]) @ maps["out"]


def to_latent(quantiser: Quantiser, vectors: Array) -> Array:
    """What is quantised of vectors [N, E]: [N, d]."""
    x = vectors - quantiser.mean[None]
    return x if quantiser.autoencoder is None else perceive(quantiser.autoencoder.encode, x)


def from_latent(quantiser: Quantiser, sums: Array) -> Array:
    """Vectors [N, E] of sums of codebook rows [N, d]."""
    x = sums if quantiser.autoencoder is None else perceive(quantiser.autoencoder.decode, sums)
    return x + quantiser.mean[None]


def nearest(rows: Array, codebook: Array, prices: Array) -> tuple[Array, Array]:
    """The best code of each row, and its squared distance: [N, d], [C, d], [C] -> [N] int32, [N]."""
    squares = jnp.square(rows).sum(-1, keepdims=True) + jnp.square(codebook).sum(-1)[None]
    distances = squares - 2.0 * jnp.matmul(rows, codebook.T, precision=lax.Precision.HIGHEST)
    code = jnp.argmin(distances + prices[None], axis=-1).astype(jnp.int32)
    return code, jnp.maximum(jnp.take_along_axis(distances, code[:, None], axis=-1)[:, 0], 0.0)


def residual_codes(latent: Array, codebooks: Array, prices: Array) -> tuple[Array, Array]:
    """Codes [N, L] int32 of latent vectors [N, d], and the row that each level adds, [N, L, d]."""
    left, codes, rows = latent, [], []
    for codebook, price in zip(codebooks, prices, strict=True):
        code, _ = nearest(left, codebook, price)
        codes.append(code)
        rows.append(codebook[code])
        left = left - rows[-1]
    return jnp.stack(codes, axis=1), jnp.stack(rows, axis=1)


def quantised(quantiser: Quantiser, vectors: Array) -> Quantised:
    """Quantise vectors [N, E], some thousand at a time."""

    def part(vectors: Array) -> Quantised:
        latent = to_latent(quantiser, vectors)
        codes, rows = residual_codes(latent, quantiser.codebooks, quantiser.prices)
        return Quantised(codes, latent, rows.sum(1))

    return _in_parts(part, vectors)


def _in_parts(function: Callable[[Array], Any], rows: Array) -> Any:
    """Apply `function` [n, ...] -> pytree of [n, ...] to rows [N, ...] in parts of at most ROWS rows."""
    count = rows.shape[0]
    if count <= ROWS:
        return function(rows)
    parts = -(-count // ROWS)
    filled = jnp.pad(rows, [(0, parts * ROWS - count)] + [(0, 0)] * (rows.ndim - 1))
    made = lax.map(function, filled.reshape(parts, ROWS, *rows.shape[1:]))
    return jax.tree.map(lambda x: x.reshape(parts * ROWS, *x.shape[2:])[:count], made)


def reconstructed(quantiser: Quantiser, vectors: Array) -> Array:
    """What the codes of vectors [N, E] say about them: [N, E]."""
    return from_latent(quantiser, quantised(quantiser, vectors).sums)


def relative_error(vectors: Array, others: Array, mean: Array) -> Array:
    """Squared error of `others` [N, E], as a share of the squared distance of `vectors` [N, E] to `mean` [E]: []."""
    wrong, spread = (jnp.square(x).sum() for x in (vectors - others, vectors - mean[None]))
    return wrong / jnp.maximum(spread, 1e-12)


def prices_of(loads: Array, error: Array, balance: float) -> Array:
    """Prices of codes with `loads` [C] items whose mean squared error is `error` []: [C].

    They are the slope of balance x error x sum n log n, up to a constant: a code with the mean load costs nothing.
    """
    mean = loads.mean()
    return balance * error * (jnp.log(loads + 1.0) - jnp.log(mean + 1.0))


def damped(before: Array, new: Array) -> Array:
    """A step towards new prices; a whole one would move too many items at once, and then back."""
    return before + DAMPING * (new - before)


def fit_kmeans(key: Array, vectors: Array, levels: int, codes: int, steps: int, balance: float) -> Quantiser:
    """Residual k-means of vectors [N, E], with L = `levels` codebooks of C = `codes` rows; C is at most N.

    Each level starts from the rows that k-means++ draws. In each of `steps` steps, a code without items moves to the
    vector that its own code fits worst.
    """
    mean = vectors.mean(0)

    def level(left: Array, key: Array) -> tuple[Array, tuple[Array, Array]]:
        centres, price = _fit_level(key, left, codes, steps, balance)
        return left - centres[_assigned(left, centres, price)[0]], (centres, price)

    _, (books, prices) = lax.scan(level, vectors - mean[None], jax.random.split(key, levels))
    return Quantiser(mean, books, prices)


def _assigned(rows: Array, centres: Array, prices: Array) -> tuple[Array, Array]:
    """`nearest`, some thousand rows at a time."""
    return _in_parts(lambda part: nearest(part, centres, prices), rows)


def _fit_level(key: Array, rows: Array, codes: int, steps: int, balance: float) -> tuple[Array, Array]:
    """Codebook [C, E] and prices [C] of rows [N, E]."""

    def step(carry: tuple[Array, Array], _: Any) -> tuple[tuple[Array, Array], None]:
        centres, prices = carry
        code, distance = _assigned(rows, centres, prices)
        loads = jnp.zeros(codes).at[code].add(1.0)
        sums = jnp.zeros_like(centres).at[code].add(rows)
        centres = jnp.where(loads[:, None] > 0, sums / jnp.maximum(loads, 1.0)[:, None], centres)
        centres = revived(centres, loads, rows, distance)
        return (centres, damped(prices, prices_of(loads, distance.mean(), balance))), None

    start = seeds(key, rows, codes), jnp.zeros(codes)
    return lax.scan(step, start, None, length=steps)[0]


def revived(centres: Array, loads: Array, rows: Array, distance: Array) -> Array:
    """Move centres [C, E] with a load of 0 to the rows [N, E] of the largest distances [N], each to one of its own."""
    worst = lax.top_k(distance, min(centres.shape[0], rows.shape[0]))[1]
    dead = loads == 0
    turn = jnp.clip(jnp.cumsum(dead) - 1, 0, worst.shape[0] - 1)
    return jnp.where(dead[:, None], rows[worst[turn]], centres)


def seeds(key: Array, rows: Array, count: int) -> Array:
    """Draw rows [count, E] of rows [N, E] by k-means++: each with a chance that grows with its squared distance."""
    noise_keys = jax.random.split(key, count)
    first = jax.random.randint(noise_keys[0], (), 0, rows.shape[0])

    def step(distance: Array, noise_key: Array) -> tuple[Array, Array]:
        row = jax.random.categorical(noise_key, jnp.log(distance + 1e-20))
        return jnp.minimum(distance, jnp.square(rows - rows[row][None]).sum(-1)), row

    distance = jnp.square(rows - rows[first][None]).sum(-1)
    others = lax.scan(step, distance, noise_keys[1:])[1]
    return rows[jnp.concatenate([first[None], others])]
