"""Random numbers made from 32-bit words, so that a step of a user model draws once and wastes nothing.

words = jax.random.bits(key, (n,))     # one hash a word is what random numbers cost
"""

import jax
import jax.numpy as jnp

from jaxrec.types import Array


def unit_interval(words: Array) -> Array:
    """Uniform numbers in [0, 1) with 23 random bits; uint32 [...] -> float32 [...]."""
    ones = jnp.uint32(0x3F800000)  # the bits of 1.0: the words fill its fraction, which gives numbers in [1, 2)
    return jax.lax.bitcast_convert_type((words >> jnp.uint32(9)) | ones, jnp.float32) - 1.0


def two_a_word(words: Array) -> Array:
    """Uniform whole numbers below 2^16; uint32 [n] -> uint32 [2 n]."""
    return jnp.stack([words & jnp.uint32(0xFFFF), words >> jnp.uint32(16)], axis=-1).reshape(-1)


def whole_numbers(halves: Array, below: int) -> Array:
    """Whole numbers from 0 to `below` - 1, even to one part in 2^16 / below; [...] of `two_a_word` -> int32 [...]."""
    return ((halves * jnp.uint32(below)) >> jnp.uint32(16)).astype(jnp.int32)


def standard_normal(uniform: Array) -> Array:
    """Normal numbers of mean 0 and deviation 1 from uniform ones in [0, 1), none beyond 5.5 or so."""
    return jnp.sqrt(2.0).astype(uniform.dtype) * jax.lax.erf_inv(jnp.maximum(2.0 * uniform - 1.0, -1.0 + 2.0**-23))
