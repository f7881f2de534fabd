"""The dense check: chances of items that no training row has, by two towers next to the generator.

A generator has seen no user take such a cold item, so its chance of it is arbitrary (LIGER, arXiv 2411.18814). The
towers read the state of the row that is written, and the vector of the item's text and features, without statistics of
the log. They are trained on the known items K, those with training rows, next to the loss of the codes:

    s_i  = (A state) . (B x_i) / sqrt(W)            loss += weight x -log softmax over K of s [next item]
    log P(i) = s_i - log sum over K of exp(s)                                for a cold item i

A cold item thus gets the chance that the towers would give to a known item with its vector, in the same unit as the
chances of the generated items, and is sorted in among them.
"""

from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.generate.beam import Slate
from jaxrec.nets.dense_towers import Towers
from jaxrec.ops.softmax import softmax_loss
from jaxrec.ops.top_k import top_k
from jaxrec.types import PADDING, Array, Params

NAME = "dense"  # of the towers among the parameters of a generator


class DenseItems(struct.PyTreeNode):
    """What the towers know of the items."""

    vectors: Array  # [I, D] of texts and features
    known: Array  # [K] int32, items with training rows
    cold: Array  # [N] int32, recommendable items without


def init_towers(key: Array, width: int, vectors: int) -> Params:
    """Parameters for generators of this width and vectors of items of size D = `vectors`."""
    return Towers(width).init(key, jnp.zeros((1, width)), jnp.zeros((1, vectors)))["params"]


def towers(params: Params, state: Array, vectors: Array) -> tuple[Array, Array]:
    """Apply the towers among the parameters of a generator."""
    return cast(tuple[Array, Array], Towers(state.shape[-1]).apply({"params": params[NAME]}, state, vectors))


def dense_loss(params: Params, items: DenseItems, state: Array, taken: Array, weight: Array, chunk: int) -> Array:
    """Sum of the losses of rows with states [..., W] whose items are taken [...] int32; rows of weight 0 are left out.

    Rows of cold items have no loss either.
    """
    query, known = towers(params, state, items.vectors[items.known])
    place = jnp.full(items.vectors.shape[0], PADDING).at[items.known].set(jnp.arange(items.known.shape[0]))
    target = place[taken.reshape(-1)]
    weight = jnp.where(target == PADDING, 0.0, weight.reshape(-1))
    bias = jnp.zeros(known.shape[0])
    return softmax_loss(query.reshape(-1, query.shape[-1]), known, bias, jnp.maximum(target, 0), weight, chunk)


def cold_chances(params: Params, items: DenseItems, state: Array, seen: Array, *, repeats: bool) -> Array:
    """Log chances [N] of the cold items after a state [W] and a history [H] int32; -inf for those of the history."""
    query, table = towers(params, state, items.vectors)
    scores = table @ query
    total = jax.nn.logsumexp(scores[items.known])  # with the history, as beam search has it too
    if not repeats:
        scores = scores.at[jnp.where(seen == PADDING, scores.shape[0], seen)].set(-jnp.inf, mode="drop")
    return scores[items.cold] - total


def with_cold(slate: Slate, items: DenseItems, chances: Array) -> Slate:
    """Sort cold items with log chances [N] into a slate of known ones [K]; the best K of all."""
    both = jnp.concatenate([slate.items, items.cold]), jnp.concatenate([slate.scores, chances])
    scores, place = top_k(both[1], slate.items.shape[0])
    return Slate(jnp.where(scores == -jnp.inf, PADDING, both[0][place]), scores)


def dense_arrays(items: DenseItems | None) -> dict[str, Any]:
    """The arrays of a saved generator."""
    return {} if items is None else {"dense": {"vectors": items.vectors, "known": items.known, "cold": items.cold}}
