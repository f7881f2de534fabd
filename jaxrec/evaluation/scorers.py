"""Scorers of observations: what rankings of the held-out log and recommenders of simulated users are made of.

A scorer may be a simple recommender, an ensemble of others, a policy, or a network fitted to the log.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.data import Log, Split
from jaxrec.evaluation.held_out import Score, held_out_metrics
from jaxrec.evaluation.retrieval import validation_of
from jaxrec.nets.policy import Items, Policy, catalogue_scores
from jaxrec.sharding.compile import compiled
from jaxrec.supervised.simple import SimpleRecommender
from jaxrec.types import Array, Observation, Params, World

SETTING_USERS = 10_000  # validation users who choose a setting, at most
WEIGHT_USERS = 2000  # those to whom the weights of an ensemble are fitted


class Scorer(NamedTuple):
    """A pure function of arrays and observations: `score(arrays, obs) -> [..., I]`, the whole catalogue."""

    score: Callable[[Any, Observation], Array]
    arrays: Any = None


def simple_scorer(recommender: SimpleRecommender, arrays: Any) -> Scorer:
    """A simple recommender and what it was fitted to."""

    def score(arrays: Any, obs: Observation) -> Array:
        assert obs.history_items is not None and obs.history_feedback is not None
        return recommender.score(arrays, obs.history_items, obs.history_feedback)

    return Scorer(score, arrays)


def policy_scorer(policy: Policy, params: Params, items: Items, world: World) -> Scorer:
    """A policy with its parameters, the items of its tower and the world that it reads."""

    def score(arrays: tuple[Params, Items, World], obs: Observation) -> Array:
        return catalogue_scores(policy, *arrays[:2], obs, arrays[2])

    return Scorer(score, (params, items, world))


def compiled_score(scorer: Scorer) -> Score:
    """Compile a scorer for `held_out_metrics`; its arrays stay arguments of the program."""
    return compiled_scores({"": scorer})[""]


def compiled_scores(scorers: Mapping[str, Scorer]) -> dict[str, Score]:
    """Compile several scorers as branches of one program, which takes less time than a program for each.

    Scores are float32.
    """
    arrays = jax.device_put([one.arrays for one in scorers.values()])

    def score(number: Array, arrays: Sequence[Any], obs: Observation) -> Array:
        branches = [partial(_as_float, one.score, own) for one, own in zip(scorers.values(), arrays, strict=True)]
        return jax.lax.switch(number, branches, obs)

    program = compiled(score)
    return {name: partial(program, np.int32(n), arrays) for n, name in enumerate(scorers)}


def _as_float(score: Callable[[Any, Observation], Array], arrays: Any, obs: Observation) -> Array:
    return score(arrays, obs).astype(jnp.float32)


def fit_simple(
    recommender: SimpleRecommender, log: Log, validation: Log, vectors: np.ndarray | None = None
) -> tuple[Any, dict[str, float]]:
    """Fit to `log`, with the setting of the grid that has the best NDCG@10 on the later rows `validation`.

    Returns what was fitted, as arrays of the device, and the setting. At most SETTING_USERS users choose.
    """
    grid = recommender.grid
    if len(grid) == 1 or not len(validation):
        return jax.tree.map(jnp.asarray, recommender.fit(log, vectors, **grid[0])), dict(grid[0])
    split = validation_split(log, validation, SETTING_USERS)
    program, best = compiled(simple_scorer(recommender, None).score), None
    for setting in grid:
        arrays = jax.tree.map(jnp.asarray, recommender.fit(log, vectors, **setting))
        value = held_out_metrics(lambda obs, arrays=arrays: program(arrays, obs), split, (10,))["ndcg@10"]
        if best is None or value > best[0]:
            best = value, arrays, dict(setting)
    assert best is not None
    return best[1], best[2]


def validation_split(log: Log, validation: Log, users: int) -> Split:
    """Rank the validation rows of at most `users` users, with their rows of `log` as history."""
    nothing = validation.take(np.zeros(len(validation), bool))
    return validation_of(Split(train=log, validation=validation, test=nothing), users, seed=0)
