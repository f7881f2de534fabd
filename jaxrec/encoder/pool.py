"""From the hidden states of tokens to one vector a text."""

import dataclasses
from typing import Literal

import jax.numpy as jnp

from jaxrec.types import Array


def mean_tokens(hidden: Array, mask: Array) -> Array:
    """Mean over the tokens of each text; [B, T, E], [B, T] -> [B, E]; zeros where a row has no token."""
    weight = mask.astype(jnp.float32)[:, :, None]
    return (hidden * weight).sum(axis=1) / jnp.maximum(weight.sum(axis=1), 1.0)


def first_token(hidden: Array, mask: Array) -> Array:
    """Give the hidden state of the class token; [B, T, E] -> [B, E]."""
    return hidden[:, 0]


POOLERS = {"mean": mean_tokens, "cls": first_token}


def unit_length(x: Array) -> Array:
    """Divide each row by its Euclidean norm; [B, E] -> [B, E]; zero rows stay zero."""
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


@dataclasses.dataclass(frozen=True)
class Pooling:
    """How a sentence encoder makes one vector of many."""

    mode: Literal["mean", "cls"] = "mean"
    normalise: bool = False

    def __call__(self, hidden: Array, mask: Array) -> Array:
        """Map hidden [B, T, E], mask [B, T] to [B, E] float32."""
        pooled = POOLERS[self.mode](hidden.astype(jnp.float32), mask)
        return unit_length(pooled) if self.normalise else pooled
