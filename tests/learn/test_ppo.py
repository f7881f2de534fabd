import chex
import jax.numpy as jnp
import pytest

from jaxrec.config.learners import PolicyConfig
from jaxrec.types import Env
from tests.probes import delay_probe, document_probe, endless_probe, learn, outputs, taste_probe

SMALL = {"num_users": 64, "horizon": 8, "minibatches": 4, "policy": PolicyConfig(width=8, hidden=(16,))}


def train(env: Env, updates: int, **options):
    return learn("ppo", env, {**SMALL, **options}, updates)


def test_ppo_learns_what_each_user_likes() -> None:
    env = taste_probe()
    state, metrics = train(env, 60, learning_rate=0.01, gamma=0.9)
    output, obs = outputs(env, state.params, SMALL["policy"])
    chosen = output.logits.argmax(-1)
    chex.assert_trees_all_equal(obs.user[jnp.arange(32), chosen], jnp.ones(32))
    assert float(metrics["reward"][0]) == pytest.approx(0.5, abs=0.1)
    assert float(metrics["reward"][-1]) > 0.95
    chex.assert_trees_all_close(output.value, jnp.ones(32), atol=0.1)  # every user is worth 1


def test_ppo_learns_which_features_of_fresh_documents_each_user_likes() -> None:
    env = document_probe()
    state, metrics = train(env, 80, learning_rate=0.01, gamma=0.9, entropy_coef=0.0)
    output, obs = outputs(env, state.params, SMALL["policy"])
    pay = jnp.einsum("nmd,nd->nm", obs.candidate_features, obs.user)
    chosen = jnp.take_along_axis(pay, output.logits.argmax(-1)[:, None], -1)[:, 0]
    assert float(metrics["reward"][0]) == pytest.approx(0.5, abs=0.1)
    assert float((pay.max(-1) - chosen).mean()) < 0.01  # the best of four pays 0.8 on average
    assert float(metrics["reward"][-1]) > 0.75


def test_ppo_gives_up_a_little_now_for_more_later() -> None:
    env = delay_probe()
    state, metrics = train(env, 60, learning_rate=0.01, gamma=1.0, gae_lambda=1.0)
    output, _ = outputs(env, state.params, SMALL["policy"])
    assert int(output.logits[0].argmax()) == 1
    assert float(metrics["episode_return"][-1]) > 0.75  # best 0.8, greedy 0.1


def test_ppo_bootstraps_where_a_session_is_cut() -> None:
    env = endless_probe()
    state, _ = train(env, 150, learning_rate=0.02, gamma=0.8, value_coef=1.0, max_grad_norm=10.0)
    output, _ = outputs(env, state.params, SMALL["policy"])
    chex.assert_trees_all_close(output.value, jnp.full(32, 5.0), atol=0.25)  # 1 / (1 - 0.8), not 2.95 of 4 steps
