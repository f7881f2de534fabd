"""Random numbers made from 32-bit words, so that a step of a user model draws once and wastes nothing.

words = jax.random.bits(key, (n,))     # the cost of random numbers is one hash per word
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
    """Whole numbers from 0 to `below` - 1, uniform to 1 part in 2^16 / below; [...] of `two_a_word` -> int32 [...]."""
    return ((halves * jnp.uint32(below)) >> jnp.uint32(16)).astype(jnp.int32)


def scaled(uniform: Array, size: Array | int) -> Array:
    """Scale a number in [0, 1) to a whole number from 0 to `size` - 1; [], [] int32 -> [] int32."""
    size = jnp.asarray(size, jnp.int32)
    return jnp.minimum((uniform * size.astype(jnp.float32)).astype(jnp.int32), size - 1)


def distinct(uniform: Array, below: int) -> Array:
    """Different whole numbers from 0 to `below` - 1, every sequence equally likely; uniform [K] -> [K] int32.

    The first K cards of a Fisher-Yates shuffle that stores only its moves: about K^2 comparisons, however many numbers
    there are.
    """
    drawn, moved = [], []  # moved: places and what was put there, latest last

    def lies_at(place: Array) -> Array:
        card = place
        for where, what in moved:
            card = jnp.where(where == place, what, card)
        return card

    for k in range(uniform.shape[0]):
        room = below - k
        place = k + jnp.minimum((uniform[k] * room).astype(jnp.int32), room - 1)
        drawn.append(lies_at(place))
        moved.append((place, lies_at(jnp.asarray(k, jnp.int32))))
    return jnp.stack(drawn)


# Giles's polynomials for the inverse error function (GPU Computing Gems 2, 2010), highest power first: in w - 2.5 where
# w < 5, else in sqrt(w) - 3.
CENTRE = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 2.1858087e-04, -1.25372503e-03,
          -4.17768164e-03, 0.246640727, 1.50140941)  # fmt: skip
TAIL = (-2.00214257e-04, 1.00950558e-04, 1.34934322e-03, -3.67342844e-03, 5.73950773e-03, -7.6224613e-03,
        9.43887047e-03, 1.00167406, 2.83297682)  # fmt: skip


def standard_normal(uniform: Array) -> Array:
    """Normal numbers of mean 0 and deviation 1 from uniform ones in [0, 1), none beyond 5.3, accurate to 1e-6.

    The quantile function. w = -log(1 - x^2) at x = 2 u - 1 is the log of a product here, without cancellation.
    XLA's own `erf_inv` takes x, loses digits near the ends and costs three times as much.
    """
    u = jnp.maximum(uniform, 2.0**-24)
    w = -jnp.log(4.0 * u * (1.0 - u))
    centre = jnp.polyval(jnp.array(CENTRE, u.dtype), w - 2.5)
    tail = jnp.polyval(jnp.array(TAIL, u.dtype), jnp.sqrt(w) - 3.0)
    return 2.0**0.5 * (2.0 * u - 1.0) * jnp.where(w < 5.0, centre, tail)
