"""Advantages of single items: by hand, and against the exact gradient over all slates."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.policy import PolicyConfig
from jaxrec.learn.credit import Picks, pick_advantages
from jaxrec.ops.slates import expected_of_picks, pick_log_probs, slate_log_prob
from tests.probes import endless_probe, learn, outputs, pair_catalogue_probe, pair_probe

SLATES = jnp.array(list(itertools.permutations(range(5), 2)), jnp.int32)  # [20, K = 2]
LOGITS = jnp.array([0.3, -0.8, 1.1, 0.0, -0.2])
REWARDS = jnp.array([0.9, 0.1, 0.4, 0.6, 0.2])
AFTER = jax.random.normal(jax.random.key(0), (20,))  # what follows each slate: an interaction, or later steps


def everywhere(x: jax.Array) -> jax.Array:
    return jnp.broadcast_to(x, (20, 5))


def exact_gradient() -> jax.Array:
    """Of the expected reward and what follows, over all slates."""

    def expected(logits: jax.Array) -> jax.Array:
        chance = jnp.exp(slate_log_prob(everywhere(logits), SLATES))
        return chance @ (REWARDS[SLATES].sum(-1) + AFTER)

    return jax.grad(expected)(LOGITS)


def estimates(picks: Picks, value: float = 3.0) -> jax.Array:
    """The gradient from every slate: [20, M]."""
    advantages = pick_advantages(REWARDS[SLATES].sum(-1) + AFTER - value, picks)

    def one(slate: jax.Array, advantage: jax.Array) -> jax.Array:
        return jax.grad(lambda logits: pick_log_probs(logits, slate) @ advantage)(LOGITS)

    return jax.vmap(one)(SLATES, advantages)


def spread(gradients: jax.Array) -> float:
    """Sum of the variances of an estimate, over slates as the policy draws them."""
    chance = jnp.exp(slate_log_prob(everywhere(LOGITS), SLATES))
    mean = chance @ gradients
    return float((chance @ jnp.square(gradients - mean[None])).sum())


@pytest.mark.parametrize("known", [True, False])
def test_the_estimate_is_the_exact_gradient_on_average(known: bool) -> None:
    expected = expected_of_picks(everywhere(LOGITS), SLATES, everywhere(REWARDS)) if known else None
    chance = jnp.exp(slate_log_prob(everywhere(LOGITS), SLATES))
    got = chance @ estimates(Picks(REWARDS[SLATES], expected))
    np.testing.assert_allclose(got, exact_gradient(), atol=2e-6)


def test_known_answers_of_items_make_the_estimate_less_noisy() -> None:
    own = REWARDS[SLATES]
    expected = expected_of_picks(everywhere(LOGITS), SLATES, everywhere(REWARDS))
    usual = float((jnp.exp(slate_log_prob(everywhere(LOGITS), SLATES)) * own.sum(-1)).sum())
    # Without what follows, the whole slate's advantage has the same best constant baseline.
    known, slate = Picks(own, expected), own.sum(-1) - usual

    def gradients(advantages: jax.Array) -> jax.Array:
        def one(picks: jax.Array, advantage: jax.Array) -> jax.Array:
            return jax.grad(lambda logits: pick_log_probs(logits, picks) @ advantage)(LOGITS)

        return jax.vmap(one)(SLATES, advantages)

    by_item = gradients(pick_advantages(slate, known))
    by_slate = gradients(jnp.broadcast_to(slate[:, None], (20, 2)))
    assert spread(by_item) < 0.6 * spread(by_slate)


def test_advantages_of_picks_by_hand() -> None:
    own, expected = jnp.array([[0.9, 0.5, 0.1]]), jnp.array([[0.6, 0.5, 0.4]])
    got = pick_advantages(jnp.array([2.0]), Picks(own, expected))
    after = 2.0 - 1.5 + 3 * 0.6  # without the rewards of the slate, with their mean
    want = [[0.3 + (0.5 + 0.4 - 1.2) + after, 0.0 + (0.4 - 0.5) + after, -0.3 + after]]
    np.testing.assert_allclose(got, want, rtol=1e-5)
    # Without known answers: less the earlier rewards, plus their mean of .5 each.
    got = pick_advantages(jnp.array([2.0]), Picks(own, None))
    np.testing.assert_allclose(got, [[2.0, 2.0 - 0.9 + 0.5, 2.0 - 1.4 + 1.0]], rtol=1e-5)


@pytest.mark.parametrize("known", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_ppo_with_credit_by_item_learns_the_best_slates(known: bool) -> None:
    env = pair_catalogue_probe() if known else pair_probe()
    small = PolicyConfig(width=8, hidden=(16,))
    options = {"num_users": 64, "horizon": 8, "policy": small, "learning_rate": 0.01, "gamma": 0.9, "credit": "item"}
    state, metrics = learn("ppo", env, {**options, "entropy_coef": 0.0}, 60)
    output, _ = outputs(env, state.params, small, users=1)
    assert sorted(np.argsort(np.asarray(output.logits[0]))[1:].tolist()) == [0, 1]  # the first slate
    # At most 1 + .5 + .2 in the first step and .4 + .9 in the second.
    assert float(metrics["episode_return"][-1]) > 2.8 > 2.5 > float(metrics["episode_return"][0])


def test_rewards_without_feedback_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="endless_probe rewards no feedback of single items"):
        learn("ppo", endless_probe(), {"num_users": 8, "num_shards": 2, "credit": "item"}, 1)
