"""Users without a log: the three of RecSim and that of SARDINE, each with rules to compare policies with."""

from typing import Any

from jaxrec.config.recsim import InterestEvolutionConfig, InterestExplorationConfig, LongTermSatisfactionConfig
from jaxrec.config.sardine import SardineConfig
from jaxrec.envs import interest_evolution, interest_exploration, long_term_satisfaction, sardine
from jaxrec.evaluation.recommenders import by_feature, by_score, myopic, oracle, ranking
from jaxrec.runs.users.kind import Rules, plain
from jaxrec.types import Env


def _interest_evolution(env: Env, section: Any) -> Rules:
    size, quality = env.spec.slate_size, interest_evolution.topic_quality()
    return {"myopic": myopic(size), "topic_quality": ranking(quality, size)}


def _interest_exploration(env: Env, section: Any) -> Rules:
    size = env.spec.slate_size
    return {
        "quality": by_feature(interest_exploration.QUALITY, size),
        "oracle": by_score(lambda obs, env_state: interest_exploration.document_scores(env_state), size),
    }


def _long_term_satisfaction(env: Env, section: Any) -> Rules:
    size, clickbait = env.spec.slate_size, long_term_satisfaction.CLICKBAIT
    return {
        "most_clickbait": by_feature(clickbait, size),
        "least_clickbait": by_feature(clickbait, size, lowest=True),
    }


def _sardine(env: Env, section: Any) -> Rules:
    return {"greedy_relevance": oracle(sardine.relevance, env.spec.slate_size, repeats=True)}


SYNTHETIC = {
    "interest_evolution": plain(InterestEvolutionConfig, interest_evolution.make, _interest_evolution),
    "interest_exploration": plain(InterestExplorationConfig, interest_exploration.make, _interest_exploration),
    "long_term_satisfaction": plain(LongTermSatisfactionConfig, long_term_satisfaction.make, _long_term_satisfaction),
    "sardine": plain(SardineConfig, sardine.make, _sardine),
}
