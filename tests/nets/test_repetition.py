import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec import auto_reset, make_env
from jaxrec.checks import InputError
from jaxrec.config.policy import PolicyConfig
from jaxrec.config.replay_learners import DqnConfig
from jaxrec.learn import make_learner
from jaxrec.nets.repetition import topic_counts
from jaxrec.types import PADDING, Observation
from tests.probes import learn

TABLE = jnp.array([[0.9, 0.1], [0.6, 0.5], [0.0, 1.0]])  # main topics 0, 0, 1


def test_counts_of_topics_by_hand() -> None:
    """Two slates of two: (nothing, item 0 without a click), then item 2 clicked and item 1 not."""
    obs = Observation(
        history_items=jnp.array([PADDING, 0, 2, 1]), history_feedback=jnp.array([[1.0], [0.0], [1.0], [0.0]])
    )
    counts = jnp.expm1(topic_counts(TABLE, obs, slate_size=2))  # [G, R (1 + F)]: shown and clicked, for each rate
    # Topic 0 was shown in both slates, and the first of them has faded by 0, 0.2 and 0.5.
    np.testing.assert_allclose(counts, [[2.0, 0.0, 1.8, 0.0, 1.5, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]], rtol=1e-5)


@pytest.mark.parametrize("credit", ["item", "slate"])
def test_policies_with_topic_bonuses_train(credit: str) -> None:
    env = make_env("sardine", num_items=20, slate_size=3, history_slates=2)
    policy = PolicyConfig(encoder="profile", width=8, hidden=(8,), repetition="topic", value="hidden")
    options = {"num_users": 16, "horizon": 4, "minibatches": 2, "policy": policy, "credit": credit}
    state, metrics = learn("ppo", env, options, 2)
    assert np.isfinite(np.asarray(metrics["loss"])).all() and "topic_bonus" in state.params


def test_repetition_is_refused_where_nothing_can_be_counted() -> None:
    policy = PolicyConfig(repetition="topic")
    with pytest.raises(InputError, match=r"repetition: interest_evolution has no history"):
        make_learner("ppo", auto_reset(make_env("interest_evolution")), {"policy": policy})
    with pytest.raises(InputError, match=r"repetition: only on-policy learners"):
        DqnConfig(policy=policy)
