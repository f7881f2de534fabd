"""Pooling the hidden states of tokens into one vector per text."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxrec.checks import InputError, check_name, check_range
from jaxrec.types import Array, Params


def mean_tokens(hidden: Array, mask: Array) -> Array:
    """Mean over the tokens of each text; [B, T, E], [B, T] -> [B, E]; zeros where a row has no token."""
    return _weighted_sum(hidden, mask) / jnp.maximum(_count(mask), 1.0)


def scaled_sum(hidden: Array, mask: Array) -> Array:
    """Sum over the tokens divided by the root of their number; [B, T, E], [B, T] -> [B, E]."""
    return _weighted_sum(hidden, mask) / jnp.sqrt(jnp.maximum(_count(mask), 1.0))


def late_mean(hidden: Array, mask: Array) -> Array:
    """Mean in which the n-th token counts n times (SGPT, arXiv:2202.08904); [B, T, E], [B, T] -> [B, E]."""
    weight = jnp.cumsum(mask, axis=1) * mask
    return _weighted_sum(hidden, weight) / jnp.maximum(_count(weight), 1.0)


def max_tokens(hidden: Array, mask: Array) -> Array:
    """Largest value of each channel over the tokens; [B, T, E], [B, T] -> [B, E]; zeros without tokens."""
    highest = jnp.where(mask[:, :, None] > 0, hidden, -jnp.inf).max(axis=1)
    return jnp.where(_count(mask) > 0, highest, 0.0)


def first_token(hidden: Array, mask: Array) -> Array:
    """Hidden state of the class token; [B, T, E], [B, T] -> [B, E]; zeros without tokens."""
    return _pick(hidden, mask, jnp.argmax(mask > 0, axis=1))


def last_token(hidden: Array, mask: Array) -> Array:
    """Hidden state of the last token; [B, T, E], [B, T] -> [B, E]; zeros where a row has no token."""
    return _pick(hidden, mask, mask.shape[1] - 1 - jnp.argmax(mask[:, ::-1] > 0, axis=1))


def _weighted_sum(hidden: Array, weight: Array) -> Array:
    return (hidden * weight.astype(jnp.float32)[:, :, None]).sum(axis=1)


def _count(weight: Array) -> Array:
    return weight.astype(jnp.float32).sum(axis=1, keepdims=True)


def _pick(hidden: Array, mask: Array, row: Array) -> Array:
    picked = jnp.take_along_axis(hidden, row[:, None, None], axis=1)[:, 0]
    return jnp.where(_count(mask) > 0, picked, 0.0)


POOLERS = {  # under the names of sentence-transformers
    "mean": mean_tokens,
    "cls": first_token,
    "lasttoken": last_token,
    "max": max_tokens,
    "weightedmean": late_mean,
    "mean_sqrt_len_tokens": scaled_sum,
}
HEAD_ACTIVATIONS = {  # by the last part of a torch class name
    "Identity": lambda x: x,
    "Tanh": jnp.tanh,
    "ReLU": jax.nn.relu,
    "GELU": lambda x: jax.nn.gelu(x, approximate=False),
    "SiLU": jax.nn.silu,
    "Sigmoid": jax.nn.sigmoid,
}


def unit_length(x: Array) -> Array:
    """Divide each row by its Euclidean norm; [B, E] -> [B, E]; zero rows stay zero."""
    # The sum under the root is kept above zero: for a text without tokens the gradient would be NaN.
    return x * lax.rsqrt(jnp.maximum((x * x).sum(axis=-1, keepdims=True), 1e-24))


@dataclasses.dataclass(frozen=True)
class Head:
    """A dense layer after the pooling; its weights are `params["heads"][n]`, kernel [in, out] and bias [out]."""

    width: int
    activation: str = "Identity"


@dataclasses.dataclass(frozen=True)
class Pooling:
    """How a sentence encoder turns many vectors into one."""

    mode: str = "mean"
    normalise: bool = False
    heads: tuple[Head, ...] = ()
    dimensions: int = 0  # leading channels to keep (Matryoshka, arXiv:2205.13147); 0: all

    def __post_init__(self):
        check_name("pooling", self.mode, POOLERS)
        check_range("dimensions", self.dimensions, 0)

    def width(self, hidden: int) -> int:
        """Length of the vectors pooled from hidden states of `hidden` channels."""
        full = self.heads[-1].width if self.heads else hidden
        if self.dimensions > full:
            raise InputError(f"dimensions: expected at most {full}, the model's width, got {self.dimensions}.")
        return self.dimensions or full

    def __call__(self, params: Params, hidden: Array, mask: Array) -> Array:
        """Map hidden [B, T, E], mask [B, T] to [B, width(E)] float32; `params` are the encoder's."""
        x = POOLERS[self.mode](hidden.astype(jnp.float32), mask)
        for number, head in enumerate(self.heads):
            x = HEAD_ACTIVATIONS[head.activation](_dense(params["heads"][str(number)], x))
        x = x[:, : self.width(hidden.shape[-1])]
        return unit_length(x) if self.normalise else x


def _dense(weights: dict[str, Any], x: Array) -> Array:
    x = jnp.matmul(x, weights["kernel"], precision=lax.Precision.HIGHEST)
    return x + weights["bias"][None, :] if "bias" in weights else x
