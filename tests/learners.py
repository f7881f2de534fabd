"""Learners small enough for tests, made from the registry: a new learner is tested without a line here."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from _pytest.mark.structures import ParameterSet

from jaxrec import make_env, vector_actions
from jaxrec.config.learner import LearnerConfig
from jaxrec.config.learners import LEARNER_CONFIGS
from jaxrec.config.policy import PolicyConfig
from jaxrec.types import Env
from tests.probes import catalogue_probe, endless_probe
from tests.quick import slow_unless

QUICK = ("ppo", "dqn", "all_items")  # one of each family that `make test` tries on all that every learner owes
ONE_PASS = ("a2c", "reinforce")  # learners that use what their policy has shown once
KNOWING = ("all_items", "far_sighted")  # learners of environments that know the reward of every item
VECTORS = ("ddpg", "td3")  # learners whose actions are vectors
EXPLORING = {  # cases beyond the names of learners: what their exploration remembers is part of their state
    "dqn ucb": {"exploration": "ucb", "bonus": "both", "heads": 3},
    "slateq thompson": {"exploration": "thompson", "heads": 3, "priority": 0.6},
}
SMALL = {
    "policy": PolicyConfig(width=8, hidden=(16,)),
    "num_users": 32,
    "num_shards": 8,
    "horizon": 8,
    "epochs": 2,
    "minibatches": 2,
    "replay_size": 2048,
    "learning_starts": 0,
    "batch_size": 64,
    "gradient_steps": 2,
}
VALUES = {  # of learners of action values that solve probes
    "policy": PolicyConfig(width=8, hidden=(16,)),
    "num_users": 64,
    "num_shards": 8,
    "horizon": 4,
    "replay_size": 4096,
    "learning_starts": 256,
    "batch_size": 256,
    "gradient_steps": 8,
    "learning_rate": 0.01,
    "target_rate": 0.1,
    "epsilon_updates": 20,
}


def learner_cases(names: Iterable[str], also: Iterable[str] = ()) -> list[ParameterSet]:
    """Parameters of the learners or cases `names`; they are slow, except QUICK and those in `also`.

    `also` names the cheapest learner that runs code under test which no learner of QUICK runs.
    """
    return slow_unless((*QUICK, *also), names)


def learner_of(case: str) -> str:
    """Name of the learner of a case."""
    return case.split()[0]


def small(name: str, **options: Any) -> dict[str, Any]:
    """Options of the learner or case `name`: `SMALL` and then `options`, as far as its config has such fields."""
    fields = {field.name for field in dataclasses.fields(LEARNER_CONFIGS[learner_of(name)])}
    own = {"epochs": 1} if name in ONE_PASS else EXPLORING.get(name, {})
    return {key: value for key, value in (SMALL | own | options).items() if key in fields}


def small_config(name: str, **options: Any) -> LearnerConfig:
    """The same as a config."""
    return LEARNER_CONFIGS[learner_of(name)](**small(name, **options))


def env_for(name: str) -> Env:
    """Users from whom the learner `name` can learn."""
    catalogue = name in (*KNOWING, *VECTORS, "dqn ucb")
    return acted_on(name, catalogue_probe() if catalogue else make_env("interest_evolution"))


def endless_for(name: str) -> Env:
    """The endless probe, with the answers that the learner `name` needs."""
    return acted_on(name, endless_probe(catalogue=name in KNOWING))


def acted_on(name: str, env: Env) -> Env:
    """The same users, with the actions of the learner `name`."""
    return vector_actions(env) if name in VECTORS else env


def network_of(name: str) -> PolicyConfig:
    """The network of the learner `name`, for whoever reads its parameters."""
    return small_config(name).policy
