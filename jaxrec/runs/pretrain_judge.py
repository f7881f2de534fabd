"""Ranking metrics of a policy on validation and test rows while it is pretrained."""

import copy
import dataclasses
from functools import partial

import numpy as np

from jaxrec.config.pretrain import PretrainConfig
from jaxrec.config.schema import Config
from jaxrec.data import Split
from jaxrec.evaluation.held_out import Score, held_out_metrics, positive_targets
from jaxrec.evaluation.retrieval import validation_of
from jaxrec.evaluation.scorers import compiled_score
from jaxrec.nets.policy import Policy, catalogue_scores
from jaxrec.runs.baselines import fit_baselines, held_out_rows
from jaxrec.runs.read_log import Corpus
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array, EnvSpec, Observation, Params, World

POLICY, ZERO_SHOT = "policy", "zero_shot"
HELD_OUT, LIKED, RARE = "held_out", "held_out_liked", "held_out_rare"  # kinds of test rows
FEW = 5  # an item with fewer training rows is rare

Metrics = dict[str, dict[str, float]]  # by recommender


class PretrainJudge:
    """Ranks rows that no pretraining has seen, over the whole catalogue."""

    def __init__(self, config: Config, corpus: Corpus, policy: Policy, spec: EnvSpec, world: World):
        """Compile the policy's scores for `world`."""
        self._corpus, self._config, self._world, self._policy = corpus, config, world, policy
        self._validation, self._length = validation_rows(config, corpus), spec.history_length
        self._texts = text_vectors(corpus, spec, world)
        self._items, self._scores = compiled(policy.items), compiled(partial(catalogue_scores, policy))

    def reading(self, world: World) -> "PretrainJudge":
        """The same judge of policies that read `world`; the simple recommenders read what they read before."""
        other = copy.copy(self)
        other._world = world
        return other

    def validation(self, params: Params) -> float:
        """NDCG@10 on validation rows, for all targets or only the positive ones, as in training."""
        return held_out_metrics(self._score(params), self._validation, (10,), self._length)["ndcg@10"]

    def test(self, params: Params, before: Params | None = None) -> dict[str, Metrics]:
        """Metrics of the test rows by kind of target, of the policy and of simple recommenders.

        `before` are parameters from another catalogue, as they were before the first step on this log.
        """
        scores = {POLICY: self._score(params)} | ({} if before is None else {ZERO_SHOT: self._score(before)})
        return test_metrics(self._config, self._corpus, self._world, self._texts, scores, self._length)

    def _score(self, params: Params) -> Score:
        items = self._items(params, self._world)

        def score(obs: Observation) -> Array:
            return self._scores(params, items, obs, self._world)

        return score


def validation_rows(config: Config, corpus: Corpus) -> Split:
    """The validation rows that a training is judged by, with the same targets as in training."""
    every, users = targets_every_row(config.pretrain), config.pretrain.evaluate_users or 2**31
    return validation_of(corpus.split, users, config.seed, every_row=every)


def text_vectors(corpus: Corpus, spec: EnvSpec, world: World) -> np.ndarray:
    """The item table [I, .] without the features of items and the statistics of the log."""
    table = np.asarray(world.item_table)
    return table[:, : table.shape[1] - corpus.features.width - 1 - len(spec.feedback)]


def test_metrics(
    config: Config, corpus: Corpus, world: World, texts: np.ndarray, scores: dict[str, Score], length: int
) -> dict[str, Metrics]:
    """Metrics of the test rows by kind of target: of `scores`, which read `length` rows, and of simple recommenders.

    `texts` [I, .] are the vectors that the simple recommenders read (`text_vectors`).
    """
    few = 1 if config.generative.cold else FEW  # the table of rare items is then that of items without training rows
    splits, cutoffs = target_splits(corpus.split, few), config.evaluate.cutoffs
    account: dict[str, Metrics] = {
        kind: {name: held_out_metrics(score, part, cutoffs, length) for name, score in scores.items()}
        for kind, part in splits.items()
    }
    for name, scorer in fit_baselines(config, held_out_rows(corpus), texts, world).items():
        for kind, part in splits.items():
            account[kind][name] = held_out_metrics(compiled_score(scorer), part, cutoffs)
    return account


def targets_every_row(config: PretrainConfig) -> bool:
    """True if each row is what the policy should rank first; `env.reward` makes only the positive ones so."""
    return config.target == "next" and config.loss != "reinforce"


def target_splits(split: Split, few: int = FEW) -> dict[str, Split]:
    """The split with all test rows, with the positive ones and with those of rare items, where these differ.

    Rare items have fewer than `few` training rows.
    """
    counts = np.bincount(split.train.item, minlength=split.train.num_items)
    rare = counts[split.test.item] < few
    splits = {HELD_OUT: split}
    if 0 < split.test.positive.sum() < len(split.test):
        splits[LIKED] = positive_targets(split)[0]
    if 0 < rare.sum() < len(rare):
        splits[RARE] = dataclasses.replace(split, test=split.test.take(rare))
    return splits
