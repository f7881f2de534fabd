"""Baselines of environments whose documents are in no table, and what is measured of them."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec import list_envs, make_env
from jaxrec.checks import InputError
from jaxrec.envs.interest_exploration import InterestExplorationState
from jaxrec.evaluation import report
from jaxrec.evaluation.recommenders import by_feature, by_score, uniform
from jaxrec.evaluation.simulate import ItemFacts, Recommender, Simulated, make_simulation
from jaxrec.runs.users.registry import USER_KINDS, baselines
from jaxrec.types import Observation, World
from tests.probes import document_probe

WORLD = World(item_table=jnp.zeros((1, 2)))
OBS = Observation(candidate_features=jnp.array([[[0.1, 7.0], [0.3, 5.0], [0.2, 6.0]]]))  # [B = 1, M = 3, D = 2]


def slate(recommender: Recommender, state=None, obs: Observation = OBS) -> list:
    return recommender.choose(recommender.arrays, jax.random.key(0), state, obs, WORLD).tolist()


def test_documents_are_ranked_by_a_feature_either_way() -> None:
    assert slate(by_feature(0, 2)) == [[1, 2]] and slate(by_feature(1, 2)) == [[0, 2]]
    assert slate(by_feature(0, 2, lowest=True)) == [[0, 2]]


def test_an_oracle_reads_the_state() -> None:
    assert slate(by_score(lambda obs, state: state, 2), jnp.array([[2.0, 1.0, 3.0]])) == [[2, 0]]


def test_random_slates_of_documents_are_even() -> None:
    obs = Observation(candidate_features=jnp.zeros((6000, 3, 2)))
    shown = np.array(slate(uniform(2), obs=obs))
    assert shown.shape == (6000, 2) and (shown[:, 0] != shown[:, 1]).all()
    share = np.bincount(shown.ravel(), minlength=3) / 6000
    np.testing.assert_allclose(share, np.full(3, 2 / 3), atol=4 * (2 / 9 / 6000) ** 0.5)


def test_interest_exploration_is_ranked_by_quality_and_by_what_the_user_sees() -> None:
    env = make_env("interest_exploration", num_candidates=3, slate_size=2)
    one = InterestExplorationState(
        affinity=jnp.array([[1.0, 3.0]]),
        topic=jnp.array([[0, 1, 0]], jnp.int32),
        quality=jnp.array([[2.0, 0.5, 2.4]]),  # scores 3, 3.5, 3.4
        shown=jnp.zeros((1, 2)),
        clicks=jnp.zeros((1, 2)),
        remaining_steps=jnp.array([9]),
    )
    features = jnp.concatenate([one.quality[..., None], jax.nn.one_hot(one.topic, 2)], axis=-1)
    obs = Observation(candidate_features=features)
    rules = baselines(env)
    assert set(rules) == {"random", "quality", "oracle"}
    assert slate(rules["quality"], one, obs) == [[2, 0]] and slate(rules["oracle"], one, obs) == [[1, 2]]


def test_long_term_satisfaction_is_ranked_by_clickbait_either_way() -> None:
    rules = baselines(make_env("long_term_satisfaction"))
    obs = Observation(candidate_features=jnp.array([[[0.5], [0.9], [0.1]]]))
    assert set(rules) == {"random", "most_clickbait", "least_clickbait"}
    assert slate(rules["most_clickbait"], obs=obs) == [[1]] and slate(rules["least_clickbait"], obs=obs) == [[2]]


def test_interest_evolution_has_its_rules_and_others_have_none() -> None:
    assert set(baselines(make_env("interest_evolution"))) == {"random", "myopic", "topic_quality"}
    with pytest.raises(InputError, match="baselines: no 'elsewhere'"):
        env = make_env("interest_evolution")
        baselines(env._replace(spec=dataclasses.replace(env.spec, name="elsewhere")))
    assert set(USER_KINDS) == set(list_envs())


def simulated() -> Simulated:
    env = document_probe()
    facts = ItemFacts(rows=jnp.zeros((1, 2)), surprise=jnp.zeros(1))
    return make_simulation(env, by_feature(0, 1), 5)(env.world, facts, jax.random.key(0), 2000)


def test_documents_in_no_table_have_returns_and_no_coverage_diversity_or_novelty(
    capsys: pytest.CaptureFixture,
) -> None:
    got = simulated()
    assert (got.lengths == 1).all()
    # Half of the users are paid by the feature ranked: 4/5 of the largest of four, and 1/2 of any
    assert got.mean == pytest.approx(0.65, abs=4 * float(got.returns.std()) / 2000**0.5)
    assert math.isnan(got.coverage) and math.isnan(got.diversity) and math.isnan(got.novelty)
    section = report.simulated_section({report.POLICY: got})
    row = section["recommenders"][report.POLICY]
    assert row["coverage"] is row["diversity"] is row["novelty"] is None
    report.print_simulated("documents", section)
    assert next(line for line in capsys.readouterr().out.splitlines() if "policy" in line).split()[-3:] == ["-"] * 3
