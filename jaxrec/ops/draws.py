"""Random numbers made from 32-bit words, so that a step of a user model draws once and wastes nothing.

words = jax.random.bits(key, (n,))     # the cost of random numbers is one hash per word
"""

import jax
import jax.numpy as jnp

from jaxrec.types import Array

MANY, ROUNDS = 1024, 8  # of `shuffled`: numbers from which on it hashes, and rounds, each with a key of its own


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


def shuffled(key: Array, size: int) -> Array:
    """The numbers from 0 to `size` - 1 in a random order: [size] int32.

    Many numbers go through a Feistel network of keyed hashes (Luby and Rackoff, 1988), which maps those below the next
    power of two to each other one to one. It sorts nothing: sorting is what `jax.random.permutation` spends its time
    with on a CPU, 100 times as long. Short orders are drawn exactly, since the network has only as many orders as keys.
    """
    if size < MANY:
        return jax.random.permutation(key, size)
    bits = (size - 1).bit_length()
    low = jnp.uint32(bits // 2)
    masks = jnp.uint32((1 << bits // 2) - 1), jnp.uint32((1 << (bits - bits // 2)) - 1)
    number = jnp.arange(1 << bits, dtype=jnp.uint32)
    halves = [number & masks[0], number >> low]
    for round_, word in enumerate(jax.random.bits(key, (ROUNDS,))):
        own, other = round_ % 2, (round_ + 1) % 2
        halves[own] = halves[own] ^ (_mixed(halves[other] + word) & masks[own])
    order = ((halves[1] << low) | halves[0]).astype(jnp.int32)
    if size == 1 << bits:
        return order
    inside = order < size
    places = jnp.where(inside, jnp.cumsum(inside, dtype=jnp.int32) - 1, size)
    return jnp.zeros(size, jnp.int32).at[places].set(order, mode="drop")


def _mixed(words: Array) -> Array:
    """The finaliser of MurmurHash3: every bit of a word moves every bit of the result."""
    words = (words ^ (words >> jnp.uint32(16))) * jnp.uint32(0x85EBCA6B)
    words = (words ^ (words >> jnp.uint32(13))) * jnp.uint32(0xC2B2AE35)
    return words ^ (words >> jnp.uint32(16))
