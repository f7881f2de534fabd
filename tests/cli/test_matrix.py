from pathlib import Path

import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.data.matrix import FILE, RewardMatrix, load_matrix, save_matrix
from jaxrec.runs.check_data import check_data
from jaxrec.runs.read_log import read_corpus
from jaxrec.runs.train import check_recipe
from jaxrec.runs.users import full_matrix as matrix
from jaxrec.runs.users.registry import user_kind
from jaxrec.storage.run import RunFolder
from tests.recipes import TINY

LOGGED = "env: {name: logged, slate_size: 3, requests: 4, history_length: 12}"
RECIPE = TINY.replace(LOGGED, "env: {name: full_matrix, turns: 6, leave: {name: distance, threshold: 0.2}}")


def load(folder: Path, text: str, *overrides: str) -> Config:
    (folder / "recipe.yaml").write_text(text)
    return load_config(Config, folder / "recipe.yaml", overrides)


def test_a_log_becomes_a_matrix_once_a_run(tmp_path: Path) -> None:
    config = load(tmp_path, RECIPE, "data.min_item_ratings=5")
    check_recipe(config)
    corpus, run = read_corpus(config), RunFolder(tmp_path / "run")
    env = user_kind("full_matrix").make(config.env, matrix.prepare_matrix(config, corpus, run))
    kept = load_matrix(run.path / FILE)
    assert kept.matrix.shape == (corpus.dataset.log.num_users, len(corpus.dataset.catalogue))
    counts = np.bincount(corpus.dataset.log.item, minlength=env.spec.num_items)
    np.testing.assert_array_equal(kept.recommendable, counts >= 5)
    assert kept.vectors is not None
    np.testing.assert_allclose(np.linalg.norm(kept.vectors, axis=1), 1.0, rtol=1e-3)
    spoiled = RewardMatrix(matrix=0 * kept.matrix, vectors=kept.vectors)
    save_matrix(run.path / FILE, spoiled)  # what a run has is not made again: a resumed run goes on with it
    assert not matrix.prepare_matrix(config, corpus, run).users.matrix.any()
    assert not matrix.kept_matrix(config, run).users.matrix.any()


def test_a_log_of_successes_is_no_matrix(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    config = load(tmp_path, RECIPE.replace('text: "{title}"', 'text: "{title}"\n  feedback: {bought: {at_least: 0}}'))
    message = "data.feedback.bought: 1 in every row of the log, so the matrix would be 1 everywhere"
    with pytest.raises(InputError, match=f"{message}.*set env.name to logged"):
        matrix.prepare_matrix(config, read_corpus(config), RunFolder(tmp_path / "run"))
    (stop,) = check_data(recipe)["stops"]
    assert stop.startswith(message)


def test_a_run_keeps_the_matrix_that_its_recipe_names(tmp_path: Path) -> None:
    source, run = tmp_path / "source.npz", RunFolder(tmp_path / "run")
    save_matrix(source, RewardMatrix(matrix=np.eye(4, 8), categories=np.eye(8)))
    config = load(tmp_path, "env: {name: full_matrix, turns: 3}", f"env.path={source}")
    matrix.prepare_matrix(config, None, run)
    source.unlink()
    np.testing.assert_array_equal(matrix.kept_matrix(config, run).users.matrix, np.eye(4, 8))


def test_a_recipe_names_one_source_and_one_kind_of_feedback(tmp_path: Path) -> None:
    no_data = "env: {name: full_matrix}"
    for text, overrides, message in (
        (RECIPE, ["env.path=matrix.npz"], "give either env.path or data"),
        (no_data, [], "give either env.path or data"),
        (RECIPE, ["data.feedback.liked={}", "data.feedback.loved={}"], "one kind of feedback, got liked, loved"),
        (RECIPE, ["env.leave={name: categories}"], "env.leave: categories needs .*, which the matrix of a log lacks"),
        (RECIPE, ["data.min_item_ratings=0"], "min_item_ratings: 0, but env.name full_matrix knows nothing of items"),
        (RECIPE, ["env.reward.values=1"], r"env\.reward: no 'values'; did you mean 'value'"),
    ):
        with pytest.raises(InputError, match=message):
            check_recipe(load(tmp_path, text, *overrides))
