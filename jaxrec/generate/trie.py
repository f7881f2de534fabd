"""The codes of a catalogue as a prefix tree of sorted arrays: what may come after a prefix, without a row per code.

Items are sorted by their codes. Nodes of level l are the different prefixes of l codes, in this order, so the children
of a node are neighbours on the next level. A level is two arrays: the code that ends each of its nodes, and where the
children of each node begin. That is about 8 bytes per node, and nothing has the size of prefixes times codes.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrec.generate.codes import check_codes
from jaxrec.types import PADDING, Array


class Trie(struct.PyTreeNode):
    """The tree on the device; level 0 is the root alone, and the nodes of level L are the items in sorted order."""

    codes: tuple[Array, ...]  # of level 1 to L: [nodes] int32, last code of each node
    begins: tuple[Array, ...]  # of level 0 to L - 1: [nodes + 1] int32, first child of each node on the next level
    items: Array  # [R] int32, the item of each leaf
    leaf: Array  # [I] int32, the leaf of each item; PADDING: not in the tree
    widest: tuple[int, ...] = struct.field(pytree_node=False)  # most children of a node, of level 0 to L - 1

    @property
    def levels(self) -> int:
        """L, the codes of an item."""
        return len(self.codes)


class Children(NamedTuple):
    """What may come after nodes [...]: D = the most children of a node of this level."""

    nodes: Array  # [..., D] int32, on the next level; beyond the last child, any
    codes: Array  # [..., D] int32
    real: Array  # [..., D] bool


def make_trie(codes: np.ndarray, sizes: tuple[int, ...], items: np.ndarray | None = None) -> Trie:
    """Build the tree of codes [I, L] in vocabularies of `sizes`, of all items or only `items` [R].

    Raises InputError unless every item has a code of its own.
    """
    check_codes(codes, sizes)
    some = np.arange(len(codes)) if items is None else np.asarray(items)
    order = np.lexsort(codes[some].T[::-1])
    rows, items = codes[some][order], some[order]
    # new[l][i]: the sorted item i is the first one of its prefix of l codes.
    new = np.zeros((codes.shape[1] + 1, len(rows)), bool)
    new[:, 0] = True
    changes = rows[1:] != rows[:-1]
    for level in range(1, codes.shape[1] + 1):
        new[level, 1:] = changes[:, :level].any(axis=1)
    firsts = [np.flatnonzero(one) for one in new]
    begins = []
    for level in range(codes.shape[1]):
        begin = np.searchsorted(firsts[level + 1], firsts[level])
        begins.append(np.append(begin, len(firsts[level + 1])).astype(np.int32))
    leaf = np.full(len(codes), PADDING, np.int32)
    leaf[items] = np.arange(len(items))
    return Trie(
        codes=tuple(jnp.asarray(rows[firsts[n + 1], n], jnp.int32) for n in range(codes.shape[1])),
        begins=tuple(jnp.asarray(begin) for begin in begins),
        items=jnp.asarray(items, jnp.int32),
        leaf=jnp.asarray(leaf),
        widest=tuple(int(np.diff(begin).max()) for begin in begins),
    )


def children(trie: Trie, level: int, nodes: Array) -> Children:
    """Children of nodes [...] of `level`."""
    begin, end = trie.begins[level][nodes], trie.begins[level][nodes + 1]
    found = begin[..., None] + jnp.arange(trie.widest[level]).reshape((1,) * nodes.ndim + (-1,))
    codes = trie.codes[level].at[found].get(mode="clip")
    return Children(found, codes, found < end[..., None])


def used_up(trie: Trie, history: Array) -> tuple[tuple[Array, Array], ...]:
    """Which prefixes lead to items of the history [H] (PADDING where empty) alone, of level 1 to L.

    Of each level: nodes [H], and which of them are used up [H] bool.
    """
    beyond = trie.items.shape[0]
    leaf = jnp.where(history == PADDING, PADDING, trie.leaf[jnp.maximum(history, 0)])
    leaf = jnp.sort(jnp.where(leaf == PADDING, beyond, leaf))
    again = jnp.concatenate([jnp.zeros(1, bool), leaf[1:] == leaf[:-1]])
    leaf = jnp.sort(jnp.where(again, beyond, leaf))  # an item counts once
    counted = leaf < beyond
    node = jnp.minimum(leaf, beyond - 1)
    low, high, found = node, node + 1, []
    for level in range(trie.levels, 0, -1):
        under = jnp.searchsorted(leaf, high) - jnp.searchsorted(leaf, low)
        found.append((node, counted & (under == high - low)))
        if level > 1:
            node, low, high = _parent(trie, level, node)
    return tuple(found[::-1])


def _parent(trie: Trie, level: int, node: Array) -> tuple[Array, Array, Array]:
    """Parents of nodes [H] of `level`, with the first leaf below each and the one after the last."""
    parent = jnp.searchsorted(trie.begins[level - 1], node, side="right").astype(jnp.int32) - 1
    low, high = parent, parent + 1
    for below in range(level - 1, trie.levels):
        low, high = trie.begins[below][low], trie.begins[below][high]
    return parent, low, high


def size_in_bytes(trie: Trie) -> int:
    """Memory of the arrays."""
    return sum(x.nbytes for x in (*trie.codes, *trie.begins, trie.items, trie.leaf))
