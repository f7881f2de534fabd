"""What history encoders share: their inputs, and how they flatten leading axes."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrec.checks import check_shape
from jaxrec.types import Array


def history_inputs(rows: Array, feedback: Array) -> Array:
    """Scale rows to unit root mean square and append feedback: [..., H, D], [..., H, F] -> [..., H, D + F] float32."""
    rows = rows.astype(jnp.float32)
    scale = jax.lax.rsqrt(jnp.mean(rows**2, axis=-1, keepdims=True) + 1e-6)
    return jnp.concatenate([rows * scale, feedback.astype(jnp.float32)], axis=-1)


def flattened(rows: Array, feedback: Array, mask: Array) -> tuple[Array, Array, tuple[int, ...]]:
    """Inputs [B, H, D + F] and mask [B, H] with the leading axes as one, and the leading axes; check shapes."""
    *lead, length, _ = rows.shape
    check_shape("feedback", feedback, (*lead, length, None))
    check_shape("mask", mask, (*lead, length))
    inputs = history_inputs(rows, feedback)
    return inputs.reshape(-1, length, inputs.shape[-1]), mask.reshape(-1, length), tuple(lead)


def batched(encode):
    """Flatten leading axes around `encode(module, inputs [B, H, D + F], mask [B, H], last)`; check shapes."""

    @functools.wraps(encode)
    def call(module: nn.Module, rows: Array, feedback: Array, mask: Array, *, last: bool = False) -> Array:
        inputs, mask, lead = flattened(rows, feedback, mask)
        states = encode(module, inputs, mask, last)
        return states.reshape(*lead, *states.shape[1:])

    return call
