"""Weights in 8 bits: symmetric, one scale per output channel or word; products and sums stay in the encoder's dtype."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import lax

from jaxrec.types import Array, Params

HIGHEST = 127.0


class Int8Dense(nn.Module):
    """`nn.Dense` with an int8 kernel; the scale is applied after the product, which is exact."""

    features: int
    use_bias: bool
    dtype: Any
    precision: lax.Precision | None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [..., D] to [..., features]."""
        ones, zeros = nn.initializers.ones, nn.initializers.zeros
        kernel = self.param("kernel", zeros, (x.shape[-1], self.features), jnp.int8)
        x = jnp.matmul(x.astype(self.dtype), kernel.astype(self.dtype), precision=self.precision)
        lead = (1,) * (x.ndim - 1)
        x = x * self.param("scale", ones, (self.features,)).astype(self.dtype).reshape(*lead, -1)
        if self.use_bias:
            x = x + self.param("bias", zeros, (self.features,)).astype(self.dtype).reshape(*lead, -1)
        return x


class Int8Embed(nn.Module):
    """`nn.Embed` with an int8 table and one scale per row."""

    num_embeddings: int
    features: int

    @nn.compact
    def __call__(self, ids: Array) -> Array:
        """Map [...] int32 to [..., features] float32."""
        table = self.param("embedding", nn.initializers.zeros, (self.num_embeddings, self.features), jnp.int8)
        scale = self.param("scale", nn.initializers.ones, (self.num_embeddings,))
        return table[ids].astype(jnp.float32) * scale[ids][..., None]


def quantised(params: Params) -> Params:
    """Kernels of layers and the table of words become int8, each with a float32 `scale` next to it."""
    flat: Any = flatten_dict(params, sep="/")
    new = dict(flat)
    for path, x in flat.items():
        if path == "words/embedding":
            new[path], new["words/scale"] = _rounded(np.asarray(x), axis=-1)
        elif path.startswith("layers/") and path.endswith("/kernel"):
            new[path], new[path.removesuffix("kernel") + "scale"] = _rounded(np.asarray(x), axis=-2)
    return unflatten_dict(new, sep="/")


def _rounded(x: np.ndarray, axis: int) -> tuple[Array, Array]:
    """The nearest of 255 steps, and their size: the largest magnitude along `axis` divided by 127."""
    scale = np.maximum(np.abs(x).max(axis=axis, keepdims=True), 1e-12) / HIGHEST
    return jnp.asarray(np.rint(x / scale).astype(np.int8)), jnp.asarray(scale.squeeze(axis), jnp.float32)
