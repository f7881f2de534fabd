"""Numbers from words: worked by hand, and against scipy's quantiles."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from jaxrec.ops.draws import standard_normal, two_a_word, unit_interval, whole_numbers


def test_words_fill_the_unit_interval_from_zero_to_just_below_one() -> None:
    words = jnp.array([0, 2**31, 2**32 - 1, 2**9 - 1], jnp.uint32)
    np.testing.assert_array_equal(unit_interval(words), [0.0, 0.5, 1 - 2.0**-23, 0.0])


def test_a_word_gives_its_lower_half_then_its_upper_half() -> None:
    words = jnp.array([0x0001FFFF, 0xABCD0000], jnp.uint32)
    np.testing.assert_array_equal(two_a_word(words), [0xFFFF, 0x0001, 0x0000, 0xABCD])


def test_whole_numbers_cut_the_range_into_equal_parts() -> None:
    halves = jnp.arange(2**16, dtype=jnp.uint32)
    numbers = np.asarray(whole_numbers(halves, 20))
    counts = np.bincount(numbers)
    assert (numbers[0], numbers[-1], len(counts)) == (0, 19, 20)
    assert counts.max() - counts.min() <= 1  # 65,536 = 20 x 3,276.8


def test_normal_numbers_are_the_quantiles_and_stay_finite_at_the_ends() -> None:
    uniform = np.linspace(1e-4, 1 - 1e-4, 999, dtype=np.float32)
    np.testing.assert_allclose(standard_normal(jnp.asarray(uniform)), norm.ppf(uniform.astype(np.float64)), atol=2e-4)
    ends = np.asarray(standard_normal(jnp.array([0.0, 1 - 2.0**-23])))
    assert np.isfinite(ends).all()
    assert -6 < ends[0] < -5 < 5 < ends[1] < 6


def test_all_halves_of_random_words_are_used() -> None:
    halves = np.asarray(two_a_word(jax.random.bits(jax.random.key(0), (50_000,))))
    assert abs(halves.mean() / 2**16 - 0.5) < 4 * (1 / 12 / 100_000) ** 0.5
    assert abs(np.corrcoef(halves[::2], halves[1::2])[0, 1]) < 4 / 50_000**0.5
