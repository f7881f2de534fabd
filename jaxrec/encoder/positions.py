"""Token positions: rows of a learned table, rotary angles, buckets of distance, and which tokens see which."""

import math

import jax.numpy as jnp
import numpy as np

from jaxrec.encoder.architecture import Rotary
from jaxrec.types import Array

MASKED = -1e9  # added to scores: exp gives exactly 0, and a fully masked row stays finite


def token_positions(mask: Array) -> Array:
    """Count the tokens before each token; mask [B, T] -> [B, T] int32, whichever side the padding is on."""
    return jnp.maximum(jnp.cumsum((mask > 0).astype(jnp.int32), axis=1) - 1, 0)


def inverse_frequencies(rotary: Rotary, head_dim: int) -> np.ndarray:
    """Radians per position for each pair of channels; [head_dim / 2] float32."""
    plain = rotary.theta ** (-np.arange(0, head_dim, 2) / head_dim)
    slow = plain / rotary.factor
    if rotary.scaling == "default":
        return plain.astype(np.float32)
    if rotary.scaling == "linear":
        return slow.astype(np.float32)
    # llama3: turns within the original length decide. Few turns are slowed down, many kept, those between blended.
    turns = rotary.original_length * plain / (2 * math.pi)
    keep = (turns - rotary.low_freq_factor) / (rotary.high_freq_factor - rotary.low_freq_factor)
    keep = np.clip(keep, 0, 1)
    return (keep * plain + (1 - keep) * slow).astype(np.float32)


def rotary_table(rotary: Rotary, head_dim: int, places: Array) -> tuple[Array, Array]:
    """Cosine and sine of the angles at positions `places` [..., T]; two [..., T, head_dim] float32, halves equal."""
    steps = inverse_frequencies(rotary, head_dim).reshape((1,) * places.ndim + (-1,))
    angles = places.astype(jnp.float32)[..., None] * steps
    angles = jnp.concatenate([angles, angles], axis=-1)
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: Array, cos: Array, sin: Array) -> Array:
    """Turn channel i with channel i + D/2; x [B, H, T, D], cos and sin [B or 1, 1, T, D] -> [B, H, T, D] float32."""
    x = x.astype(jnp.float32)
    first, second = jnp.split(x, 2, axis=-1)
    return x * cos + jnp.concatenate([-second, first], axis=-1) * sin


def relative_bucket(length: int, buckets: int, max_distance: int, causal: bool) -> np.ndarray:
    """Bucket of the distance from query to key (T5, arXiv:1910.10683); [T, T] int32, queries first.

    Half of the buckets are for one distance each, the rest grow in size up to `max_distance`. Without `causal`
    the second half of all buckets is for keys after the query.
    """
    ahead = np.arange(length)[None, :] - np.arange(length)[:, None]
    base = np.zeros_like(ahead)
    if causal:
        distance = np.maximum(-ahead, 0)
    else:
        buckets //= 2
        base, distance = np.where(ahead > 0, buckets, 0), np.abs(ahead)
    exact = buckets // 2
    far = np.log(np.maximum(distance, 1).astype(np.float32) / exact) / np.float32(math.log(max_distance / exact))
    far = np.minimum(exact + (far * np.float32(buckets - exact)).astype(np.int32), buckets - 1)
    return (base + np.where(distance < exact, distance, far)).astype(np.int32)


def visibility(length: int, window: int, causal: bool) -> np.ndarray | None:
    """0 where the query sees the key and `MASKED` elsewhere; [T, T] float32, None if all tokens see all."""
    ahead = np.arange(length)[None, :] - np.arange(length)[:, None]
    seen = np.ones_like(ahead, bool)
    if causal:
        seen &= ahead <= 0
    if window:
        seen &= np.abs(ahead) < window
    return None if seen.all() else np.where(seen, 0.0, MASKED).astype(np.float32)


def cache_visibility(mask: Array, places: Array, window: int) -> Array:
    """0 where a token sees a slot of a cache and `MASKED` elsewhere; [B, T, S] float32 for any window.

    `mask` [A, S] marks the slots with tokens, in their order; `places` [B, T] are positions of later tokens, of which
    B / A neighbouring rows read one line of the cache.
    """
    seen = (mask > 0)[:, None]
    slots = token_positions(mask)[:, None]
    seen, slots = (jnp.repeat(x, len(places) // len(mask), axis=0) for x in (seen, slots))
    seen = jnp.broadcast_to(seen, (*places.shape, mask.shape[1]))
    if window:
        seen &= places[:, :, None] - slots < window
    return jnp.where(seen, 0.0, MASKED)
