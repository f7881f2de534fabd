"""The best slate of K items for users who choose at most one of them, by a conditional logit.

Item i of a slate A is chosen with chance m_i / (1 + sum_{j in A} m_j), and nothing with the rest; m_i is the mass of an
item next to the mass 1 of choosing nothing. If item i is chosen, the user is worth g_i more than if nothing is. Then

    value(A) = sum_{i in A} m_i g_i / (1 + sum_{i in A} m_i)

is what the slate is worth above choosing nothing. Three ways to look for the best slate come from SlateQ
(arXiv 1905.12767, section 5): the K highest m_i g_i, greedy, and exact. Masses are [..., M] and at least 0, gains
[..., M] are -inf where an item may not be shown, and slates [..., K] int32 are positions, best first.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxrec.ops.slates import top_slate
from jaxrec.types import Array

HALVINGS = 24  # of the interval that holds the best value; each is one top-K


def chosen_value(mass: Array, gain: Array) -> Array:
    """Value of a slate from the masses and gains of its items; [..., K], [..., K] -> [...]."""
    open_ = gain > -jnp.inf
    mass = jnp.where(open_, mass, 0.0)
    return (mass * jnp.where(open_, gain, 0.0)).sum(-1) / (1.0 + mass.sum(-1))


def value_of(slate: Array, mass: Array, gain: Array) -> Array:
    """Value of slates; [..., K], [..., M], [..., M] -> [...]."""
    return chosen_value(*(jnp.take_along_axis(x, slate, axis=-1) for x in (mass, gain)))


def weighted_gain(mass: Array, gain: Array, level: Array | float = 0.0) -> Array:
    """m_i (g_i - level), -inf where an item may not be shown; [..., M], [..., M], [..., 1] -> [..., M]."""
    open_ = gain > -jnp.inf
    return jnp.where(open_, mass * (jnp.where(open_, gain, 0.0) - level), -jnp.inf)


def top_slate_by_gain(mass: Array, gain: Array, slate_size: int) -> Array:
    """The K highest m_i g_i ("TS" of the paper)."""
    return top_slate(weighted_gain(mass, gain), slate_size)


def greedy_slate(mass: Array, gain: Array, slate_size: int) -> Array:
    """Item after item, the one whose addition makes the slate most valuable ("GS" of the paper)."""
    zero, open_ = jnp.zeros_like(mass[..., :1]), gain > -jnp.inf
    terms, mass = jnp.where(open_, weighted_gain(mass, gain), 0.0), jnp.where(open_, mass, 0.0)
    lowest = jnp.where(open_, 0.0, jnp.finfo(gain.dtype).min)  # masked items come last, but before those picked

    def pick(carry: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], Array]:
        bar, earned, total = carry  # bar [..., M]: -inf where picked; earned, total [..., 1]: sums of m g and of m
        best = jnp.argmax(bar + (earned + terms) / (1.0 + total + mass), axis=-1, keepdims=True)
        here = jax.nn.one_hot(best[..., 0], gain.shape[-1], dtype=bool)
        earned, total = (x + jnp.take_along_axis(own, best, -1) for x, own in ((earned, terms), (total, mass)))
        return (jnp.where(here, -jnp.inf, bar), earned, total), best[..., 0].astype(jnp.int32)

    _, picks = jax.lax.scan(pick, (lowest, zero, zero), length=slate_size)
    return jnp.moveaxis(picks, 0, -1)


def exact_slate(mass: Array, gain: Array, slate_size: int) -> Array:
    """The slate of the highest value: a fractional programme, solved by bisection on its ratio ("OS" of the paper).

    Some slate is worth at least x exactly if max_A sum_{i in A} m_i (g_i - x) >= x, and the K highest terms reach that
    maximum. The interval of x is halved `HALVINGS` times. One last step takes x from the slate found at its lower end.
    """

    def best_at(level: Array) -> tuple[Array, Array]:  # level [..., 1] -> slate, whether a slate is worth that much
        terms = weighted_gain(mass, gain, level)
        slate = top_slate(terms, slate_size)
        chosen = jnp.take_along_axis(terms, slate, axis=-1)
        return slate, jnp.where(chosen > -jnp.inf, chosen, 0.0).sum(-1, keepdims=True) >= level

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        enough = best_at(middle)[1]
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    known = jnp.where(gain > -jnp.inf, gain, 0.0)
    low, high = jnp.minimum(known.min(-1, keepdims=True), 0.0), jnp.maximum(known.max(-1, keepdims=True), 0.0)
    low, _ = jax.lax.fori_loop(0, HALVINGS, halve, (low, high))
    return best_at(value_of(best_at(low)[0], mass, gain)[..., None])[0]


CHOICE_SLATES: dict[str, Callable[[Array, Array, int], Array]] = {
    "top_k": top_slate_by_gain,
    "greedy": greedy_slate,
    "exact": exact_slate,
}
