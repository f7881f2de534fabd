import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.ops.losses import (
    categorical_entropy,
    categorical_kl,
    clipped_policy_loss,
    slate_entropy,
    td_loss,
    value_loss,
)
from jaxrec.ops.slates import slate_log_prob

# Four candidates with weights 1, 2, 3, 4, slates of two: P(i, j) = w_i / 10 * w_j / (10 - w_i). Every probability is a
# multiple of 1 / 5040, so a batch of 5040 slates can be the distribution itself and averages over it are exact.
WEIGHTS = np.array([1, 2, 3, 4])
ALL_SLATES = np.array(list(itertools.permutations(range(4), 2)))
COUNTS = np.array([504 * WEIGHTS[i] * WEIGHTS[j] // (10 - WEIGHTS[i]) for i, j in ALL_SLATES])
POLICY = jnp.log(jnp.asarray(WEIGHTS, jnp.float32))
BATCH = jnp.asarray(np.repeat(ALL_SLATES, COUNTS, axis=0))  # [5040, 2]


@jax.jit
def log_probs(logits: jax.Array, slates: jax.Array) -> jax.Array:
    return slate_log_prob(jnp.broadcast_to(logits, (len(slates), 4)), slates)


@jax.jit
@jax.value_and_grad
def true_entropy(logits: jax.Array) -> jax.Array:
    log_p = log_probs(logits, jnp.asarray(ALL_SLATES))
    return -(jnp.exp(log_p) * log_p).sum()


@jax.jit
@jax.value_and_grad
def estimate(logits: jax.Array) -> jax.Array:
    """The estimate from the batch that another policy, `POLICY`, has drawn."""
    return slate_entropy(log_probs(logits, BATCH), log_probs(POLICY, BATCH))


def test_the_batch_is_the_distribution() -> None:
    assert COUNTS.sum() == len(BATCH) == 5040
    np.testing.assert_allclose(jnp.exp(log_probs(POLICY, jnp.asarray(ALL_SLATES))), COUNTS / 5040, rtol=1e-5)


def test_slate_entropy_and_its_gradient_are_those_of_the_distribution() -> None:
    value, gradient = estimate(POLICY)
    want, want_gradient = true_entropy(POLICY)
    np.testing.assert_allclose(value, want, rtol=1e-5)
    np.testing.assert_allclose(gradient, want_gradient, atol=1e-5)
    assert jnp.abs(want_gradient).max() > 0.1


def test_slates_of_an_older_policy_give_the_same_gradient_for_the_current_one() -> None:
    current = jnp.array([0.3, -0.2, 0.9, 0.1])
    value, gradient = estimate(current)
    want, want_gradient = true_entropy(current)
    np.testing.assert_allclose(value, want, rtol=1e-4)
    np.testing.assert_allclose(gradient, want_gradient, atol=1e-4)


def test_the_plain_estimate_has_the_value_but_no_gradient() -> None:
    value, gradient = jax.value_and_grad(lambda logits: -log_probs(logits, BATCH).mean())(POLICY)
    np.testing.assert_allclose(value, true_entropy(POLICY)[0], rtol=1e-5)
    np.testing.assert_allclose(gradient, np.zeros(4), atol=1e-5)


def test_following_the_gradient_of_slate_entropy_evens_the_policy_out() -> None:
    logits = POLICY
    for _ in range(3):
        logits = logits + 0.5 * estimate(logits)[1]
    assert true_entropy(logits)[0] > true_entropy(POLICY)[0] + 0.05


def test_categorical_entropy_by_hand() -> None:
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]]))
    np.testing.assert_allclose(categorical_entropy(logits[0]), 1.5 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(categorical_entropy(logits), (1.5 * np.log(2) + np.log(3)) / 2, rtol=1e-6)


@pytest.mark.parametrize(("open_", "want"), [(1, 0.0), (2, np.log(2)), (4, np.log(4))])
def test_masked_entries_count_nothing_and_have_no_gradient(open_: int, want: float) -> None:
    mask = jnp.arange(4) < open_
    value, gradient = jax.value_and_grad(lambda x: categorical_entropy(jnp.where(mask, x, -jnp.inf)))(jnp.zeros(4))
    np.testing.assert_allclose(value, want, atol=1e-6)
    np.testing.assert_allclose(gradient, np.zeros(4), atol=1e-6)  # uniform: the maximum


def test_very_uneven_logits_have_entropy_zero_and_a_finite_gradient() -> None:
    value, gradient = jax.value_and_grad(categorical_entropy)(jnp.array([200.0, -200.0, 0.0]))
    assert value == 0.0 and jnp.isfinite(gradient).all()


RATIO = jnp.array([1.5, 0.5, 1.1, 1.5])
ADVANTAGE = jnp.array([2.0, -1.0, 1.0, -1.0])


def test_clipped_policy_loss_by_hand() -> None:
    old = jnp.array([-1.0, -2.0, -0.5, 0.0])
    loss, metrics = clipped_policy_loss(jnp.log(RATIO) + old, old, ADVANTAGE, clip=0.2)
    # min(3, 2.4) = 2.4; min(-.5, -.8) = -.8; 1.1; min(-1.5, -1.2) = -1.5
    np.testing.assert_allclose(loss, -(2.4 - 0.8 + 1.1 - 1.5) / 4, rtol=1e-5)
    np.testing.assert_allclose(metrics["policy_loss"], loss)
    np.testing.assert_allclose(metrics["clip_fraction"], 3 / 4)
    np.testing.assert_allclose(metrics["approx_kl"], np.mean(RATIO - 1 - np.log(RATIO)), rtol=1e-4)


def test_the_policy_is_pushed_only_where_the_clip_lets_it() -> None:
    gradient = jax.grad(lambda x: clipped_policy_loss(x, jnp.zeros(4), ADVANTAGE, 0.2)[0])(jnp.log(RATIO))
    # d loss / d log ratio = -ratio A / 4, and nothing where going on would only win
    np.testing.assert_allclose(gradient, [0.0, 0.0, -1.1 / 4, 1.5 / 4], rtol=1e-5)


def test_no_gradient_flows_through_advantages_and_targets() -> None:
    assert not jax.grad(lambda a: clipped_policy_loss(jnp.log(RATIO), jnp.zeros(4), a, 0.2)[0])(ADVANTAGE).any()
    assert not jax.grad(lambda t: value_loss(RATIO, RATIO, t, 0.2))(ADVANTAGE).any()


def test_value_loss_by_hand() -> None:
    value, old, target = jnp.array([1.0, 3.0, 0.0]), jnp.array([1.0, 1.0, 0.1]), jnp.array([2.0, 4.0, 1.0])
    np.testing.assert_allclose(value_loss(value, old, target, None), (1 + 1 + 1) / 6)
    # clipped to within .5 of the old value: 1, 1.5 and 0; the larger error counts
    np.testing.assert_allclose(value_loss(value, old, target, 0.5), (1 + 2.5**2 + 1) / 6)
    np.testing.assert_allclose(jax.grad(value_loss)(value, old, target, None), (value - target) / 3, rtol=1e-6)


def test_td_loss_by_hand() -> None:
    q = jnp.array([[1.0, 4.0], [100.0, jnp.pi]])
    target = jnp.array([[1.5, 1.0], [0.0, 0.0]])
    weight = jnp.array([1.0, 0.0])
    loss, metrics = td_loss(q, target, weight, huber=1.0)
    # errors .5 and 3: .5 * .25 = .125; .5 * 1 + 1 * (3 - 1) = 2.5; the second slate counts nothing
    np.testing.assert_allclose(loss, (0.125 + 2.5) / 2)
    np.testing.assert_allclose([metrics["td_error"], metrics["q_mean"], metrics["target_mean"]], [1.75, 2.5, 1.25])
    gradient = jax.grad(lambda q, t: td_loss(q, t, weight, 1.0)[0], argnums=(0, 1))(q, target)
    np.testing.assert_allclose(gradient[0], [[-0.25, 0.5], [0.0, 0.0]])  # error / 2, cut at 1 / 2
    assert not gradient[1].any()


def test_td_loss_without_any_weight_is_zero() -> None:
    loss, metrics = td_loss(jnp.ones((2, 3)), jnp.zeros((2, 3)), jnp.zeros(2), huber=1.0)
    assert loss == 0.0 and metrics["td_error"] == 0.0


def test_shapes_that_would_broadcast_are_our_bug_and_stop() -> None:
    row, column = jnp.zeros(3), jnp.zeros((3, 1))
    for wrong in (
        lambda: clipped_policy_loss(row, row, column, 0.2),
        lambda: value_loss(row, column, row, 0.2),
        lambda: slate_entropy(row, column),
        lambda: td_loss(column, row, row, 1.0),
        lambda: td_loss(column, column, column, 1.0),
    ):
        with pytest.raises(AssertionError):
            wrong()


def test_categorical_kl_by_hand() -> None:
    p, q = jnp.array([[0.5, 0.25, 0.25], [0.75, 0.25, 0.0]]), jnp.array([[0.25, 0.25, 0.5], [0.25, 0.75, 0.0]])
    want = (0.5 * math.log(2) - 0.25 * math.log(2) + 0.75 * math.log(3) - 0.25 * math.log(3)) / 2
    logits, others = jnp.log(p), jnp.log(q) + 3.0
    assert float(categorical_kl(logits, others)) == pytest.approx(want, rel=1e-5)
    slope = jax.grad(categorical_kl)(logits, others)
    assert jnp.isfinite(slope).all() and float(slope[1, 2]) == 0.0
    np.testing.assert_allclose(jax.grad(categorical_kl)(others, others), jnp.zeros((2, 3)), atol=1e-7)
