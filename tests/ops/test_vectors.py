import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.ops.vectors import mean_cosine, slate_diversity, unit_rows, unit_vectors


@pytest.mark.parametrize("unit", [unit_rows, lambda rows, floor: unit_vectors(jnp.asarray(rows), floor)])
def test_rows_have_length_one_and_zeros_stay_zeros(unit) -> None:
    rows = np.array([[3.0, 4.0], [0.0, 0.0], [-5.0, 12.0]], np.float32)
    want = [[0.6, 0.8], [0.0, 0.0], [-5 / 13, 12 / 13]]
    np.testing.assert_allclose(unit(rows, 1e-8), want, rtol=1e-6)
    assert unit(rows, 1e-8).dtype == np.float32
    np.testing.assert_allclose(unit(rows[None], 1e-8), [want], rtol=1e-6)
    # rows shorter than the floor are divided by the floor: (3, 4) / 10 and (-5, 12) / 13
    np.testing.assert_allclose(unit(rows, 10.0), [[0.3, 0.4], [0.0, 0.0], [-5 / 13, 12 / 13]], rtol=1e-6)


def test_diversity_is_one_less_the_mean_over_the_slate_of_mean_cosines() -> None:
    rows = unit_vectors(jax.random.normal(jax.random.key(0), (6, 4, 8)))
    want = 1.0 - jax.vmap(mean_cosine)(rows).mean(-1)
    chex.assert_trees_all_close(slate_diversity(rows), want, atol=1e-6)


def test_mean_cosine_by_hand_whatever_the_length_of_the_rows() -> None:
    rows = jnp.array([[2.0, 0.0], [0.5, 0.5], [0.0, 3.0], [0.0, 0.0]])
    root = math.sqrt(0.5)  # cosines of items 0 and 1, 1 and 2; a row of zeros is like nothing
    chex.assert_trees_all_close(mean_cosine(rows), jnp.array([root, 2 * root, root, 0.0]) / 3, atol=1e-6)
    chex.assert_trees_all_equal(mean_cosine(rows[:1]), jnp.zeros(1))
