"""What a policy is shown beside in simulators that need no log: chance, simple rules, and oracles."""

from collections.abc import Callable

from jaxrec.checks import check_name
from jaxrec.envs import interest_evolution, interest_exploration, long_term_satisfaction
from jaxrec.evaluate.recommenders import by_feature, by_score, myopic, ranking, uniform
from jaxrec.evaluate.simulate import Recommender
from jaxrec.types import EnvSpec


def _interest_evolution(slate_size: int) -> dict[str, Recommender]:
    quality = interest_evolution.topic_quality()
    return {"myopic": myopic(slate_size), "topic_quality": ranking(quality, slate_size)}


def _interest_exploration(slate_size: int) -> dict[str, Recommender]:
    return {
        "quality": by_feature(interest_exploration.QUALITY, slate_size),
        "oracle": by_score(lambda obs, env_state: interest_exploration.document_scores(env_state), slate_size),
    }


def _long_term_satisfaction(slate_size: int) -> dict[str, Recommender]:
    clickbait = long_term_satisfaction.CLICKBAIT
    return {
        "most_clickbait": by_feature(clickbait, slate_size),
        "least_clickbait": by_feature(clickbait, slate_size, lowest=True),
    }


BASELINES: dict[str, Callable[[int], dict[str, Recommender]]] = {
    "interest_evolution": _interest_evolution,
    "interest_exploration": _interest_exploration,
    "long_term_satisfaction": _long_term_satisfaction,
}


def baselines(spec: EnvSpec) -> dict[str, Recommender]:
    """Random slates, and the rules that belong to the environment of `spec`, by name."""
    check_name("baselines", spec.name, BASELINES)
    return {"random": uniform(spec.slate_size), **BASELINES[spec.name](spec.slate_size)}
