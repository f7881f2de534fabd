"""The matrix that full_matrix users are replayed from: a file of the recipe or made of its log, and kept in the run."""

from typing import Any

import numpy as np

from jaxrec.cli.experiment import Corpus, embed, log_config
from jaxrec.config.full_matrix import FullMatrixConfig
from jaxrec.config.schema import Config
from jaxrec.data.matrix import FILE, RewardMatrix, load_matrix, save_matrix
from jaxrec.envs import full_matrix
from jaxrec.storage.run import RunFolder
from jaxrec.supervised.factorise import matrix_of_log
from jaxrec.types import World


def prepare_matrix(config: Config, corpus: Corpus | None, run: RunFolder) -> World:
    """World of the matrix that the run keeps: copied from `env.path`, or made of the log, once."""
    assert isinstance(config.env, FullMatrixConfig)
    if not (run.path / FILE).is_file():
        rewards = load_matrix(config.env.path) if corpus is None else _of_log(config, corpus)
        save_matrix(run.path / FILE, rewards)
    return kept_matrix(config, run)


def kept_matrix(config: Config, run: RunFolder) -> World:
    """World of the matrix that a run keeps."""
    assert isinstance(config.env, FullMatrixConfig)
    return full_matrix.make_world(load_matrix(run.path / FILE), config.env)


def _of_log(config: Config, corpus: Corpus) -> RewardMatrix:
    """The log's matrix with text vectors of unit length; prints how good the filling is."""
    assert isinstance(config.env, FullMatrixConfig)
    log = corpus.dataset.log
    matrix, report = matrix_of_log(log, config.env.factors, config.seed)
    _print(report)
    shown = np.bincount(log.item, minlength=log.num_items) >= log_config(config).min_item_ratings
    vectors = embed(config, corpus.dataset.catalogue.texts)
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-8)
    return RewardMatrix(matrix=matrix, vectors=vectors, recommendable=shown)


def _print(report: dict[str, Any]) -> None:
    line = f"  matrix of {report['rows']:,} rows"
    if "rmse" in report:
        line += (
            f"; root mean squared error on {report['held_out_rows']:,} rows left out {report['rmse']:.3f}, "
            f"of the biases alone {report['rmse_biases']:.3f}"
        )
    print(line)
