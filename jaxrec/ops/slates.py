"""Slates without repetition under the Plackett-Luce model."""

import jax
import jax.numpy as jnp

from jaxrec.ops.top_k import top_k
from jaxrec.types import Array

BLOCK = 128  # candidates in a block
FEW_PER_PICK = 4  # blocks for each pick, from which on they are cheaper than noise for every candidate


def top_slate(logits: Array, slate_size: int) -> Array:
    """Positions of the `slate_size` highest scores, best first; [..., M] -> [..., K] int32."""
    return top_k(logits, slate_size)[1]


def diverse_slate(gains: Array, vectors: Array, weight: Array, slate_size: int) -> Array:
    """Slates by maximal marginal relevance (Carbonell and Goldstein, 1998): [..., M] -> [..., K] int32.

    Item after item, the pick maximises gains [..., M] - weight [...] max_j cos(i, j) over the items j picked before,
    where cosines below 0 count as 0. `vectors` [M, W] or [..., M, W] have unit length. Where gains are -inf, an item is
    picked only if fewer than K others remain.
    """

    def pick(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        gains, alike = carry
        best = jnp.argmax(gains - weight[..., None] * alike, axis=-1)
        here = jax.nn.one_hot(best, gains.shape[-1], dtype=bool)
        if vectors.ndim == 2:
            cosines = vectors[best] @ vectors.T
        else:
            own = jnp.take_along_axis(vectors, best[..., None, None], axis=-2)
            cosines = jnp.einsum("...kw,...mw->...m", own, vectors)
        return (jnp.where(here, -jnp.inf, gains), jnp.maximum(alike, cosines)), best.astype(jnp.int32)

    lowest = jnp.finfo(gains.dtype).min / 2  # above the -inf of items that have been picked
    _, picks = jax.lax.scan(pick, (jnp.maximum(gains, lowest), jnp.zeros_like(gains)), length=slate_size)
    return jnp.moveaxis(picks, 0, -1)


def sample_slate(key: Array, logits: Array, slate_size: int) -> Array:
    """Draw slates without replacement by Gumbel noise and top-K; [..., M] -> [..., K] int32.

    Sorting perturbed logits is exactly sequential sampling from the renormalised softmax (Kool et al.,
    arXiv 1903.06059). Masked candidates have logits -inf and are drawn only where fewer than K remain.

    With many candidates, only those of the K blocks with the highest perturbed logits get noise of their own
    (`_sample_in_blocks`). The distribution is the same.
    """
    if logits.shape[-1] >= FEW_PER_PICK * BLOCK * slate_size:
        return _sample_in_blocks(key, logits, slate_size, BLOCK)
    return top_slate(logits + jax.random.gumbel(key, logits.shape, logits.dtype), slate_size)


def _sample_in_blocks(key: Array, logits: Array, slate_size: int, block: int) -> Array:
    """Draw as `sample_slate` does, from blocks of candidates and then inside the first of them; at least K blocks.

    The highest perturbed logit of a block has a Gumbel distribution around the logsumexp of its logits. So these
    maxima are drawn first. The K best candidates are in the K blocks with the highest maxima, and there the noise of
    every candidate is drawn given the maximum of its block (Kool et al., appendix B). This is M exponentials and few
    random numbers in place of M random numbers and 2 M logarithms.
    """
    key_blocks, key_inside = jax.random.split(key)
    size = logits.shape[-1]
    filled = -logits.shape[-1] % block
    logits = jnp.pad(logits, [(0, 0)] * (logits.ndim - 1) + [(0, filled)], constant_values=-jnp.inf)
    logits = logits.reshape(*logits.shape[:-1], -1, block)
    peak = logits.max(-1)
    total = jnp.exp(logits - jnp.where(peak > -jnp.inf, peak, 0.0)[..., None]).sum(-1)
    noise = jax.random.gumbel(key_blocks, peak.shape, logits.dtype)
    highest, blocks = top_k(peak + jnp.log(jnp.maximum(total, 1.0)) + noise, slate_size)
    inside = jnp.take_along_axis(logits, blocks[..., None], axis=-2)
    perturbed = given_maximum(key_inside, inside, highest[..., None])
    # Masked candidates are picked before what only fills up the last block.
    place = blocks[..., None] * block + jax.lax.broadcasted_iota(blocks.dtype, inside.shape, inside.ndim - 1)
    lowest = jnp.finfo(perturbed.dtype).min / 2
    perturbed = jnp.where(place < size, jnp.maximum(perturbed, lowest), -jnp.inf)
    best = top_slate(perturbed.reshape(*perturbed.shape[:-2], -1), slate_size)
    return jnp.take_along_axis(blocks, best // block, axis=-1) * block + best % block


def given_maximum(key: Array, logits: Array, highest: Array) -> Array:
    """Logits with Gumbel noise, given that the largest of each row is `highest`; [..., M], [..., 1] -> [..., M].

    exp(-G') = exp(-T) - exp(-Z) + exp(-G) for noise G with the largest value Z, and T in its place; in logarithms, so
    that nothing overflows (Kool et al., arXiv 1903.06059, appendix B.3).
    """
    drawn = logits + jax.random.gumbel(key, logits.shape, logits.dtype)
    below = jnp.where(logits > -jnp.inf, drawn - drawn.max(-1, keepdims=True), -jnp.inf)
    given = highest - drawn + jnp.log(-jnp.expm1(below))
    moved = highest - jnp.maximum(given, 0.0) - jnp.log1p(jnp.exp(-jnp.abs(given)))
    return jnp.where(logits > -jnp.inf, moved, -jnp.inf)


def slate_log_prob(logits: Array, slate: Array) -> Array:
    """Log pi(slate), the sum of `pick_log_probs`; [..., M], [..., K] -> [...]."""
    return pick_log_probs(logits, slate).sum(-1)


def pick_log_probs(logits: Array, slate: Array) -> Array:
    """Log softmax(logits without earlier picks)[slate_k] of every pick; [..., M], [..., K] -> [..., K].

    The normaliser of pick k holds the candidates never picked and the picks k..K. One logsumexp over the former,
    then a logaddexp for each pick from the last to the first, is exact in float32 and reads the catalogue once.
    """
    picked = jnp.take_along_axis(logits, slate, axis=-1)  # [..., K]
    rest, normalisers = _log_mass(without(logits, slate)), []
    for k in reversed(range(slate.shape[-1])):  # cumlogsumexp takes three times as long on a CPU
        rest = jnp.logaddexp(rest, picked[..., k])
        normalisers.append(rest)
    return picked - jnp.stack(normalisers[::-1], axis=-1)


def _log_mass(logits: Array) -> Array:
    """Logsumexp [...] of logits [..., M]; where all are -inf, jax's has gradients of NaN and this one of 0."""
    peak = jax.lax.stop_gradient(logits.max(-1))
    peak = jnp.where(jnp.isfinite(peak), peak, 0.0)
    mass = jnp.exp(logits - peak[..., None]).sum(-1)
    return jnp.where(mass > 0, jnp.log(jnp.where(mass > 0, mass, 1.0)) + peak, -jnp.inf)


def expected_of_picks(logits: Array, slate: Array, rewards: Array) -> Array:
    """Mean reward of pick k, given the picks before it: softmax(logits without earlier picks) @ rewards.

    Logits and rewards [..., M], slate [..., K] -> [..., K]. The mean over what was never picked comes first; then, from
    the last pick to the first, each joins with its share of the mass, so nothing is subtracted.
    """
    never = without(logits, slate)
    mass, means = _log_mass(never), []
    mean = (jnp.exp(never - jnp.where(jnp.isfinite(mass), mass, 0.0)[..., None]) * rewards).sum(-1)
    for k in reversed(range(slate.shape[-1])):
        logit, reward = (jnp.take_along_axis(x, slate[..., k, None], axis=-1)[..., 0] for x in (logits, rewards))
        joined = jnp.logaddexp(mass, logit)
        mean = jnp.exp(mass - joined) * mean + jnp.exp(logit - joined) * reward
        mass = joined
        means.append(mean)
    return jnp.stack(means[::-1], axis=-1)


def without(scores: Array, slate: Array) -> Array:
    """Set the items of a slate to -inf; [..., M], [..., K] -> [..., M].

    K comparisons that fuse into one pass: a scatter would gather the users of all devices first.
    """
    place = jnp.arange(scores.shape[-1], dtype=slate.dtype)
    for k in range(slate.shape[-1]):
        scores = jnp.where(slate[..., k, None] == jnp.expand_dims(place, range(slate.ndim - 1)), -jnp.inf, scores)
    return scores
