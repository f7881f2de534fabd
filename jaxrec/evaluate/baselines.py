"""What a policy is shown beside where users are not fitted to a log: chance, simple rules, and oracles."""

from collections.abc import Callable
from typing import Any

from jaxrec.checks import check_name
from jaxrec.envs import interest_evolution, interest_exploration, long_term_satisfaction, sardine
from jaxrec.evaluate.recommenders import by_feature, by_score, greedy_matrix, myopic, oracle, ranking, uniform
from jaxrec.evaluate.report import FIXED
from jaxrec.evaluate.simulate import Recommender
from jaxrec.types import Env

Rules = dict[str, Recommender]


def _interest_evolution(env: Env, config: Any) -> Rules:
    size, quality = env.spec.slate_size, interest_evolution.topic_quality()
    return {"myopic": myopic(size), "topic_quality": ranking(quality, size)}


def _interest_exploration(env: Env, config: Any) -> Rules:
    size = env.spec.slate_size
    return {
        "quality": by_feature(interest_exploration.QUALITY, size),
        "oracle": by_score(lambda obs, env_state: interest_exploration.document_scores(env_state), size),
    }


def _long_term_satisfaction(env: Env, config: Any) -> Rules:
    size, clickbait = env.spec.slate_size, long_term_satisfaction.CLICKBAIT
    return {
        "most_clickbait": by_feature(clickbait, size),
        "least_clickbait": by_feature(clickbait, size, lowest=True),
    }


def _sardine(env: Env, config: Any) -> Rules:
    return {"greedy_relevance": oracle(sardine.relevance, env.spec.slate_size, repeats=True)}


def _full_matrix(env: Env, config: Any) -> Rules:
    return {
        FIXED: ranking(env.world.users.matrix.mean(0), 1),
        "greedy_matrix": greedy_matrix(config),
        "greedy_staying": greedy_matrix(config, staying=True),
    }


BASELINES: dict[str, Callable[[Env, Any], Rules]] = {
    "full_matrix": _full_matrix,
    "interest_evolution": _interest_evolution,
    "interest_exploration": _interest_exploration,
    "long_term_satisfaction": _long_term_satisfaction,
    "sardine": _sardine,
}


def baselines(env: Env, config: Any = None) -> Rules:
    """Random slates, and the rules that belong to the environment, by name; `config` is its section of the recipe."""
    check_name("baselines", env.spec.name, BASELINES)
    return {
        "random": uniform(env.spec.slate_size, repeats=env.spec.repeats),
        **BASELINES[env.spec.name](env, config),
    }
