import jax.numpy as jnp
import numpy as np

from jaxrec.encoder.pool import Pooling

HIDDEN = jnp.array([[[1.0, 2.0], [5.0, 6.0], [100.0, 100.0]], [[3.0, 4.0], [0.0, 0.0], [0.0, 0.0]]])
MASK = jnp.array([[1, 1, 0], [1, 0, 0]])


def test_mean_is_over_tokens_not_padding() -> None:
    np.testing.assert_allclose(Pooling("mean")(HIDDEN, MASK), [[3.0, 4.0], [3.0, 4.0]])


def test_cls_is_the_first_token() -> None:
    np.testing.assert_allclose(Pooling("cls")(HIDDEN, MASK), [[1.0, 2.0], [3.0, 4.0]])


def test_normalised_vectors_have_unit_length() -> None:
    np.testing.assert_allclose(Pooling("mean", normalise=True)(HIDDEN, MASK), [[0.6, 0.8], [0.6, 0.8]], atol=1e-6)


def test_a_row_without_tokens_is_zero_and_finite() -> None:
    np.testing.assert_allclose(Pooling("mean", normalise=True)(HIDDEN, jnp.zeros_like(MASK)), np.zeros((2, 2)))


def test_half_precision_hidden_states_are_averaged_in_float32() -> None:
    # In bfloat16 the running sum of 300 ones would stop at 256.
    ones = jnp.ones((1, 300, 1), jnp.bfloat16)
    got = Pooling("mean")(ones, jnp.ones((1, 300), jnp.int32))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, [[1.0]])
