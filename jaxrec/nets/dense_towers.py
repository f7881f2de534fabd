"""Two towers from states of a generator and vectors of items to vectors whose products are scores."""

from flax import linen as nn

from jaxrec.ops.dense import Dense
from jaxrec.types import Array


class Towers(nn.Module):
    """States [..., W] of generators and vectors [..., D] of items -> queries and items of the same width."""

    width: int

    def setup(self):
        """One product for each tower; vectors have unit variance before theirs."""
        self.query, self.item = (Dense(self.width, use_bias=False) for _ in range(2))
        self.norm = nn.RMSNorm(use_scale=False)

    def __call__(self, state: Array, vectors: Array) -> tuple[Array, Array]:
        """Queries [..., W], scaled for products with items, and items [..., W]."""
        return self.query(state) * self.width**-0.5, self.item(self.norm(vectors))
