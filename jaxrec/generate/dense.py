"""The dense check: chances of items by two towers next to the generator, above all of those that no training row has.

A generator has seen no user take such a cold item, so its chance of it is arbitrary (LIGER, arXiv 2411.18814). The
towers read the state of the row that is written, and the vector of the item's text and features, without statistics of
the log. They are trained on the known items K, those with training rows, next to the loss of the codes:

    s_i  = (A state) . (B x_i) / sqrt(W)            loss += weight x -log softmax over K of s [next item]
    log P(i) = s_i - log sum over K of exp(s)                                for a cold item i

A cold item thus gets the chance that the towers would give to a known item with its vector, in the same unit as the
chances of the generated items, and is sorted in among them.

With an `order` above 0, the towers also put the generated items in order, which is how LIGER ranks them. Then a known
item has a residual e_i, 0 at first, that is added to B x_i; a cold item has none, so its chance is that of a known item
with its vector whose rows say nothing more. The score of an item is

    log P of its codes + order x log P(i)        generated            (1 + order) x log P(i)        cold
"""

from collections.abc import Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
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
    order: Any = 0.0  # [], weight of the towers in the order of generated items


def init_towers(key: Array, width: int, items: tuple[int, int], own: bool) -> Params:
    """Parameters for generators of this width and vectors of `items` [I, D]; with `own`, items have residuals."""
    return Towers(width, own).init(key, jnp.zeros((1, width)), jnp.zeros(items))["params"]


def has_own(params: Params) -> bool:
    """Whether the towers among the parameters of a generator have residuals of items."""
    return "own" in params[NAME]


def towers(params: Params, state: Array, vectors: Array) -> tuple[Array, Array]:
    """Apply the towers among the parameters of a generator to all items."""
    module = Towers(state.shape[-1], has_own(params))
    return cast(tuple[Array, Array], module.apply({"params": params[NAME]}, state, vectors))


def dense_loss(params: Params, items: DenseItems, state: Array, taken: Array, weight: Array, chunk: int) -> Array:
    """Sum of the losses of rows with states [..., W] whose items are taken [...] int32; rows of weight 0 are left out.

    Rows of cold items have no loss either.
    """
    query, table = towers(params, state, items.vectors)
    known = table[items.known]
    place = jnp.full(items.vectors.shape[0], PADDING).at[items.known].set(jnp.arange(items.known.shape[0]))
    target = place[taken.reshape(-1)]
    weight = jnp.where(target == PADDING, 0.0, weight.reshape(-1))
    bias = jnp.zeros(known.shape[0])
    return softmax_loss(query.reshape(-1, query.shape[-1]), known, bias, jnp.maximum(target, 0), weight, chunk)


def chances_of(params: Params, items: DenseItems, state: Array) -> Array:
    """Log chances [I] of items after a state [W], those of known ones adding up to 1, with the history's."""
    query, table = towers(params, state, items.vectors)
    scores = table @ query
    return scores - jax.nn.logsumexp(scores[items.known])


def checked(slate: Slate, items: DenseItems, chances: Array, seen: Array, *, repeats: bool) -> Slate:
    """Order a slate [K] of generated items, with log chances [I] of all items, and sort cold ones in: the best K.

    No cold item of the history `seen` [H] int32 is in it, unless the log `repeats` items.
    """
    weight = jnp.where(items.order > 0, items.order * chances[jnp.maximum(slate.items, 0)], 0.0)
    slate = slate._replace(scores=slate.scores + weight)
    if not repeats:
        chances = chances.at[jnp.where(seen == PADDING, chances.shape[0], seen)].set(-jnp.inf, mode="drop")
    return with_cold(slate, items, (1.0 + items.order) * chances[items.cold])


def with_cold(slate: Slate, items: DenseItems, chances: Array) -> Slate:
    """Sort cold items with log chances [N] into a slate of known ones [K]; the best K of all."""
    both = jnp.concatenate([slate.items, items.cold]), jnp.concatenate([slate.scores, chances])
    scores, place = top_k(both[1], slate.items.shape[0])
    return Slate(jnp.where(scores == -jnp.inf, PADDING, both[0][place]), scores)


def dense_items_of(arrays: Mapping[str, Any]) -> DenseItems:
    """What `dense_arrays` gave, from a saved generator; older ones have no order."""
    return DenseItems(**{"cold": np.zeros(0, np.int32), "order": np.zeros((), np.float32), **arrays})


def dense_arrays(items: DenseItems | None) -> dict[str, Any]:
    """The arrays of a saved generator."""
    if items is None:
        return {}
    found = {name: np.asarray(getattr(items, name)) for name in ("vectors", "known", "cold", "order")}
    return {"dense": {name: array for name, array in found.items() if array.size}}  # empty ones cannot be saved
