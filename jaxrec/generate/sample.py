"""Samples of items from a generator, by the prefix tree of the catalogue, and the chances of what was sampled.

    log pi(item) = sum_l log softmax over the allowed children of (c_1 ... c_(l-1)) of logits_l [c_l]

A child is allowed if some item after it is not in the history, so the chances of all items outside the history add up
to 1, and no sample is one that could not be shown.

- With replacement, each sample goes down the tree on its own.
- Without replacement, this is stochastic beam search (Kool, van Hoof and Welling, arXiv 1903.06059): beams are ordered
  by their log chance plus Gumbel noise, and the noise of the children is drawn given that the largest is that of their
  parent. The K best leaves are K items drawn one after the other without replacement, in the order of the draws.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrec.generate.beam import Step, taken
from jaxrec.generate.trie import Trie, children, used_up
from jaxrec.ops.slates import given_maximum
from jaxrec.types import PADDING, Array

Spent = tuple[tuple[Array, Array], ...]


class Path(NamedTuple):
    """The ways of G samples of one user through the tree."""

    nodes: Array  # [L, G] int32, of level 0 to L - 1
    places: Array  # [L, G] int32, which child of the node comes next
    codes: Array  # [L, G] int32, of that child


class Samples(NamedTuple):
    """G samples of one user."""

    items: Array  # [G] int32; PADDING where the history left too few items
    path: Path
    # [G] what a sample stands for: pi(item) / chance to be among the samples. The sum of weight x f(item) is an
    # estimate of the mean of f. With replacement 1 / G.
    weight: Array


class _Beams(NamedTuple):
    """Prefixes of one level, W of them."""

    nodes: Array  # [W] int32
    chance: Array  # [W] log pi of the prefix
    noisy: Array  # [W] with Gumbel noise
    code: Array | None  # [W] int32, None at the root
    parent: Array | None  # [W] int32, the beam of the level before
    path: Path


def sample(step: Step, trie: Trie, history: Array, key: Array, count: int, *, replace: bool, repeats: bool) -> Samples:
    """Draw `count` items of one user after a history [H] int32, from all items if the log `repeats` items.

    Without replacement, the tree must have more than `count` items.
    """
    spent = () if repeats else used_up(trie, history)
    if not replace and trie.items.shape[0] <= count:
        raise ValueError(f"count: expected fewer than the {trie.items.shape[0]} items of the tree, got {count}.")
    found, carried = _root(count if replace else 1, jax.random.fold_in(key, trie.levels)), None
    for level in range(trie.levels):
        logits, carried = step(level, carried, found.code, found.parent)
        chances = _chances(trie, level, found.nodes, logits, spent)
        draw = _independent if replace else _distinct
        found = draw(trie, level, found, chances, jax.random.fold_in(key, level), count)
    items = jnp.where(found.chance > -jnp.inf, trie.items[found.nodes], PADDING)
    if replace:
        return Samples(items, found.path, jnp.where(items == PADDING, 0.0, 1 / count))
    # The first noisy chance that is not among the samples: one is among them if its own is higher.
    least, chance = found.noisy[count], found.chance[:count]
    weight = jnp.exp(chance) / -jnp.expm1(-jnp.exp(chance - least))
    items, path = items[:count], jax.tree.map(lambda x: x[:, :count], found.path)
    # If fewer items are left than samples, all are there: each stands for itself.
    weight = jnp.where(least > -jnp.inf, weight, jnp.exp(chance))
    return Samples(items, path, jnp.where(items == PADDING, 0.0, weight))


def path_chances(step: Step, trie: Trie, history: Array, path: Path, *, repeats: bool) -> list[Array]:
    """Log chances of all children after the prefixes of samples, of each level: [1, D] at the root, then [G, D].

    Children that are not allowed have -inf.
    """
    spent = () if repeats else used_up(trie, history)
    carried, levels = None, []
    for level in range(trie.levels):
        count = path.nodes.shape[1]
        before = None if level == 0 else path.codes[level - 1]
        parent = None if level == 0 else jnp.zeros(count, jnp.int32) if level == 1 else jnp.arange(count)
        logits, carried = step(level, carried, before, parent)
        nodes = path.nodes[level, :1] if level == 0 else path.nodes[level]
        levels.append(_chances(trie, level, nodes, logits, spent))
    return levels


def log_chances(levels: list[Array], path: Path) -> Array:
    """Log chances [..., G] of samples, from `path_chances` of their paths [..., L, G]."""
    total = jnp.zeros(path.places.shape[:-2] + path.places.shape[-1:])
    for level, chances in enumerate(levels):
        place = path.places[..., level, :, None]
        wide = jnp.broadcast_to(chances, (*place.shape[:-1], chances.shape[-1]))
        total += jnp.take_along_axis(wide, place, axis=-1)[..., 0]
    return total


def _chances(trie: Trie, level: int, nodes: Array, logits: Array, spent: Spent) -> Array:
    """Log chances of the children of nodes [W], from logits [W, C] or [1, C] for all: [W, D].

    -inf for those that are not allowed.
    """
    found = children(trie, level, nodes)
    allowed = found.real
    if spent:
        allowed &= ~taken(nodes, trie, level, allowed.shape[-1], spent[level])
    own = jnp.take_along_axis(jnp.broadcast_to(logits, (nodes.shape[0], logits.shape[-1])), found.codes, axis=-1)
    # A node without allowed children is never reached; finite numbers there keep NaN out of the gradient.
    total = jax.nn.logsumexp(jnp.where(allowed.any(-1, keepdims=True), own, 0.0), axis=-1, keepdims=True, where=allowed)
    total = jnp.where(allowed.any(-1, keepdims=True), total, 0.0)
    return jnp.where(allowed, own - total, -jnp.inf)


def _root(width: int, key: Array) -> _Beams:
    """The root, `width` times. Its noise is that of the best item: the weights need it, the order does not."""
    path = Path(*(jnp.zeros((0, width), jnp.int32) for _ in Path._fields))
    return _Beams(jnp.zeros(width, jnp.int32), jnp.zeros(width), jax.random.gumbel(key, (width,)), None, None, path)


def _independent(trie: Trie, level: int, at: _Beams, chances: Array, key: Array, count: int) -> _Beams:
    """Each beam goes on to one child."""
    place = jnp.argmax(chances + jax.random.gumbel(key, chances.shape), axis=-1).astype(jnp.int32)
    gained = jnp.take_along_axis(chances, place[:, None], axis=-1)[:, 0]
    # The network has written the root once, for all beams.
    parent = jnp.zeros(count, jnp.int32) if level == 0 else jnp.arange(count)
    return _extended(trie, level, at, parent, jnp.arange(count), place, at.chance + gained, at.noisy)


def _distinct(trie: Trie, level: int, at: _Beams, chances: Array, key: Array, count: int) -> _Beams:
    """The `count` + 1 children with the highest noisy chances, given the noisy chances of their parents."""
    chance = at.chance[:, None] + chances
    flat = given_maximum(key, chance, at.noisy[:, None]).reshape(-1)
    best, chosen = jax.lax.top_k(flat, min(count + 1, flat.shape[0]))
    beam, place = chosen // chances.shape[-1], (chosen % chances.shape[-1]).astype(jnp.int32)
    total = jnp.where(best > -jnp.inf, chance.reshape(-1)[chosen], -jnp.inf)
    return _extended(trie, level, at, beam, beam, place, total, best)


def _extended(
    trie: Trie, level: int, at: _Beams, parent: Array, beam: Array, place: Array, chance: Array, noisy: Array
) -> _Beams:
    """The beams one level further: `place` [W] among the children of the old `beam` [W]."""
    nodes = at.nodes[beam]
    found = children(trie, level, nodes)
    code = jnp.take_along_axis(found.codes, place[:, None], axis=-1)[:, 0]
    new = (nodes, place, code)
    path = Path(*(jnp.concatenate([x[:, beam], y[None]]) for x, y in zip(at.path, new, strict=True)))
    below = jnp.take_along_axis(found.nodes, place[:, None], axis=-1)[:, 0]
    below = jnp.where(chance > -jnp.inf, below, 0)  # beams with chance -inf continue at node 0 and keep -inf
    return _Beams(below, chance, noisy, code, parent, path)
