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
PARTS = 32  # parts of the rows that choose their codes one after the other, at least


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


def prices_of(loads: Array, gain: Array, balance: float) -> Array:
    """Prices of codes with `loads` [C] items at a level that lowers the mean squared error by `gain` []: [C].

    They are the derivative of balance x gain x sum n log n, up to a constant: a code with the mean load costs nothing.
    The gain is the unit because it is the scale on which the distances of an item to the codes differ; later levels
    have small gains next to their errors.
    """
    mean = loads.mean()
    return balance * gain * (jnp.log(loads + 1.0) - jnp.log(mean + 1.0))


def sweep(rows: Array, centres: Array, code: Array, gain: Array, balance: float) -> Array:
    """Give rows [N, d] with codes [N] the best codes [N] of centres [C, d], at prices that follow the loads.

    A part of the rows chooses at a time, and the next part sees the prices of the loads that this one leaves. If all
    rows chose at once, they would move to the cheap codes together, and back in the next step.
    """
    count, parts = rows.shape[0], max(PARTS, -(-rows.shape[0] // ROWS))
    size = -(-count // parts)
    # Part p has the rows p, p + parts, ..., which are a fair sample in any order of the catalogue.
    place = jnp.arange(size * parts).reshape(size, parts).T
    loads = loads_of(code, centres.shape[0])

    def choose(loads: Array, place: Array) -> tuple[Array, Array]:
        here = jnp.minimum(place, count - 1)
        weight = (place < count).astype(loads.dtype)
        loads = loads.at[code[here]].add(-weight)
        new, _ = nearest(rows[here], centres, prices_of(loads, gain, balance))
        return loads.at[new].add(weight), new

    return lax.scan(choose, loads, place)[1].T.reshape(-1)[:count]


def fit_kmeans(key: Array, vectors: Array, levels: int, codes: int, steps: int, balance: float) -> Quantiser:
    """Residual k-means of vectors [N, E], with L = `levels` codebooks of C = `codes` rows; C is at most N.

    Each level starts from the rows that k-means++ draws. In each of `steps` steps, a code without items moves to the
    vector that its own code fits worst. The second half of the steps makes the loads even (`_fit_level`).
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
    """Codebook [C, E] and prices [C] of rows [N, E].

    The first half of the steps is k-means without prices, whose gain is the unit of the prices. The others balance the
    loads n, and those of the lowest cost are kept:

        cost = mean squared distance + balance x gain x mean over the rows of log(n / mean of n)
    """
    free, count = jnp.zeros(codes), rows.shape[0]

    def plain(centres: Array, _: Any) -> tuple[Array, None]:
        return _means(rows, *_assigned(rows, centres, free), centres), None

    centres = lax.scan(plain, seeds(key, rows, codes), None, length=steps - steps // 2)[0]
    gain = gain_of(rows, _assigned(rows, centres, free)[1])

    def step(carry: tuple[_Level, _Level], _: Any) -> tuple[tuple[_Level, _Level], None]:
        now, best = carry
        code, distance = _assigned(rows, now.centres, now.prices)
        loads = loads_of(code, codes)
        uneven = (loads * jnp.log(jnp.maximum(loads, 1.0) * codes / count)).sum() / count
        now = now._replace(cost=distance.mean() + balance * gain * uneven)
        best = jax.tree.map(lambda new, old: jnp.where(now.cost < best.cost, new, old), now, best)
        code = sweep(rows, now.centres, code, gain, balance)
        centres = _means(rows, code, jnp.square(rows - now.centres[code]).sum(-1), now.centres)
        return (_Level(centres, prices_of(loads_of(code, codes), gain, balance), now.cost), best), None

    start = _Level(centres, free, jnp.float32(jnp.inf))
    _, best = lax.scan(step, (start, start), None, length=steps // 2 + 1)[0]
    return best.centres, best.prices


class _Level(NamedTuple):
    """One level of a fit."""

    centres: Array  # [C, E]
    prices: Array  # [C]
    cost: Array  # []


def loads_of(code: Array, codes: int) -> Array:
    """Items of each of C = `codes` codes: [N] -> [C]."""
    return jnp.zeros(codes).at[code].add(1.0)


def gain_of(rows: Array, distance: Array) -> Array:
    """By how much codes at squared distances [N] lower the mean square of rows [N, d]: []."""
    return jnp.maximum(jnp.square(rows).sum(-1).mean() - distance.mean(), 0.0)


def _means(rows: Array, code: Array, distance: Array, centres: Array) -> Array:
    """Centres [C, d] of the rows [N, d] with each code [N]; those without rows move, see `revived`."""
    loads = loads_of(code, centres.shape[0])
    sums = jnp.zeros_like(centres).at[code].add(rows)
    centres = jnp.where(loads[:, None] > 0, sums / jnp.maximum(loads, 1.0)[:, None], centres)
    return revived(centres, loads, rows, distance)


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
