import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.on_policy import A2cConfig, ReinforceConfig
from jaxrec.config.policy import PolicyConfig
from jaxrec.ops.losses import policy_gradient_loss
from jaxrec.types import Env
from tests.probes import delay_probe, endless_probe, learn, outputs, taste_probe

SMALL = {"num_users": 64, "horizon": 8, "policy": PolicyConfig(width=8, hidden=(16,)), "learning_rate": 0.02}


def train(name: str, env: Env, updates: int, **options):
    return learn(name, env, {**SMALL, **options}, updates)


@pytest.mark.parametrize("name", ["reinforce", "a2c"])
def test_policy_gradients_learn_what_each_user_likes(name: str) -> None:
    env = taste_probe()
    state, metrics = train(name, env, 150, gamma=0.9)
    output, obs = outputs(env, state.params, SMALL["policy"])
    chex.assert_trees_all_equal(obs.user[jnp.arange(32), output.logits.argmax(-1)], jnp.ones(32))
    assert float(metrics["reward"][-1]) > 0.95
    chex.assert_trees_all_close(output.value, jnp.ones(32), atol=0.1)


def test_reinforce_gives_up_a_little_now_for_more_later() -> None:
    state, metrics = train("reinforce", delay_probe(), 150, gamma=1.0)
    output, _ = outputs(delay_probe(), state.params, SMALL["policy"])
    assert int(output.logits[0].argmax()) == 1
    assert float(metrics["episode_return"][-1]) > 0.75  # best 0.8, greedy 0.1


def test_a2c_bootstraps_where_a_session_is_cut_and_at_its_horizon() -> None:
    env = endless_probe()
    state, _ = train("a2c", env, 400, gamma=0.8, horizon=3, max_grad_norm=10.0, value_coef=1.0)
    output, _ = outputs(env, state.params, SMALL["policy"])
    chex.assert_trees_all_close(output.value, jnp.full(32, 5.0), atol=0.25)


def test_the_gradient_of_the_surrogate_is_the_policy_gradient() -> None:
    logits, advantage = jnp.array([[0.5, -0.2, 0.1], [0.0, 1.0, -1.0]]), jnp.array([2.0, -1.0])

    def loss(logits: jax.Array) -> jax.Array:
        return policy_gradient_loss(jax.nn.log_softmax(logits)[jnp.arange(2), jnp.array([0, 2])], advantage)

    chosen = np.eye(3)[[0, 2]]  # d log pi / d logits = chosen - pi
    want = -0.5 * np.asarray(advantage)[:, None] * (chosen - np.asarray(jax.nn.softmax(logits)))
    np.testing.assert_allclose(jax.grad(loss)(logits), want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("config", [ReinforceConfig, A2cConfig])
def test_several_passes_are_refused(config) -> None:
    with pytest.raises(InputError, match=r"learner\.epochs: .* got 2 passes; set it to 1, or use ppo"):
        config(epochs=2)
