"""Losses and returns against rlax, to 1e-6; skipped where it is not installed (it needs a nightly build)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.learn.dqn import best_mean
from jaxrec.ops.losses import policy_gradient_loss
from jaxrec.ops.returns import gae, n_step

rlax = pytest.importorskip("rlax")
TIME, USERS = 12, 5


def steps(seed: int = 0) -> tuple[jax.Array, ...]:
    """Rewards, values, next values [T, N] and terminations, without truncation."""
    keys = jax.random.split(jax.random.key(seed), 3)
    reward, value = (jax.random.normal(key, (TIME, USERS)) for key in keys[:2])
    terminated = jax.random.bernoulli(keys[2], 0.2, (TIME, USERS))
    return reward, value, jnp.concatenate([value[1:], jnp.ones((1, USERS))]), terminated


def test_advantages() -> None:
    reward, value, following, terminated = steps()
    got = gae(reward, value, following, terminated, jnp.zeros_like(terminated), 0.9, 0.8)
    values = jnp.concatenate([value, following[-1:]])
    for user in range(USERS):
        discount = 0.9 * (1.0 - terminated[:, user].astype(jnp.float32))
        want = rlax.truncated_generalized_advantage_estimation(reward[:, user], discount, 0.8, values[:, user])
        np.testing.assert_allclose(got[:, user], want, atol=1e-6)


@pytest.mark.parametrize("n", [1, 3, 5])
def test_n_step_targets(n: int) -> None:
    reward, _, following, terminated = (x.T for x in steps(1))
    discount = 0.9 * (1.0 - terminated.astype(jnp.float32))
    for user in range(USERS):
        want = rlax.n_step_bootstrapped_returns(reward[user], discount[user], following[user], n)
        for start in range(TIME - n + 1):
            part = slice(start, start + n)
            got = n_step(reward[user, part], terminated[user, part], jnp.zeros(n, bool), 0.9)
            assert float(got.reward + got.discount * following[user, start + n - 1]) == pytest.approx(
                float(want[start]), abs=1e-6
            )


def test_double_q_errors_of_single_items() -> None:
    keys = jax.random.split(jax.random.key(2), 3)
    q, chooser, following = (jax.random.normal(key, (USERS, 4)) for key in keys)
    action, reward, discount = jnp.array([0, 3, 1, 1, 2]), jnp.arange(5.0), jnp.full(5, 0.9)
    want = jax.vmap(rlax.double_q_learning)(q, action, reward, discount, following, chooser)
    got = reward + discount * best_mean(chooser, following, 1) - q[jnp.arange(USERS), action]
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_the_policy_gradient() -> None:
    logits = jax.random.normal(jax.random.key(3), (USERS, 4))
    action, advantage = jnp.array([0, 3, 1, 1, 2]), jnp.linspace(-1.0, 1.0, USERS)
    want = rlax.policy_gradient_loss(logits, action, advantage, jnp.ones(USERS))
    got = policy_gradient_loss(jax.nn.log_softmax(logits)[jnp.arange(USERS), action], advantage)
    assert float(got) == pytest.approx(float(want), abs=1e-6)
