"""Beam search over the codes of a catalogue, on the device: the items of the highest chance, best first.

    log P(item) = sum_l log softmax over the children of (c_1 ... c_(l-1)) of logits_l [c_l]

The softmax at each level is over the codes that some item has after the prefix, so the chances of all items add up to
1. A beam is a node of the prefix tree. Its children are neighbours in the sorted arrays, so a step scores at most
beams x D of them, where D is the most children that a node has. Two prefixes are never the same node, so no item comes
twice, and prefixes that lead to items of the history alone are left out at every level.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrec.generate.trie import Trie, children, used_up
from jaxrec.ops.top_k import top_k
from jaxrec.types import PADDING, Array

# level, what earlier steps left, code chosen before [W] or None at the first level, beam it was chosen after [W]
# -> logits [W, C], what this step leaves. W beams of one user.
Step = Callable[[int, Any, Array | None, Array | None], tuple[Array, Any]]


class Slate(NamedTuple):
    """Items of one user, best first; where there are fewer than asked for, PADDING and -inf."""

    items: Array  # [K] int32
    scores: Array  # [K] log of the chance


def beam_search(step: Step, trie: Trie, history: Array, beams: int, *, repeats: bool = False) -> Slate:
    """The best items of one user after a history [H] int32; K = the beams that the last level has.

    Items of the history are left out, unless the log `repeats` items. With at least as many beams as prefixes at each
    level, the order is exact.
    """
    spent = () if repeats else used_up(trie, history)
    nodes, scores = jnp.zeros(1, jnp.int32), jnp.zeros(1)
    code, parent, carried = None, None, None
    for level in range(trie.levels):
        logits, carried = step(level, carried, code, parent)
        found = children(trie, level, nodes)
        chance = jnp.where(found.real, jnp.take_along_axis(logits, found.codes, axis=-1), -jnp.inf)
        chance = chance - jax.nn.logsumexp(chance, axis=-1, keepdims=True)
        if spent:
            chance = jnp.where(taken(nodes, trie, level, found.real.shape[-1], spent[level]), -jnp.inf, chance)
        total = (scores[:, None] + chance).reshape(-1)
        scores, place = top_k(total, min(beams, total.shape[0]))
        parent = place // found.real.shape[-1]
        nodes, code = found.nodes.reshape(-1)[place], found.codes.reshape(-1)[place]
        nodes = jnp.where(scores > -jnp.inf, nodes, 0)  # beams with score -inf continue at node 0 and keep -inf
    dead = scores == -jnp.inf
    return Slate(jnp.where(dead, PADDING, trie.items[nodes]), scores)


def taken(nodes: Array, trie: Trie, level: int, width: int, spent: tuple[Array, Array]) -> Array:
    """Which children of nodes [W] are used up by the history: [W, D] bool."""
    node, full = spent
    begin, end = trie.begins[level][nodes][:, None], trie.begins[level][nodes + 1][:, None]
    own = full[None] & (node[None] >= begin) & (node[None] < end)
    place = jnp.where(own, node[None] - begin, width)  # beyond the row: dropped
    rows = jnp.broadcast_to(jnp.arange(nodes.shape[0])[:, None], place.shape)
    return jnp.zeros((nodes.shape[0], width), bool).at[rows, place].set(True, mode="drop")


def free_search(step: Step, sizes: tuple[int, ...], beams: int) -> tuple[Array, Array]:
    """The same without a tree, for comparison: codes [K, L] that may be those of no item, and their scores [K]."""
    codes, scores = jnp.zeros((1, 0), jnp.int32), jnp.zeros(1)
    code, parent, carried = None, None, None
    for level, size in enumerate(sizes):
        logits, carried = step(level, carried, code, parent)
        total = (scores[:, None] + jax.nn.log_softmax(logits, axis=-1)).reshape(-1)
        scores, place = top_k(total, min(beams, total.shape[0]))
        parent, code = place // size, place % size
        codes = jnp.concatenate([codes[parent], code[:, None]], axis=1)
    return codes, scores


def scores_of_items(slate: Slate, num_items: int) -> Array:
    """Scores of the whole catalogue [I] for rankings: those of the slate, and -inf for items that it lacks."""
    places = jnp.where(slate.items == PADDING, num_items, slate.items)
    return jnp.full(num_items, -jnp.inf).at[places].set(slate.scores, mode="drop")
