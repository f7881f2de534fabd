"""Every learner on the probes with known optimal values, and what those do instead that cannot solve one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.config.learners import LEARNER_CONFIGS
from jaxrec.config.policy import PolicyConfig
from jaxrec.learn.action_values import q_values
from jaxrec.nets.policy import make_policy
from jaxrec.ops.choice_slates import value_of
from jaxrec.types import Env, Observation
from tests.learners import KNOWING, VALUES, learner_cases
from tests.probes import (
    MIXED_ITEMS,
    MIXED_PAY,
    MIXED_VALUES,
    complements_probe,
    learn,
    mixed_probe,
)

POLICY = PolicyConfig(width=8, hidden=(32,), value="separate")
GRADIENT = {"num_users": 128, "num_shards": 8, "gamma": 0.8, "value_coef": 1.0, "max_grad_norm": 10.0, "policy": POLICY}
ANNEALED = {"learning_rate": 0.02, "anneal_updates": 150, "entropy_coef": 0.0}
SHARED = {"policy": PolicyConfig(width=8, hidden=(32,)), "num_users": 128, "num_shards": 8, "gamma": 0.8}
REPLAYED = VALUES | {"gamma": 0.8, "learning_rate": 0.01, "epsilon_end": 0.3, "huber": 10.0, "policy": SHARED["policy"]}
CASES = {  # learner -> options, updates
    "ppo": (GRADIENT | ANNEALED | {"horizon": 8, "gae_lambda": 0.8}, 150),
    "a2c": (GRADIENT | ANNEALED | {"horizon": 5, "anneal_updates": 300}, 300),
    "reinforce": (GRADIENT | ANNEALED | {"horizon": 16, "anneal_updates": 300}, 300),
    "dqn": (REPLAYED | {"anneal_updates": 120}, 120),
    "slateq": (REPLAYED | {"anneal_updates": 120}, 120),
    "all_items": (SHARED | {"learning_rate": 0.02, "anneal_updates": 100}, 100),
    "far_sighted": (SHARED | {"learning_rate": 0.02, "anneal_updates": 100}, 100),
}


def judged(name: str, env: Env, options: dict, params, obs: Observation):
    """What a policy shows to users who are seen as `obs`, and what it says their best slate is worth: [N, K], [N]."""
    policy = make_policy(env.spec, LEARNER_CONFIGS[name](**options).policy)
    items = policy.items(params, env.world)
    output = policy.apply(params, items, obs, env.world)
    slate = policy.slate(output, items, obs, env.world, env.spec.slate_size)
    if name == "slateq":
        return slate, output.value + value_of(slate, output.choices.mass, output.choices.gain)
    if name == "dqn":
        return slate, q_values(output).max(-1)
    if name in KNOWING:  # the expected reward of the best item, as its parts are defined
        if output.future is not None:
            now, later = jax.nn.sigmoid(output.future.immediate + output.value[:, None]), output.future.later
            return slate, (now + later).max(-1)
        return slate, jax.nn.sigmoid(output.logits + output.value[:, None]).max(-1)
    return slate, output.value


def trained(name: str, env: Env, users: np.ndarray, **more):
    """Slates and values of a learner after its training, for the states `users` [N, U]."""
    options, updates = CASES[name]
    options = options | more
    state, _ = learn(name, env, options, updates)
    offered = None if name in KNOWING else jnp.tile(jnp.arange(env.spec.num_items), (len(users), 1))
    slates, values = judged(name, env, options, state.params, Observation(user=jnp.asarray(users), candidates=offered))
    return np.asarray(slates), np.asarray(values)


@pytest.mark.parametrize("name", learner_cases(name for name in CASES if name not in KNOWING))
def test_learners_of_returns_solve_reward_taste_credit_truncation_and_patience(name: str) -> None:
    slates, values = trained(name, mixed_probe(), np.eye(8, dtype=np.float32))
    assert {state: int(slates[state, 0]) for state in MIXED_ITEMS} == MIXED_ITEMS
    seen = [0, 1, 2, 3, 4, 6, 7]  # the best policy leads nobody to the state that is not paid
    np.testing.assert_allclose(values[seen], np.array(MIXED_VALUES)[seen], rtol=0.02)


@pytest.mark.parametrize("name", learner_cases(KNOWING))
def test_learners_of_expected_answers_solve_rewards_and_tastes_and_are_myopic(name: str) -> None:
    """Their values are those of the next reward; far_sighted adds what these users' memory says, which is nothing."""
    slates, values = trained(name, mixed_probe(catalogue=True), np.eye(8, dtype=np.float32))
    myopic = MIXED_ITEMS | {3: 0, 7: 0}  # 0.1 now instead of 1 later, and 1 from a user who then leaves
    assert {state: int(slates[state, 0]) for state in MIXED_ITEMS} == myopic
    seen = [0, 1, 2, 3, 6, 7]
    np.testing.assert_allclose(values[seen], np.asarray(MIXED_PAY)[seen].max(-1), atol=0.02)


@pytest.mark.parametrize(
    ("name", "options", "best"),
    [
        ("ppo", {}, [0, 1]),
        pytest.param("a2c", {}, [0, 1], marks=pytest.mark.slow),
        pytest.param("reinforce", {}, [0, 1], marks=pytest.mark.slow),
        pytest.param("slateq", {}, [0, 1], marks=pytest.mark.slow),
        ("dqn", {"credit": "item"}, [2, 3]),  # items 0 and 1 pay nothing next to the best others, which lack a partner
        ("dqn", {"credit": "slate"}, [0, 1]),
        ("all_items", {}, [2, 3]),  # the answer to an item that is shown alone
        pytest.param("far_sighted", {}, [2, 3], marks=pytest.mark.slow),
    ],
)
def test_complements_are_found_by_learners_of_slates(name: str, options: dict, best: list[int]) -> None:
    slates, _ = trained(name, complements_probe(name in KNOWING), np.array([[1.0, 0.0]], np.float32), **options)
    assert sorted(slates[0].tolist()) == best
