"""A score of single items by a perceptron, for small sets of items."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from jaxrec.ops.dense import Dense
from jaxrec.types import Array


class ItemScorer(nn.Module):
    """A perceptron on [state, item, query x item, affinity]: what the product of two towers cannot express.

    The first layer is a sum of one layer for each part, so that the state's share is computed once for all items. The
    kernel of the last layer is small at first: scores begin as those of the two towers.
    """

    hidden: Sequence[int]
    outputs: int

    @nn.compact
    def __call__(self, state: Array, query: Array, vectors: Array, affinity: Array | None) -> Array:
        """States [..., S], queries [..., W], items [..., M, W] or [M, W], affinities [..., M] -> [..., M, outputs]."""
        wide = nn.initializers.orthogonal(2**0.5)
        width = self.hidden[0]
        vectors = jnp.expand_dims(vectors, range(state.ndim + 1 - vectors.ndim))  # items of a catalogue have no users
        x = Dense(width, kernel_init=wide, name="state")(state)[..., None, :]
        x = x + Dense(width, use_bias=False, name="item")(vectors)
        x = x + Dense(width, use_bias=False, name="both")(query[..., None, :] * vectors)
        if affinity is not None:
            x = x + Dense(width, use_bias=False, name="affinity")(affinity[..., None])
        x = nn.tanh(x)
        for n, size in enumerate(self.hidden[1:]):
            x = nn.tanh(Dense(size, kernel_init=wide, name=f"hidden_{n}")(x))
        return Dense(self.outputs, kernel_init=nn.initializers.orthogonal(0.01), name="score")(x)
