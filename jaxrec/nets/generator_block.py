"""Blocks of generators: layers as in T5, with keys of a history that several rows share."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from jaxrec.encoder.positions import MASKED
from jaxrec.ops.dense import Dense
from jaxrec.types import Array

KeyValue = tuple[Array, Array]  # [..., T, heads, d] each


class Shape(NamedTuple):
    """Static sizes of a generator."""

    sizes: tuple[int, ...]  # of the L vocabularies
    kind: str = "decoder"  # or encoder_decoder
    width: int = 64
    layers: int = 2
    heads: int = 4
    hidden: int = 256
    dropout: float = 0.0
    buckets: int = 32
    max_distance: int = 128
    item_rows: bool = True  # whether histories have vectors of items

    @property
    def levels(self) -> int:
        """L, the codes of an item."""
        return len(self.sizes)


class Attention(nn.Module):
    """Queries [B, Q, W] read keys that all of them share, and keys of their own."""

    width: int
    heads: int

    def setup(self):
        """Four products without biases."""
        self.query, self.key, self.value, self.out = (Dense(self.width, use_bias=False) for _ in range(4))

    def keys(self, x: Array) -> KeyValue:
        """Keys and values of [..., W]: [..., heads, d] each."""
        return self._split(self.key(x)), self._split(self.value(x))

    def __call__(self, x: Array, shared: KeyValue | None, bias: Array | None, own: KeyValue | None, own_bias: Any):
        """What queries [B, Q, W] read, [B, Q, W], from keys and values that are there.

        These are shared, [B, T, heads, d] with bias [B, heads, Q, T], or own, [B, Q, J, heads, d] with bias [heads, J].
        """
        query = self._split(self.query(x)) * (self.width // self.heads) ** -0.5
        scores = []
        if shared is not None and bias is not None:
            scores.append(jnp.einsum("bqhd,bthd->bhqt", query, shared[0]) + bias)
        if own is not None:
            scores.append(jnp.einsum("bqhd,bqjhd->bhqj", query, own[0]) + own_bias[None, :, None])
        joined = jnp.concatenate(scores, axis=-1)
        # Where everything is masked, the softmax is even: the first row of a history would read those after it.
        weights = jnp.where(joined > MASKED / 2, nn.softmax(joined, axis=-1), 0.0)
        mixed, read = jnp.zeros_like(query), 0
        if shared is not None:
            read = shared[0].shape[1]
            mixed += jnp.einsum("bhqt,bthd->bqhd", weights[..., :read], shared[1])
        if own is not None:
            mixed += jnp.einsum("bhqj,bqjhd->bqhd", weights[..., read:], own[1])
        return self.out(mixed.reshape(x.shape))

    def _split(self, x: Array) -> Array:
        return x.reshape(*x.shape[:-1], self.heads, x.shape[-1] // self.heads)


class Block(nn.Module):
    """One layer: attention to earlier tokens, attention to an encoder if there is one, a perceptron."""

    shape: Shape
    cross: bool = False

    def setup(self):
        """Sublayers, each after a norm."""
        shape = self.shape
        self.norm_self, self.read_self = nn.RMSNorm(), Attention(shape.width, shape.heads)
        if self.cross:
            self.norm_cross, self.read_cross = nn.RMSNorm(), Attention(shape.width, shape.heads)
        self.norm_mlp = nn.RMSNorm()
        self.up = Dense(shape.hidden, use_bias=False)
        self.down = Dense(shape.width, use_bias=False)
        self.drop = nn.Dropout(shape.dropout)

    def all(self, x: Array, bias: Array) -> tuple[Array, KeyValue]:
        """All tokens [B, T, W] at once with bias [B, heads, T, T]: what comes out, and the keys that were read."""
        normed = self.norm_self(x)
        keys = self.read_self.keys(normed)
        return self._perceive(x + self._drop(self.read_self(normed, keys, bias, None, None))), keys

    def one(self, x: Array, shared: KeyValue, bias: Array, own: KeyValue | None, own_bias: Array):
        """One token [B, Q, W] of each of Q rows: what comes out, [B, Q, W], and the keys of the row with this token.

        The keys of the history are `shared` [B, T, heads, d] each, with a bias [B, heads, Q, T], those of the row's J
        earlier tokens `own` [B, Q, J, heads, d] each, with a bias [heads, J + 1] for them and this token.
        """
        normed = self.norm_self(x)
        key, value = (one[:, :, None] for one in self.read_self.keys(normed))
        if own is not None:
            key, value = jnp.concatenate([own[0], key], axis=2), jnp.concatenate([own[1], value], axis=2)
        own = key, value
        if self.cross:
            x = x + self._drop(self.read_self(normed, None, None, own, own_bias))
            x = x + self._drop(self.read_cross(self.norm_cross(x), shared, bias, None, None))
        else:
            x = x + self._drop(self.read_self(normed, shared, bias, own, own_bias))
        return self._perceive(x), own

    def keys_of_encoder(self, encoded: Array) -> KeyValue:
        """Keys of an encoder's states [B, T, W]."""
        return self.read_cross.keys(encoded)

    def _perceive(self, x: Array) -> Array:
        return x + self._drop(self.down(nn.relu(self.up(self.norm_mlp(x)))))

    def _drop(self, x: Array) -> Array:
        return self.drop(x, deterministic=not self.has_rng("dropout"))
