"""Slates whose picks know how many items of each group were picked before.

With n_g items of group g picked so far, item i of group g has the score s_i + b[g, n_g]: the bonus of a group usually
falls with its items, so slates spread over groups. Item after item is drawn from the softmax of these scores, or the
highest is taken. A bonus of zeros gives the Plackett-Luce model of `jaxrec.ops.slates`.

Scores [..., M] are -inf where an item may not be shown, groups [..., M] int32 are below G, and bonus is [..., G, L],
whose last column stands for all higher counts.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.types import Array


class Spread(struct.PyTreeNode):
    """What picks add to the scores of later ones."""

    groups: Array  # [..., M] int32
    bonus: Array  # [..., G, L]


def sample_spread(key: Array, scores: Array, spread: Spread, slate_size: int) -> Array:
    """Draw slates without repetition; [..., M] -> [..., K] int32."""
    noise = jax.random.gumbel(key, (slate_size, *scores.shape), scores.dtype)
    return _pick_all(scores, spread, noise)


def top_spread(scores: Array, spread: Spread, slate_size: int) -> Array:
    """The best item after the best item; [..., M] -> [..., K] int32."""
    return _pick_all(scores, spread, jnp.zeros((slate_size, *(1,) * scores.ndim), scores.dtype))


def _pick_all(scores: Array, spread: Spread, noise: Array) -> Array:
    """Take the highest of scores, bonuses and noise [K, ..., M] for one place of the slate after another."""
    size, levels = spread.bonus.shape[-2:]
    place = jnp.expand_dims(jnp.arange(scores.shape[-1]), range(scores.ndim - 1))

    def pick(carry: tuple[Array, Array], noise: Array) -> tuple[tuple[Array, Array], Array]:
        left, counts = carry  # [..., M] -inf where picked, [..., G] items of each group so far
        now = jnp.take_along_axis(spread.bonus, jnp.minimum(counts, levels - 1)[..., None], axis=-1)[..., 0]
        scored = left + jnp.take_along_axis(now, spread.groups, axis=-1) + noise
        best = jnp.argmax(scored, axis=-1, keepdims=True)
        group = jnp.take_along_axis(spread.groups, best, axis=-1)[..., 0]
        counts = counts + jax.nn.one_hot(group, size, dtype=counts.dtype)
        # Masked items are picked only where too few others remain, and then more than once, like all that is -inf.
        return (jnp.where(place == best, -jnp.inf, left), counts), best[..., 0].astype(jnp.int32)

    counts = jnp.zeros((*scores.shape[:-1], size), jnp.int32)
    _, picks = jax.lax.scan(pick, (scores, counts), noise)
    return jnp.moveaxis(picks, 0, -1)


def spread_log_probs(scores: Array, spread: Spread, slate: Array) -> Array:
    """Log-probability of every pick given those before it; [..., M], [..., K] -> [..., K].

    The mass of each group is that of its items never picked, plus its picks from the last to the first, so nothing is
    subtracted and the catalogue is read once.
    """
    size, levels = spread.bonus.shape[-2:]
    peak = jax.lax.stop_gradient(jnp.where(scores > -jnp.inf, scores, -1e30).max(-1, keepdims=True))
    mass = jnp.exp(scores - peak)
    picked = jnp.take_along_axis(mass, slate, axis=-1)
    place = jnp.arange(scores.shape[-1], dtype=slate.dtype)
    never = mass
    for k in range(slate.shape[-1]):
        never = jnp.where(slate[..., k, None] == jnp.expand_dims(place, range(slate.ndim - 1)), 0.0, never)
    of_item = jax.nn.one_hot(spread.groups, size, dtype=mass.dtype)  # [..., M, G]
    rest = jnp.einsum("...m,...mg->...g", never, of_item)[..., None, :]
    groups = jnp.take_along_axis(spread.groups, slate, axis=-1)
    of_pick = jax.nn.one_hot(groups, size, dtype=mass.dtype)  # [..., K, G]
    own = picked[..., None] * of_pick
    remaining = rest + jnp.cumsum(own[..., ::-1, :], axis=-2)[..., ::-1, :]
    counts = (jnp.cumsum(of_pick, axis=-2) - of_pick).astype(jnp.int32)
    levels_now = jnp.minimum(counts, levels - 1)
    bonus = jnp.take_along_axis(spread.bonus[..., None, :, :], levels_now[..., None], axis=-1)[..., 0]  # [..., K, G]
    total = jax.nn.logsumexp(bonus, axis=-1, b=remaining)
    return jnp.take_along_axis(scores - peak, slate, axis=-1) + (bonus * of_pick).sum(-1) - total
