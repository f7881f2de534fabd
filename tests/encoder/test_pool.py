import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.encoder.pool import POOLERS, Head, Pooling

HIDDEN = jnp.array([[[1.0, 2.0], [5.0, 8.0], [100.0, 100.0]], [[3.0, 4.0], [0.0, 0.0], [0.0, 0.0]]])
MASK = jnp.array([[1, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize(
    ("mode", "want"),
    [
        ("mean", [3.0, 5.0]),
        ("cls", [1.0, 2.0]),
        ("lasttoken", [5.0, 8.0]),
        ("max", [5.0, 8.0]),
        ("weightedmean", [11 / 3, 6.0]),  # (1 x 1 + 2 x 5) / 3, (1 x 2 + 2 x 8) / 3
        ("mean_sqrt_len_tokens", [6 / 2**0.5, 10 / 2**0.5]),
    ],
)
def test_tokens_are_pooled_and_padding_is_not(mode: str, want: list[float]) -> None:
    np.testing.assert_allclose(Pooling(mode)({}, HIDDEN, MASK), [want, [3.0, 4.0]], rtol=1e-6)


@pytest.mark.parametrize("mode", POOLERS)
def test_padding_before_the_tokens_changes_nothing(mode: str) -> None:
    behind = Pooling(mode)({}, HIDDEN, MASK)
    before = Pooling(mode)({}, jnp.roll(HIDDEN[:1], 1, axis=1), jnp.roll(MASK[:1], 1, axis=1))
    np.testing.assert_allclose(before, behind[:1], rtol=1e-6)


def test_normalised_vectors_have_unit_length() -> None:
    got = Pooling("mean", normalise=True)({}, HIDDEN[1:], MASK[1:])
    np.testing.assert_allclose(got, [[0.6, 0.8]], atol=1e-6)


@pytest.mark.parametrize("mode", POOLERS)
def test_a_row_without_tokens_is_zero_and_finite(mode: str) -> None:
    got = Pooling(mode, normalise=True)({}, HIDDEN, jnp.zeros_like(MASK))
    np.testing.assert_allclose(got, np.zeros((2, 2)))


def test_a_row_without_tokens_has_a_finite_slope() -> None:
    def total(hidden):
        return Pooling("mean", normalise=True)({}, hidden, MASK.at[0].set(0)).sum()

    slope = jax.grad(total)(HIDDEN)
    assert bool(jnp.isfinite(slope).all()) and float(jnp.abs(slope[0]).max()) == 0.0


def test_half_precision_hidden_states_are_averaged_in_float32() -> None:
    # In bfloat16 the running sum of 300 ones would stop at 256.
    ones = jnp.ones((1, 300, 1), jnp.bfloat16)
    got = Pooling("mean")({}, ones, jnp.ones((1, 300), jnp.int32))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, [[1.0]])


def test_heads_come_before_the_cut_and_the_cut_before_the_norm() -> None:
    kernel, bias = jnp.array([[1.0, 0.0, 9.0], [0.0, 1.0, 9.0]]), jnp.array([1.0, -9.0, 0.0])
    params = {"heads": {"0": {"kernel": kernel, "bias": bias}}}
    pool = Pooling("mean", normalise=True, heads=(Head(3, "ReLU"),), dimensions=2)
    # (3, 5) becomes (4, 0, 72) behind the head, (4, 0) cut, (1, 0) normalised
    np.testing.assert_allclose(pool(params, HIDDEN[:1], MASK[:1]), [[1.0, 0.0]])
    assert pool.width(2) == 2 and Pooling(heads=pool.heads).width(2) == 3


def test_more_dimensions_than_there_are_are_refused() -> None:
    with pytest.raises(InputError, match="dimensions: expected at most 2, the model's width, got 3"):
        Pooling(dimensions=3)({}, HIDDEN, MASK)
    with pytest.raises(InputError, match="pooling: no 'last'; did you mean 'lasttoken'"):
        Pooling("last")
