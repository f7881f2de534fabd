"""Numbers from words: worked by hand, and against scipy's quantiles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2, norm

from jaxrec.ops.draws import MANY, distinct, shuffled, standard_normal, two_a_word, unit_interval, whole_numbers


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
    uniform = np.arange(1, 2**23, 4_001, dtype=np.float32) / 2**23
    np.testing.assert_allclose(standard_normal(jnp.asarray(uniform)), norm.ppf(uniform.astype(np.float64)), atol=1e-6)
    ends = np.asarray(standard_normal(jnp.array([0.0, 1 - 2.0**-23])))
    assert np.isfinite(ends).all()
    assert -6 < ends[0] < -5 < 5 < ends[1] < 6


def test_all_halves_of_random_words_are_used() -> None:
    halves = np.asarray(two_a_word(jax.random.bits(jax.random.key(0), (50_000,))))
    assert abs(halves.mean() / 2**16 - 0.5) < 4 * (1 / 12 / 100_000) ** 0.5
    assert abs(np.corrcoef(halves[::2], halves[1::2])[0, 1]) < 4 / 50_000**0.5


def test_distinct_numbers_are_the_first_cards_of_a_shuffle() -> None:
    # cards 0 1 2 3: place 0 + 3 gives 3 (3 1 2 0), place 1 + 2 gives 0 (3 0 2 1), place 2 + 1 gives 1
    assert distinct(jnp.array([0.99, 0.99, 0.99]), 4).tolist() == [3, 0, 1]
    assert distinct(jnp.zeros(4), 4).tolist() == [0, 1, 2, 3]
    uniform = jax.random.uniform(jax.random.key(0), (60_000, 3))
    drawn = np.asarray(jax.vmap(lambda u: distinct(u, 5))(uniform))
    assert (np.sort(drawn)[:, 1:] > np.sort(drawn)[:, :-1]).all()
    counts = np.unique(drawn @ [25, 5, 1], return_counts=True)[1]
    assert len(counts) == 60  # of every sequence 1,000
    assert ((counts - 1_000) ** 2 / 1_000).sum() < 100  # chi-squared, 59 degrees of freedom: 98.3 is one in 1,000


@pytest.mark.parametrize("size", [1, 2, 5, MANY, MANY + 1, 1500, 2**12])
def test_a_shuffle_has_every_number_once(size: int) -> None:
    orders = np.asarray(jax.vmap(lambda key: shuffled(key, size))(jax.random.split(jax.random.key(0), 5)))
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.broadcast_to(np.arange(size), orders.shape))
    assert size < 5 or len({row.tobytes() for row in orders}) == 5


@pytest.mark.parametrize("size", [MANY, 1500])
def test_a_long_shuffle_is_as_random_as_a_uniform_one(size: int) -> None:
    """Against what is known of uniform orders, with 3,000 of them in 10 blocks of places."""
    draws, part = 3000, size // 10
    orders = np.asarray(jax.vmap(lambda key: shuffled(key, size))(jax.random.split(jax.random.key(4), draws)))
    places = np.minimum(np.arange(size) // part, 9)
    for place in (0, 1, size // 2, size - 1):  # each place has every number equally often
        seen = np.bincount(places[orders[:, place]], minlength=10)
        wanted = draws * np.bincount(places) / size
        assert ((seen - wanted) ** 2 / wanted).sum() < chi2.ppf(0.9999, 9)
    first = np.stack([(places[orders[:, :part]] == block).sum(1) for block in range(9)])
    spread = part * 0.1 * 0.9 * (size - part) / (size - 1)  # variance of the hypergeometric distribution
    np.testing.assert_allclose(first.mean(), part * part / size, rtol=0.01)
    np.testing.assert_allclose(first.var(), spread, rtol=0.06)
    neighbours = (np.abs(np.diff(orders, axis=1)) == 1).mean()
    np.testing.assert_allclose(neighbours, 2 / size, rtol=0.06)
