"""Relevance feedback: mean rows of the history by hand, what they do to scores, and what a policy learns with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec import auto_reset, make_env
from jaxrec.checks import InputError
from jaxrec.config.policy import PolicyConfig
from jaxrec.learn import make_learner
from jaxrec.nets.policy import Policy, make_policy
from jaxrec.nets.relevance import history_means
from jaxrec.types import PADDING, EnvSpec, Observation, SlateAction, World
from tests.probes import learn

TABLE = jnp.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
OBS = Observation(history_items=jnp.array([PADDING, 0, 1]), history_feedback=jnp.array([[1.0], [1.0], [0.0]]))
SPEC = EnvSpec(
    name="table", action=SlateAction(size=1), num_items=3, feedback=("click",), history_length=3, repeats=True
)


def test_mean_rows_of_the_history_by_hand() -> None:
    """Item 0 was clicked, then item 1 was not. At the rate 0.1, the click counts 0.9."""
    clicked, other, clicked_lately, other_lately = history_means(TABLE, OBS)
    np.testing.assert_allclose(clicked, [1.0 / 2, 0.0], rtol=1e-6)  # one row over its count plus 1
    np.testing.assert_allclose(other, [0.6 / 2, 0.8 / 2], rtol=1e-6)
    np.testing.assert_allclose(clicked_lately, [0.9 / 1.9, 0.0], rtol=1e-6)
    np.testing.assert_allclose(other_lately, [0.6 / 2, 0.8 / 2], rtol=1e-6)


def made(**options: bool) -> tuple[Policy, dict, World]:
    policy, world = make_policy(SPEC, PolicyConfig(encoder="mean", width=4, hidden=(4,), **options)), World(TABLE)
    return policy, policy.init(jax.random.key(0), world), world


def test_weights_add_products_of_rows_to_scores_and_nothing_at_first() -> None:
    policy, params, world = made(relevance_feedback=True)
    plain, _, _ = made()

    def logits(policy: Policy, params: dict) -> jax.Array:
        return policy.apply(params, policy.items(params, world), OBS, world).logits

    before = logits(policy, params)
    own = {name: part for name, part in params.items() if name != "relevance"}
    np.testing.assert_array_equal(before, logits(plain, own))
    weights = params["relevance"]["weights"] | {"bias": jnp.array([4.0, -2.0, 0.0, 0.0])}
    after = logits(policy, params | {"relevance": params["relevance"] | {"weights": weights}})
    # The query is 4 x (0.5, 0) - 2 x (0.3, 0.4) = (1.4, -0.8).
    np.testing.assert_allclose(after - before, [1.4, 0.6 * 1.4 - 0.8 * 0.8, -0.8], atol=1e-5)


def clicks(*, relevance_feedback: bool) -> float:
    """Clicks per slate of one item among 100, in the last of 16 updates."""
    env = make_env("sardine", preset="SingleItem-Static", num_items=100, requests=20, history_slates=20)
    policy = PolicyConfig(encoder="profile", width=8, hidden=(16,), relevance_feedback=relevance_feedback)
    options = {"num_users": 64, "num_shards": 1, "horizon": 20, "epochs": 2, "learning_rate": 0.01, "gamma": 0.8}
    return learn("ppo", env, options | {"entropy_coef": 0.0, "policy": policy}, 16)[1]["reward"][-1]


def test_a_policy_finds_again_what_was_liked_after_little_training() -> None:
    assert clicks(relevance_feedback=True) > 1.5 * clicks(relevance_feedback=False)


def test_it_is_refused_where_no_history_has_rows() -> None:
    with pytest.raises(InputError, match=r"relevance_feedback: interest_evolution has no history"):
        make_learner(
            "ppo", auto_reset(make_env("interest_evolution")), {"policy": PolicyConfig(relevance_feedback=True)}
        )
