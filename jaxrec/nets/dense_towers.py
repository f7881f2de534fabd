"""Two towers from states of a generator and vectors of items to vectors whose products are scores."""

import jax
from flax import linen as nn

from jaxrec.ops.dense import Dense
from jaxrec.types import Array


class Towers(nn.Module):
    """States [..., W] of generators and vectors of items [I, D] -> queries and items of the same width.

    With `own`, what single items have of their own is added to their tower; it is 0 at first.
    """

    width: int
    own: bool = False

    @nn.compact
    def __call__(self, state: Array, vectors: Array) -> tuple[Array, Array]:
        """Queries [..., W], scaled for products with items, and items [I, W]; vectors get unit variance first."""
        query = Dense(self.width, use_bias=False, name="query")(state) * self.width**-0.5
        items = Dense(self.width, use_bias=False, name="item")(nn.RMSNorm(use_scale=False, name="norm")(vectors))
        if self.own:
            items = items + self.param("own", jax.nn.initializers.zeros, items.shape)
        return query, items
