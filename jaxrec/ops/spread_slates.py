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

LAST = 1e30  # beyond all scores


class Spread(struct.PyTreeNode):
    """What picks add to the scores of later ones."""

    groups: Array  # [..., M] int32
    bonus: Array  # [..., G, L]


def sample_spread(key: Array, scores: Array, spread: Spread, slate_size: int) -> Array:
    """Draw slates without repetition; [..., M] -> [..., K] int32.

    One random number per item, by a race: item i of a group fires when the group's own time reaches E_i ~
    Exponential(exp s_i), and that time runs exp(b[g, n_g]) times as fast as the common one. Exponential waits have no
    memory, so the next to fire is always drawn from the softmax of what is left. All times are logarithms.
    """
    size, place = spread.bonus.shape[-2], _places(scores)
    clocks = -(scores + jax.random.gumbel(key, scores.shape, scores.dtype))
    last = LAST * (1.0 + place / scores.shape[-1])  # masked items fire after all others, and not at the same time
    clocks = jnp.where(scores > -jnp.inf, clocks, last)
    infinity = jnp.full((), jnp.inf, scores.dtype)
    next_ = jnp.stack([jnp.where(spread.groups == g, clocks, infinity).min(-1) for g in range(size)], axis=-1)

    def pick(race: _Race, _: None) -> tuple[_Race, Array]:
        speed = _bonus_now(spread, race.counts)
        # Logarithm of the share of the wait for the group's next item that has passed already.
        share = jnp.where(race.next < infinity, race.passed - race.next, -infinity)
        wait = race.next + jnp.log1p(-jnp.exp(jnp.minimum(share, 0.0))) - speed
        group = jnp.argmin(wait, axis=-1, keepdims=True)
        passed = jnp.logaddexp(race.passed, jnp.take_along_axis(wait, group, axis=-1) + speed)
        own, fires = spread.groups == group, jnp.take_along_axis(race.next, group, axis=-1)
        # By its value: XLA's argmin takes several times as long, and equal clocks are too rare to matter.
        here = own & (race.clocks == fires)
        clocks = jnp.where(here, infinity, race.clocks)
        item = jnp.where(here, place, 0).max(-1)
        following = jnp.where(own, clocks, infinity).min(-1, keepdims=True)
        chosen = jax.nn.one_hot(group[..., 0], size, dtype=jnp.int32)
        after = _Race(clocks, jnp.where(chosen > 0, following, race.next), passed, race.counts + chosen)
        return after, item.astype(jnp.int32)

    counts = jnp.zeros(next_.shape, jnp.int32)
    _, picks = jax.lax.scan(pick, _Race(clocks, next_, jnp.full_like(next_, -jnp.inf), counts), length=slate_size)
    return jnp.moveaxis(picks, 0, -1)


class _Race(struct.PyTreeNode):
    """Where the draw of a slate stands; times are logarithms."""

    clocks: Array  # [..., M] when each item fires in its group's own time, inf where picked
    next: Array  # [..., G] the first of these in each group
    passed: Array  # [..., G] own time of each group so far
    counts: Array  # [..., G] int32 items of each group so far


def top_spread(scores: Array, spread: Spread, slate_size: int) -> Array:
    """The best item after the best item; [..., M] -> [..., K] int32."""
    size, place = spread.bonus.shape[-2], _places(scores)

    def pick(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        left, counts = carry  # [..., M] -inf where picked, [..., G] items of each group so far
        scored = left + jnp.take_along_axis(_bonus_now(spread, counts), spread.groups, axis=-1)
        best = jnp.argmax(scored, axis=-1, keepdims=True)
        group = jnp.take_along_axis(spread.groups, best, axis=-1)[..., 0]
        counts = counts + jax.nn.one_hot(group, size, dtype=counts.dtype)
        # Masked items are picked only where too few others remain, and then more than once, like all that is -inf.
        return (jnp.where(place == best, -jnp.inf, left), counts), best[..., 0].astype(jnp.int32)

    counts = jnp.zeros((*scores.shape[:-1], size), jnp.int32)
    # Masked items are better than picked ones.
    _, picks = jax.lax.scan(pick, (jnp.maximum(scores, -LAST), counts), length=slate_size)
    return jnp.moveaxis(picks, 0, -1)


def _places(scores: Array) -> Array:
    """Positions of scores [..., M] as an array that broadcasts to them."""
    return jnp.expand_dims(jnp.arange(scores.shape[-1]), range(scores.ndim - 1))


def _bonus_now(spread: Spread, counts: Array) -> Array:
    """Bonus of the next item of each group, given how many were picked: [..., G] -> [..., G]."""
    level = jnp.minimum(counts, spread.bonus.shape[-1] - 1)
    return jnp.take_along_axis(spread.bonus, level[..., None], axis=-1)[..., 0]


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
