"""Squashed Gaussians against torch.distributions, and by numerical integration."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.ops.squashed import gaussian_entropy, gaussian_kl, squash, squashed_log_prob, unsquash

LOW, HIGH = -0.5, 2.0


def gaussians(seed: int = 0) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Numbers, means and logarithms of deviations [20, 3]."""
    keys = jax.random.split(jax.random.key(seed), 3)
    x, mean, log_std = (jax.random.normal(key, (20, 3)) for key in keys)
    return x, mean, 0.5 * log_std


def test_log_probabilities_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    distributions = torch.distributions
    x, mean, log_std = gaussians()
    actions = squash(x, LOW, HIGH)
    base = distributions.Normal(torch.tensor(np.array(mean)), torch.tensor(np.exp(np.array(log_std))))
    half = 0.5 * (HIGH - LOW)
    steps = [distributions.TanhTransform(), distributions.AffineTransform(LOW + half, half)]
    want = distributions.TransformedDistribution(base, steps).log_prob(torch.tensor(np.array(actions))).sum(-1)
    got = squashed_log_prob(actions, mean, log_std, LOW, HIGH)
    np.testing.assert_allclose(got, want.numpy(), rtol=1e-5, atol=1e-5)
    plain = squashed_log_prob(x, mean, log_std, -math.inf, math.inf)
    np.testing.assert_allclose(plain, base.log_prob(torch.tensor(np.array(x))).sum(-1).numpy(), rtol=1e-5, atol=1e-5)


def test_entropy_and_divergence_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    one, other = gaussians(1), gaussians(2)
    normals = [
        torch.distributions.Normal(torch.tensor(np.array(m)), torch.tensor(np.exp(np.array(s))))
        for _, m, s in (one, other)
    ]
    np.testing.assert_allclose(gaussian_entropy(one[2]), normals[0].entropy().sum(-1).numpy(), rtol=1e-5)
    want = torch.distributions.kl_divergence(*normals).sum(-1).numpy()
    np.testing.assert_allclose(gaussian_kl(*one[1:], *other[1:]), want, rtol=1e-5, atol=1e-5)


def test_densities_have_an_integral_of_one_over_the_range() -> None:
    grid = jnp.linspace(LOW, HIGH, 20_001)[1:-1, None]
    log_prob = squashed_log_prob(grid, jnp.array([[0.3]]), jnp.array([[-0.4]]), LOW, HIGH)
    assert float(jnp.exp(log_prob).sum() * (HIGH - LOW) / 20_000) == pytest.approx(1.0, abs=1e-4)


def test_by_hand_at_the_middle_of_the_range() -> None:
    got = squashed_log_prob(jnp.array([0.75]), jnp.array([0.0]), jnp.array([0.0]), LOW, HIGH)
    assert float(got) == pytest.approx(-0.5 * math.log(2 * math.pi) - math.log(1.25), abs=1e-6)


def test_the_ends_of_the_range_stay_finite_and_squash_is_undone_inside() -> None:
    ends = jnp.array([[LOW, HIGH]])
    chex.assert_tree_all_finite(squashed_log_prob(ends, jnp.zeros((1, 2)), jnp.zeros((1, 2)), LOW, HIGH))
    slope = jax.grad(lambda mean: squashed_log_prob(ends, mean, jnp.zeros((1, 2)), LOW, HIGH).sum())
    chex.assert_tree_all_finite(slope(jnp.zeros((1, 2))))
    x = jnp.linspace(-3.0, 3.0, 13)
    chex.assert_trees_all_close(unsquash(squash(x, LOW, HIGH), LOW, HIGH), x, atol=1e-3)
