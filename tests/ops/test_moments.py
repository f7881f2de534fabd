import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.ops.moments import KEEP, add_batch, no_moments


def test_before_the_first_batch_numbers_are_left_as_they_are() -> None:
    moments, x = no_moments(), jnp.array([-3.0, 0.5])
    np.testing.assert_array_equal(moments.normalise(x), x)
    np.testing.assert_array_equal(moments.restore(x), x)


def test_moments_are_weighted_by_age() -> None:
    first, second, third = jnp.array([[27.0, 29.0]]), jnp.array([[1.0, 2.0]]), jnp.array([[5.0, 5.0]])
    moments = no_moments()
    for batch in (first, second, third):
        moments = add_batch(moments, batch)
    x = np.concatenate([np.ravel(batch) for batch in (first, second, third)])
    weights = np.repeat([KEEP**2, KEEP, 1.0], 2)
    mean = np.average(x, weights=weights)
    assert float(moments.mean) == pytest.approx(mean, rel=1e-5)
    assert float(moments.variance) == pytest.approx(np.average((x - mean) ** 2, weights=weights), rel=1e-5)
    np.testing.assert_allclose(moments.restore(moments.normalise(jnp.asarray(x))), x, rtol=1e-5)


def test_a_small_deviation_of_large_numbers_is_kept() -> None:
    moments = no_moments()
    for _ in range(3):
        moments = add_batch(moments, jnp.array([1000.0, 1000.25]))
    assert float(moments.deviation) == pytest.approx(0.125, rel=1e-4)


def test_equal_numbers_become_zero() -> None:
    moments = add_batch(no_moments(), jnp.full(4, 5.0))
    np.testing.assert_array_equal(moments.normalise(jnp.full(4, 5.0)), jnp.zeros(4))
