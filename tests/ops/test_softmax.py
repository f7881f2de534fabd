import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.ops.softmax import sampled_softmax_loss, softmax_loss


def problem(positions: int = 13, items: int = 9, width: int = 4) -> tuple[jax.Array, ...]:
    rng = np.random.default_rng(0)
    queries, vectors, bias = (rng.normal(size=shape) for shape in ((positions, width), (items, width), (items,)))
    targets, weights = rng.integers(0, items, positions), rng.choice([0.0, 1.0, 0.5], positions)
    floats = (jnp.asarray(x, jnp.float32) for x in (queries, vectors, bias))
    return *floats, jnp.asarray(targets, jnp.int32), jnp.asarray(weights, jnp.float32)


def whole(queries, vectors, bias, targets, weights):
    """The same loss from all scores at once."""
    log_p = jax.nn.log_softmax(queries @ vectors.T + bias[None])
    return -(weights * jnp.take_along_axis(log_p, targets[:, None], axis=1)[:, 0]).sum()


def test_a_loss_by_hand() -> None:
    # scores 1, 2, 0 of the first query, target 1; the second does not count
    queries, vectors = jnp.array([[1.0], [5.0]]), jnp.array([[1.0], [2.0], [0.0]])
    targets, weights = jnp.array([1, 0], jnp.int32), jnp.array([1.0, 0.0])
    got = softmax_loss(queries, vectors, jnp.zeros(3), targets, weights, 1)
    assert float(got) == pytest.approx(np.log(np.e + np.e**2 + 1) - 2, rel=1e-6)


@pytest.mark.parametrize("chunk", [1, 4, 7, 13, 50])
def test_chunks_give_the_loss_and_the_gradient_of_all_scores_at_once(chunk: int) -> None:
    *trained, targets, weights = problem()

    def chunked(queries, vectors, bias):
        return softmax_loss(queries, vectors, bias, targets, weights, chunk)

    got, slopes = jax.jit(jax.value_and_grad(chunked, (0, 1, 2)))(*trained)
    want, wanted = jax.value_and_grad(whole, (0, 1, 2))(*trained, targets, weights)
    assert float(got) == pytest.approx(float(want), rel=1e-6)
    assert float(jax.jit(chunked)(*trained)) == pytest.approx(float(want), rel=1e-6)
    for a, b in zip(slopes, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)


def test_positions_without_weight_have_no_loss_and_no_gradient() -> None:
    queries, vectors, bias, targets, _ = problem()
    loss = jax.jit(jax.value_and_grad(lambda q: softmax_loss(q, vectors, bias, targets, jnp.zeros(13), 4)))
    value, slope = loss(queries)
    assert float(value) == 0 and not np.any(slope)


def test_all_items_drawn_once_give_the_full_softmax() -> None:
    queries, vectors, bias, targets, weights = problem()
    # each item is expected once, so the correction is log 1 = 0
    got = sampled_softmax_loss(queries, vectors, bias, targets, weights, jnp.arange(9), jnp.zeros(9))
    assert float(got) == pytest.approx(float(whole(queries, vectors, bias, targets, weights)), rel=1e-6)


def test_many_negatives_by_popularity_approach_the_full_softmax_only_with_the_correction() -> None:
    queries, vectors, bias, targets, weights = problem()
    share = jnp.asarray([0.4, 0.2, 0.1, 0.1, 0.05, 0.05, 0.04, 0.03, 0.03])
    draws = jax.random.categorical(jax.random.key(0), jnp.log(share), shape=(200_000,))
    expected = jnp.log(share)[draws] + jnp.log(200_000.0)
    want = float(whole(queries, vectors, bias, targets, weights))
    got = float(sampled_softmax_loss(queries, vectors, bias, targets, weights, draws, expected))
    plain = jnp.full_like(expected, jnp.log(200_000.0 / 9))
    assert got == pytest.approx(want, rel=5e-3)
    assert abs(float(sampled_softmax_loss(queries, vectors, bias, targets, weights, draws, plain)) - want) > 0.02 * want
