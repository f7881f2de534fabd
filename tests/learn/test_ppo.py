import dataclasses

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

from jaxrec.checks import InputError
from jaxrec.config.on_policy import PpoConfig
from jaxrec.config.policy import PolicyConfig
from jaxrec.envs import auto_reset
from jaxrec.learn import make_learner
from jaxrec.learn.on_policy import OnPolicyState, start_weight
from jaxrec.learn.state import LearnerState, make_optimizer
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


@pytest.mark.slow
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


@pytest.mark.parametrize("value", ["shared", pytest.param("separate", marks=pytest.mark.slow)])
def test_normalised_targets_give_values_of_any_scale(value: str) -> None:
    env, policy = endless_probe(), dataclasses.replace(SMALL["policy"], value=value)
    options = {"learning_rate": 0.01, "gamma": 0.8, "reward_scale": 1000.0, "normalise_targets": True, "policy": policy}
    state, metrics = train(env, 60, **options)
    output, _ = outputs(env, state.params, policy)
    assert float(jnp.abs(output.value).max()) < 10  # in deviations
    chex.assert_trees_all_close(state.targets.restore(output.value), jnp.full(32, 5000.0), rtol=0.05)
    assert float(metrics["target_mean"][-1]) == pytest.approx(5000.0, rel=0.05)
    assert float(metrics["reward"][-1]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("value", "query", "norm"),
    [
        # One norm of sqrt(0.3^2 + 0.4^2 + 6^2 + 8^2) = 10.0125 is brought to 0.5: a factor of 0.0499376.
        ("shared", 0.0149813, 0.499376),
        # The policy's norm is 0.5 already, and the value's goes from 10 to 0.5.
        ("stopped", 0.3, 0.5),
        ("separate", 0.3, 0.5),
    ],
)
def test_large_errors_of_the_value_do_not_shorten_the_step_of_a_policy_of_its_own(value, query, norm) -> None:
    config = PpoConfig(max_grad_norm=0.5, policy=PolicyConfig(value=value))
    optimizer = make_optimizer(config)
    params = {"query": jnp.zeros(2), "value": jnp.zeros(1), "value_hidden_0": jnp.zeros(2)}
    grad = {"query": jnp.array([0.3, 0.4]), "value": jnp.array([6.0]), "value_hidden_0": jnp.array([0.0, 8.0])}
    with jax.numpy_dtype_promotion("standard"):  # as in `jaxrec.ops.descend`
        _, (_, adam) = optimizer.update(grad, optimizer.init(params), params)
    clipped = jax.tree.map(lambda x: 10 * x, adam.mu)  # its first moment is a tenth of the clipped gradient
    assert float(clipped["query"][0]) == pytest.approx(query, rel=1e-4)
    assert float(optax.tree.norm([clipped["value"], clipped["value_hidden_0"]])) == pytest.approx(norm, rel=1e-4)


def pulled(start_kl: float):
    """PPO from a policy that prefers neither item, whose users pay for one of them."""
    env = taste_probe()
    learner = make_learner("ppo", auto_reset(env), SMALL | {"learning_rate": 0.01, "gamma": 0.9, "start_kl": start_kl})
    first = jax.jit(learner.init)(jax.random.key(0), env.world)
    many = jax.jit(lambda s, w: jax.lax.scan(lambda s, _: learner.update(s, w), s, None, length=40))
    return first, *many(first, env.world)


def test_a_pull_to_the_start_keeps_the_policy_there() -> None:
    first, _, metrics = pulled(0.0)
    assert not hasattr(first, "start") and "start_kl" not in metrics and float(metrics["reward"][-1]) > 0.95
    first, last, metrics = pulled(100.0)
    chex.assert_trees_all_equal(last.start, first.params)  # a constant
    assert float(metrics["start_kl"].max()) < 0.02 and float(metrics["reward"][-1]) < 0.65


def test_the_weight_of_the_pull_is_linear_over_its_updates() -> None:
    def weights(**options) -> list[float]:
        config = PpoConfig(start_kl=0.5, **options)
        fields = dict.fromkeys(("params", "opt_state", "learning_rate", "users"))
        steps = (jnp.asarray(n, jnp.int32) for n in (0, 5, 10, 20))
        return [float(start_weight(config, OnPolicyState(**fields, step=step))) for step in steps]

    assert weights() == [0.5] * 4
    assert weights(start_kl_updates=10) == pytest.approx([0.5, 0.25, 0.0, 0.0])
    assert weights(start_kl_updates=20, start_kl_end=0.1) == pytest.approx([0.5, 0.4, 0.3, 0.1])
    with pytest.raises(InputError, match="start_kl: expected a value above 0 if"):
        PpoConfig(start_kl_end=0.1, start_kl_updates=10)
    with pytest.raises(InputError, match="start_kl_updates: expected a value above 0 if"):
        PpoConfig(start_kl=0.5, start_kl_end=0.1)


def test_checkpoints_of_the_defaults_hold_what_all_learners_have() -> None:
    learner, world = make_learner("ppo", auto_reset(taste_probe()), SMALL), taste_probe().world
    # Even a field that is None would be part of a checkpoint, and one of an earlier version could not be resumed.
    assert type(learner.init(jax.random.key(0), world)) is LearnerState


def test_what_the_new_parts_remember_is_in_the_state() -> None:
    env, options = taste_probe(), SMALL | {"normalise_targets": True, "start_kl": 0.1, "start_kl_updates": 4}
    learner = make_learner("ppo", auto_reset(env), options)
    update = jax.jit(learner.update)
    state, other = (learner.init(jax.random.key(n), env.world) for n in (0, 1))
    state, _ = update(state, env.world)
    # Carried over as plain arrays into a state of another seed, as a checkpoint is.
    copied = jax.tree.unflatten(jax.tree.structure(other), jax.tree.leaves(state))
    chex.assert_trees_all_equal(update(copied, env.world)[1], update(state, env.world)[1])
