import chex
import jax
import jax.numpy as jnp
import pytest

from jaxrec.checks import InputError
from jaxrec.config.learners import PolicyConfig, PpoConfig
from jaxrec.envs import auto_reset, make_env
from jaxrec.learn import make_learner, ppo
from jaxrec.nets.policy import make_policy
from jaxrec.types import Env
from tests.probes import delay_probe, endless_probe, taste_probe

SMALL = {"num_users": 64, "horizon": 8, "minibatches": 4, "policy": PolicyConfig(width=8, hidden=(16,))}


def train(env: Env, updates: int, seed: int = 0, **options):
    learner = make_learner("ppo", auto_reset(env), PpoConfig(**{**SMALL, **options}))
    state = jax.jit(learner.init)(jax.random.key(seed), env.params)
    many = jax.jit(lambda s, w: jax.lax.scan(lambda s, _: learner.update(s, w), s, None, length=updates))
    return many(state, env.params)


def outputs(env: Env, state, config: PolicyConfig, seeds: int = 32):
    policy = make_policy(env.spec, config)
    _, obs = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(jax.random.key(9), seeds), env.params)
    return policy.apply(state.params, policy.items(state.params, env.params), obs, env.params), obs


def test_ppo_learns_what_each_user_likes() -> None:
    env = taste_probe()
    state, metrics = train(env, 60, learning_rate=0.01, gamma=0.9)
    output, obs = outputs(env, state, SMALL["policy"])
    chosen = output.logits.argmax(-1)
    chex.assert_trees_all_equal(obs.user[jnp.arange(32), chosen], jnp.ones(32))
    assert float(metrics["reward"][0]) == pytest.approx(0.5, abs=0.1)
    assert float(metrics["reward"][-1]) > 0.95
    chex.assert_trees_all_close(output.value, jnp.ones(32), atol=0.1)  # every user is worth 1


def test_ppo_gives_up_a_little_now_for_more_later() -> None:
    env = delay_probe()
    state, metrics = train(env, 60, learning_rate=0.01, gamma=1.0, gae_lambda=1.0)
    output, _ = outputs(env, state, SMALL["policy"])
    assert int(output.logits[0].argmax()) == 1
    assert float(metrics["episode_return"][-1]) > 0.75  # best 0.8, greedy 0.1


def test_ppo_bootstraps_where_a_session_is_cut() -> None:
    env = endless_probe()
    state, _ = train(env, 150, learning_rate=0.02, gamma=0.8, value_coef=1.0, max_grad_norm=10.0)
    output, _ = outputs(env, state, SMALL["policy"])
    chex.assert_trees_all_close(output.value, jnp.full(32, 5.0), atol=0.25)  # 1 / (1 - 0.8), not 2.95 of 4 steps


def test_the_same_seed_repeats_and_another_changes_everything() -> None:
    env = make_env("interest_evolution")
    first, metrics = train(env, 2)
    again, metrics_again = train(env, 2)
    other, _ = train(env, 2, seed=1)
    chex.assert_trees_all_equal(first.params, again.params)
    chex.assert_trees_all_equal(metrics, metrics_again)
    chex.assert_trees_all_equal(jax.random.key_data(first.users.key), jax.random.key_data(again.users.key))
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path((first.params, first.users.obs, first.users.env_state)),
        jax.tree.leaves((other.params, other.users.obs, other.users.env_state)),
        strict=True,
    ):
        assert not jnp.array_equal(a, b), jax.tree_util.keystr(path)


def test_another_learning_rate_is_not_another_program() -> None:
    env = make_env("interest_evolution")
    texts = []
    for rate in (1e-3, 1e-4):
        learner = make_learner("ppo", auto_reset(env), PpoConfig(**SMALL, learning_rate=rate))
        state = jax.eval_shape(learner.init, jax.random.key(0), env.params)
        texts.append(jax.jit(learner.update).lower(state, env.params).as_text())
    assert texts[0] == texts[1]


def test_the_learning_rate_falls_to_zero_when_annealed() -> None:
    _, metrics = train(taste_probe(), 4, learning_rate=0.01, anneal_updates=4)
    chex.assert_trees_all_close(metrics["learning_rate"], jnp.array([0.01, 0.0075, 0.005, 0.0025]), rtol=1e-6)


def test_reward_scale_changes_values_but_not_reports() -> None:
    env = endless_probe()
    _, metrics = train(env, 2, reward_scale=0.01)
    assert float(metrics["reward"][-1]) == pytest.approx(1.0)
    assert float(metrics["episode_return"][-1]) == pytest.approx(4.0)


def test_an_environment_that_does_not_replace_users_is_refused() -> None:
    with pytest.raises(InputError, match="auto_reset"):
        make_learner("ppo", taste_probe())


def test_minibatches_are_a_permutation_of_every_shard() -> None:
    batch = jnp.arange(24.0).reshape(2, 12)
    keys = jax.random.split(jax.random.key(0), 2)
    mixed = ppo._shuffle(keys, ppo.Batch(None, None, batch, batch, batch, batch), 3).value  # type: ignore[arg-type]
    chex.assert_shape(mixed, (3, 2, 4))
    by_shard = jnp.sort(jnp.moveaxis(mixed, 1, 0).reshape(2, 12), axis=1)
    chex.assert_trees_all_equal(by_shard, batch)
    assert not jnp.array_equal(jnp.moveaxis(mixed, 1, 0).reshape(2, 12), batch)
