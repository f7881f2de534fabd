"""Users replayed from a matrix of rewards, which comes from a file or from the log and is kept in the run."""

from typing import Any

import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.full_matrix import CategoriesConfig, FullMatrixConfig
from jaxrec.config.schema import Config
from jaxrec.data.matrix import FILE, RewardMatrix, load_matrix, save_matrix
from jaxrec.envs import full_matrix
from jaxrec.evaluation.recommenders import greedy_matrix, ranking
from jaxrec.evaluation.report import FIXED
from jaxrec.ops.vectors import unit_rows
from jaxrec.progress import note
from jaxrec.runs.item_table import embed
from jaxrec.runs.read_log import Corpus, read_corpus
from jaxrec.runs.recipe import log_config
from jaxrec.runs.users.kind import (
    TRAIN,
    Judging,
    JudgingWorld,
    Prepared,
    Rules,
    UserKind,
    check_not_continued,
)
from jaxrec.runs.users.log_checks import check_matrix_values
from jaxrec.serve import SavedPolicy
from jaxrec.storage.run import RunFolder
from jaxrec.supervised.factorise import matrix_of_log
from jaxrec.types import Env, World


def check(config: Config) -> None:
    """Raise InputError unless the recipe names one source of the matrix, and only settings that this source has."""
    check_not_continued(config)
    if config.data is not None and config.data.item_features:
        raise InputError(f"data.item_features: env.name {config.env.name} reads only texts; remove it.")
    if config.data is not None and not config.data.min_item_ratings:
        raise InputError(
            f"data.min_item_ratings: 0, but env.name {config.env.name} knows nothing of items without rows; set it to "
            "1, or env.name to logged."
        )
    full_matrix.check_source(config.env, None if config.data is None else tuple(config.data.feedback))
    if config.data is not None and isinstance(config.env.leave, CategoriesConfig):
        raise InputError(
            "env.leave: categories needs categories of the items, which the matrix of a log lacks; set env.leave="
            "{name: distance}, which reads their texts, or env.leave=null."
        )


def prepare(config: Config, run: RunFolder, before: SavedPolicy | None) -> Prepared:
    """Copy the matrix from `env.path` into the run or make it from the log, once, and load it."""
    corpus = None if config.data is None else read_corpus(config)
    world = prepare_matrix(config, corpus, run)
    return Prepared(world, None if corpus is None else corpus.dataset.catalogue, corpus)


def prepare_matrix(config: Config, corpus: Corpus | None, run: RunFolder) -> World:
    """World of the run's matrix, which is made first if it is missing."""
    if not (run.path / FILE).is_file():
        rewards = load_matrix(config.env.path) if corpus is None else _of_log(config, corpus)
        save_matrix(run.path / FILE, rewards)
    return kept_matrix(config, run)


def kept_matrix(config: Config, run: RunFolder) -> World:
    """World of the matrix that is kept in a run."""
    return full_matrix.make_world(load_matrix(run.path / FILE), config.env)


def judge(config: Config, run: RunFolder, saved: SavedPolicy) -> Judging:
    """Judge on the training matrix, the only one there is."""
    name = config.env.name
    world = JudgingWorld(TRAIN, f"{name}, {config.evaluate.users} users", name, kept_matrix(config, run))
    return Judging(config.env, (world,))


def baselines(env: Env, section: FullMatrixConfig, config: Config | None, corpus: Corpus | None) -> Rules:
    """The best single ranking, and two oracles that read the user's row."""
    return {
        FIXED: ranking(env.world.users.matrix.mean(0), 1),
        "greedy_matrix": greedy_matrix(section),
        "greedy_staying": greedy_matrix(section, staying=True),
    }


def _of_log(config: Config, corpus: Corpus) -> RewardMatrix:
    """Complete the matrix of the log, with unit text vectors; prints the error on held-out rows."""
    log = corpus.dataset.log
    check_matrix_values(log)
    matrix, report = matrix_of_log(log, config.env.factors, config.seed)
    note(_quality(report))
    shown = np.bincount(log.item, minlength=log.num_items) >= log_config(config).min_item_ratings
    vectors = embed(config, corpus.dataset.catalogue.texts)
    return RewardMatrix(matrix=matrix, vectors=unit_rows(vectors, 1e-8), recommendable=shown)


def _quality(report: dict[str, Any]) -> str:
    line = f"  matrix of {report['rows']:,} rows"
    if "rmse" in report:
        line += (
            f"; root mean squared error on {report['held_out_rows']:,} held-out rows {report['rmse']:.3f}, "
            f"with biases alone {report['rmse_biases']:.3f}"
        )
    return line


FULL_MATRIX = UserKind(
    config=FullMatrixConfig,
    make=full_matrix.make,
    check=check,
    check_log=lambda recipe, corpus: check_matrix_values(corpus.dataset.log),
    prepare=prepare,
    judge=judge,
    baselines=baselines,
    item_rows=lambda world: world.item_table,
)
