"""A finished run goes on with a log that has grown; the generated log with more items stands for it."""

import json
import shutil
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

from jaxrec.cli import main
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.runs.read_log import read_corpus
from jaxrec.runs.users.fitted_folder import sides_before
from jaxrec.serve import load_policy
from jaxrec.storage.digests import seal

GROWN = ("data.generated.items=70", "learner.policy.item_residual=true")


@pytest.fixture(scope="module")
def old_run(recipe: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("old") / "run"
    fitted = f"env.path={tiny_run / 'simulators'}"  # the run keeps a copy, and saves the time of a fit
    assert main(["train", str(recipe), "--run", str(run), GROWN[1], fitted, "train.updates=4"]) == 0
    return run


@pytest.fixture(scope="module")
def new_run(recipe: Path, old_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("new") / "run"
    # So small a step that the parameters stay where they began.
    words = ["train", str(recipe), "--continue", str(old_run), "--run", str(run), *GROWN]
    assert main([*words, "train.updates=4", "learner.learning_rate=1e-12"]) == 0
    return run


def test_training_goes_on_from_the_old_parameters_and_new_items_can_be_recommended(
    old_run: Path, new_run: Path
) -> None:
    old, new = load_policy(old_run), load_policy(new_run)
    fresh = sorted(set(new.ids) - set(old.ids))
    assert fresh and all(int(item) > 60 for item in fresh)
    for name in ("query", "value", "history", "item_vectors"):
        chex.assert_trees_all_close(new.params[name], old.params[name], atol=1e-8)
    place = [new.ids.index(item) for item in old.ids if item in new.ids]
    kept = [n for n, item in enumerate(old.ids) if item in new.ids]
    np.testing.assert_allclose(
        new.params["residual_bias"][np.array(place)], old.params["residual_bias"][np.array(kept)], atol=1e-8
    )
    assert set(fresh) & {item.id for item in new.recommend(k=len(new.ids) - 6)}
    assert not set(fresh) & {item.id for item in old.recommend(k=len(old.ids) - 6)}


@pytest.mark.slow
def test_nobody_judges_who_trained_the_old_policy(recipe: Path, old_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["train", str(recipe), "--continue", str(old_run), "--run", str(run), *GROWN, "train.updates=4"]
    assert main([*words, "seed=5", "data.generated.users=90"]) == 0  # by itself, seed 5 would split users otherwise
    users = read_corpus(load_config(Config, run / "config.yaml")).dataset.users
    sides = [sides_before(folder / "simulators") for folder in (old_run, run)]
    old, new = (one.of(users) for one in sides if one is not None)
    assert (old == 0).any() and (old == 1).any() and (old < 0).any()
    np.testing.assert_array_equal(new[old >= 0], old[old >= 0])
    assert (new[old < 0] == 0).any()  # some of the new ones judge, too


@pytest.mark.slow
def test_a_log_of_other_users_or_without_a_record_of_them_is_refused(
    recipe: Path, old_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    old = tmp_path / "old"
    shutil.copytree(old_run, old)
    words = ["train", str(recipe), "--continue", str(old), *GROWN]
    users = old / "simulators" / "users.json"
    users.write_text(json.dumps({"train": ["somebody"], "judge": ["else"]}))
    seal(users.parent)
    assert main([*words, "--run", str(tmp_path / "a")]) != 0
    assert "none of the log's" in capsys.readouterr().err
    users.unlink()
    seal(users.parent)
    assert main([*words, "--run", str(tmp_path / "b")]) != 0
    assert "it is unknown which users trained" in capsys.readouterr().err
    assert main(["fit-simulator", str(recipe), "-o", str(tmp_path / "sim"), *GROWN, "seed=5"]) == 0
    words[3] = str(old_run)
    assert main([*words, "--run", str(tmp_path / "c"), "seed=5", f"env.path={tmp_path / 'sim'}"]) != 0
    assert "another split of its users" in capsys.readouterr().err


@pytest.mark.slow
def test_old_and_new_policy_are_judged_side_by_side(new_run: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["evaluate", str(new_run)]) == 0
    assert "policy_before" in capsys.readouterr().out
    account = json.loads((new_run / "evaluation.json").read_text())
    new, old = (account["held_out"][name] for name in ("policy", "policy_before"))
    assert new.keys() == old.keys()
    for simulator in account["simulators"].values():
        assert {"policy", "policy_before"} <= simulator["recommenders"].keys()


@pytest.mark.slow
def test_a_continued_run_is_whole_without_the_old_one(
    recipe: Path, old_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    moved, run = tmp_path / "old", tmp_path / "run"
    shutil.copytree(old_run, moved)
    words = ["train", str(recipe), "--continue", str(moved), "--run", str(run), *GROWN]
    assert main([*words, "train.updates=4"]) == 0
    assert "old and new policy" in capsys.readouterr().out
    shutil.rmtree(moved)
    assert main([*words, "train.updates=8", "--resume"]) == 0
    straight = tmp_path / "straight"
    assert main([*words, "train.updates=8", "--run", str(straight), "--continue", str(old_run)]) == 0
    first, again = load_policy(run), load_policy(straight)
    assert first.step == again.step
    jax.tree.map(np.testing.assert_array_equal, first.params, again.params)
