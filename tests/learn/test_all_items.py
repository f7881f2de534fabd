"""The learner that fits the policy to the expected answer of the drawn person to every item."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec import make_env
from jaxrec.checks import InputError
from jaxrec.config.policy import PolicyConfig
from jaxrec.envs import auto_reset
from jaxrec.learn import make_learner
from jaxrec.learn.all_items import all_items_loss, reward_range
from jaxrec.nets.policy import PolicyOutput, make_policy
from jaxrec.types import PADDING, Observation
from tests.learners import small
from tests.probes import catalogue_probe, learn
from tests.tiny_tastes import two_people

LOGITS = jnp.array([[0.5, -jnp.inf, -1.0], [2.0, 0.0, 1.0]])
VALUE = jnp.array([0.25, -0.5])
REWARDS = jnp.array([[0.8, 0.9, 0.1], [1.0, 0.5, 0.0]])


def test_the_loss_is_worked_by_hand() -> None:
    loss, error = all_items_loss(PolicyOutput(LOGITS, VALUE), REWARDS)
    # First state, of two items: logits .75 and -.75; log(1 + e^.75) = 1.136871, log(1 + e^-.75) = .386871.
    first = (1.136871 - 0.8 * 0.75 + 0.386871 + 0.1 * 0.75) / 2
    # Second, of three: 1.5, -.5, .5: log(1 + e^x) = 1.701413, .474077, .974077.
    second = (1.701413 - 1.5 + 0.474077 + 0.5 * 0.5 + 0.974077 - 0) / 3
    assert float(loss) == pytest.approx((first + second) / 2, abs=1e-5)
    # Probabilities .679179, .320821 and .817574, .377541, .622459.
    errors = (0.120821 + 0.220821) / 2, (0.182426 + 0.122459 + 0.622459) / 3
    assert float(error) == pytest.approx(sum(errors) / 2, abs=1e-5)


def test_the_gradient_vanishes_where_predictions_are_the_true_rewards() -> None:
    rewards = jnp.array([[0.8, 0.3, 0.1], [0.6, 0.5, 0.25]])
    logits, value = jnp.log(rewards / (1 - rewards)), jnp.array([0.3, -0.2])
    masked = (logits - value[:, None]).at[0, 1].set(-jnp.inf)

    def loss(logits, value):
        return all_items_loss(PolicyOutput(logits, value), rewards)[0]

    for gradient in jax.grad(loss, (0, 1))(masked, value):
        np.testing.assert_allclose(gradient, jnp.zeros_like(gradient), atol=1e-7)
    off = jax.grad(loss)(masked + 0.5, value)
    assert float(off[0, 1]) == 0.0  # what may not be shown teaches nothing
    assert (off[1] > 0).all()


def test_rewards_are_scaled_between_the_lowest_and_the_highest_of_an_item() -> None:
    spec = catalogue_probe().spec
    assert reward_range(spec) == (0.0, 1.0)
    assert reward_range(dataclasses.replace(spec, reward_weights=(2.0, -0.5, 0.0, 1.0))) == (-0.5, 3.0)


@pytest.mark.parametrize("encoder", ["profile", pytest.param("gru", marks=pytest.mark.slow)])
def test_predictions_become_the_posterior_mean_given_what_was_seen(encoder: str) -> None:
    env, policy = two_people(), PolicyConfig(encoder=encoder, width=8, hidden=(16,))
    options = {
        "policy": policy,
        "num_users": 256,
        "num_shards": 8,
        "horizon": 4,
        "minibatches": 2,
        "learning_rate": 0.02,
        "anneal_updates": 300,
        "temperature": 0.3,
    }
    state, metrics = learn("all_items", env, options, 300)
    network = make_policy(env.spec, policy)
    obs = Observation(
        history_items=jnp.array([[PADDING, PADDING], [PADDING, 0], [PADDING, 0]]),
        history_feedback=jnp.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0]).reshape(3, 2, 1),
    )
    output = network.apply(state.params, network.items(state.params, env.world), obs, env.world)
    got = jax.nn.sigmoid(output.logits + output.value[:, None])
    nothing, first, second = [0.5, 0.45, 0.4], [0.0, 0.8, 0.1], [0.0, 0.1, 0.7]  # shown items have a logit of -inf
    np.testing.assert_allclose(got, [nothing, first, second], atol=0.04)
    assert output.logits.argmax(-1).tolist() == [0, 1, 2]
    # With item 0 first and then the best: 1/2 + (.8 + .7) / 2; noise in the slates costs some of it.
    assert float(metrics["episode_return"][-20:].mean()) == pytest.approx(1.25, abs=0.1)


def test_environments_without_known_rewards_are_refused_in_one_line() -> None:
    env = auto_reset(catalogue_probe())
    unpaid = env._replace(spec=dataclasses.replace(env.spec, reward_weights=(0.0,)))
    for bad, want in (
        (auto_reset(make_env("interest_evolution")), "all_items learns from .* which interest_evolution does not give"),
        (env._replace(item_rewards=None), "all_items learns from .* which catalogue_probe does not give"),
        (unpaid, "all_items needs a reward of feedback; give env.reward a kind with a weight"),
    ):
        with pytest.raises(InputError, match=rf"learner\.name: {want}") as caught:
            make_learner("all_items", bad, small("all_items"))
        assert "\n" not in str(caught.value)
