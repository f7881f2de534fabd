"""Sweeps: every run is that of `train`, programs are shared, figures are over the seeds, and bad input is one line."""

import contextlib
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from matplotlib.image import imread

import jaxrec
from jaxrec.cli import main
from jaxrec.evaluation.seeds import over_seeds
from jaxrec.runs import sweep as module
from jaxrec.runs.sweep_grid import members_of
from jaxrec.runs.sweep_results import Sweep
from tests.flipped_bits import policy_of
from tests.kills import state_of

RECIPE: dict[str, Any] = {
    "env": {"name": "interest_evolution"},
    "learner": {
        "name": "ppo",
        "policy": {"width": 8, "hidden": [8]},
        "num_users": 16,
        "num_shards": 8,
        "horizon": 8,
        "epochs": 1,
        "minibatches": 2,
    },
    "train": {"updates": 4, "updates_per_call": 2, "checkpoint_every": 2, "evaluate_users": 16, "devices": 1},
    "evaluate": {"max_steps": 60},
}
GRID = {"learner.learning_rate": [1e-3, 3e-3]}


def start(folder: Path, **options: Any) -> Sweep:
    return jaxrec.sweep(RECIPE, **{"grid": GRID, "seeds": 2, "run": folder, "silent": True, **options})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return start(tmp_path_factory.mktemp("sweep") / "whole", workers=2)


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


def runs_in(sweep: Sweep) -> list[object]:
    folders = [sweep.folder.runs / member.name for member in sweep.members]
    return [(state_of(folder), policy_of(folder)()) for folder in folders]


def test_a_run_of_a_sweep_is_that_of_train_with_its_seed(finished: Sweep, tmp_path: Path) -> None:
    alone = jaxrec.train(RECIPE, tmp_path / "alone", {"learner.learning_rate": 3e-3, "seed": 1}, silent=True)
    inside = finished.folder.runs / finished.members[3].name
    assert inside.name == "3_learning_rate=0.003_seed=1"
    assert (inside / "config.yaml").read_bytes() == (alone.path / "config.yaml").read_bytes()
    assert state_of(inside) == state_of(alone.path)
    assert policy_of(inside)() == policy_of(alone.path)()
    assert finished.programs == 1 and not finished.interrupted


@pytest.mark.slow
def test_a_mapped_program_learns_the_same(finished: Sweep, tmp_path: Path) -> None:
    mapped = start(tmp_path / "mapped", grid={"learner.learning_rate": [3e-3]}, mode="vmap")
    assert mapped.programs == 1
    for one, other in zip(mapped.members, finished.members[2:], strict=True):
        got, want = mapped.run(one.name).metrics()[-1], finished.run(other.name).metrics()[-1]
        np.testing.assert_allclose([got["loss"], got["reward"]], [want["loss"], want["reward"]], rtol=1e-4)


@pytest.mark.slow
def test_settings_with_other_shapes_get_programs_of_their_own(tmp_path: Path) -> None:
    grid = {"learner.policy.width": [4, 8], "learner.gamma": [0.9, 0.99]}
    found = start(tmp_path / "groups", grid=grid, seeds=1, overrides={"train.updates": 2})
    assert found.programs == 2 and len(found.settings) == 4
    widths = [found.run(one.name).policy.params["query"]["kernel"].shape[-1] for one in found.members]
    assert widths == [4, 4, 8, 8]
    losses = [found.run(one.name).metrics()[0]["value_loss"] for one in found.members]
    assert losses[0] != losses[1]  # gamma is an argument, and the runs do differ in it


@pytest.mark.slow
def test_a_stopped_sweep_ends_as_one_that_nobody_stopped(
    finished: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(list):
        """Nothing at first; filled after a number of questions."""

        left = 5

        def __bool__(self) -> bool:
            self.left -= 1
            return self.left < 0

    @contextlib.contextmanager
    def signals(_: float) -> Iterator[Later]:
        yield Later()

    with monkeypatch.context() as patched:
        patched.setattr(module, "stop_on_signals", signals)
        stopped = start(tmp_path / "stopped", workers=1)
    assert stopped.interrupted and not stopped.folder.results.exists()
    resumed = start(tmp_path / "stopped", resume=True)
    assert not resumed.interrupted and runs_in(resumed) == runs_in(finished)
    assert resumed.folder.results.read_text() == finished.folder.results.read_text()


def test_a_killed_sweep_ends_as_one_that_nobody_killed(finished: Sweep, tmp_path: Path) -> None:
    shutil.copytree(finished.path, tmp_path / "killed")
    names = [member.name for member in finished.members]
    runs = tmp_path / "killed" / "runs"
    shutil.rmtree(runs / names[1] / "checkpoints" / "4")  # before its last save
    shutil.rmtree(runs / names[2])
    (runs / names[2]).mkdir()  # before anything was written into it
    for path in (runs / names[3]).iterdir():  # before its first save
        if path.name in ("checkpoints", "policy"):
            shutil.rmtree(path)
    (runs / names[3] / "timings.jsonl").unlink()
    for name in ("results.json", "curves.png"):
        (tmp_path / "killed" / name).unlink()
    resumed = start(tmp_path / "killed", resume=True)
    assert runs_in(resumed) == runs_in(finished)
    assert resumed.folder.results.read_text() == finished.folder.results.read_text()


def test_intervals_are_those_of_students_t() -> None:
    # Deviation of 1, 2, 3, 4: sqrt(5 / 3) = 1.29099; over sqrt(4): .645497; t of 3 degrees of freedom: 3.182446
    mean, half = over_seeds([1.0, 2.0, 3.0, 4.0])
    assert mean == 2.5 and half == pytest.approx(3.182446 * 0.645497, rel=1e-5)
    assert math.isnan(over_seeds([1.0]).half_width) and str(over_seeds([])) == "-"


def test_figures_of_a_setting_are_over_its_seeds(finished: Sweep) -> None:
    for setting, row in zip(finished.settings, finished.rows, strict=True):
        names = [member.name for member in finished.members if member.setting == setting]
        returns = [[r["evaluation_return"] for r in finished.run(name).metrics()[1::2]] for name in names]
        (a, b), (last_a, last_b) = (max(one) for one in returns), (one[-1] for one in returns)
        assert row.seeds == 2 and row.best.mean == pytest.approx((a + b) / 2)
        assert row.best.half_width == pytest.approx(12.7062 * abs(a - b) / 2, rel=1e-4)  # t of 1 degree of freedom
        assert row.last.mean == pytest.approx((last_a + last_b) / 2)
    assert finished.best_run in [finished.folder.runs / member.name for member in finished.members]


def test_a_sweep_draws_its_curves_and_prints_its_table(finished: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    finished.show()
    printed = capsys.readouterr().out
    for row in finished.rows:
        assert any(row.values[0] in line and str(row.best) in line for line in printed.splitlines())
    assert finished.folder.picture.read_bytes().startswith(b"\x89PNG")
    assert imread(finished.folder.picture)[..., :3].std() > 0.02  # of 0 to 1: something is drawn


def test_a_setting_that_diverges_is_a_row_of_the_table(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="training diverged"):
        found = start(tmp_path / "wild", grid={"learner.learning_rate": [1e-3, 1e7]}, seeds=1)
    tame, wild = found.rows
    assert (tame.diverged, wild.diverged) == (0, 1) and str(wild.best) == "-" and math.isfinite(tame.best.mean)
    assert found.best_run == found.folder.runs / found.members[0].name
    assert start(found.path, grid={"learner.learning_rate": [1e-3, 1e7]}, seeds=1, resume=True).programs == 0


@pytest.mark.slow
def test_runs_with_the_same_seed_share_users_that_are_fitted_once(tiny_run: Path, tmp_path: Path) -> None:
    grid = {"learner.learning_rate": [1e-3, 1e-2]}
    recipe = tmp_path / "recipe.yaml"
    shutil.copy(tiny_run / "config.yaml", recipe)
    found = jaxrec.sweep(recipe, grid, run=tmp_path / "sweep", silent=True)
    first, second = (found.folder.runs / member.name for member in found.members)
    assert state_of(first) == state_of(tiny_run) and policy_of(first)() == policy_of(tiny_run)()
    fitted = [run / "simulators" / "validity.json" for run in (first, second)]
    assert fitted[0].stat().st_ino == fitted[1].stat().st_ino
    assert found.programs == 1 and state_of(second) != state_of(first)


def test_values_of_python_are_those_of_a_recipe() -> None:
    grid = {"learner.policy.hidden": [(8,), (8, 8)], "train.tensorboard": [True, False]}
    found = [one.config for one in members_of(RECIPE, grid, None, (), 4)[1]]
    assert [one.learner.policy.hidden for one in found] == [(8,), (8,), (8, 8), (8, 8)]
    assert [one.train.tensorboard for one in found] == [True, False, True, False]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["learner.learnig_rate=1,2"], "has no field 'learnig_rate'; did you mean 'learning_rate'?"),
        (["learner.learning_rate=1e-3,fast"], "learner.learning_rate: expected a number, got 'fast'"),
        (["learner.learning_rate=1e-3,"], "a value before or after a comma is empty"),
        (["learner.learning_rate=1e-3,0.001"], "learning_rate=0.001 comes twice"),
        (["learner.learning_rate=1e-3,-1"], "learner.learning_rate: expected"),
        (["learner.learning_rate=1e-3,1e-4", "seeds=5000"], "10,000 runs, and the limit is 256"),
        (["seeds=0"], "seeds: expected a whole number of at least 1, got 0"),
        (["seeds=many"], "seeds: expected a whole number such as seeds=8, got 'many'"),
        (["seeds=2", "seed=1,2"], "the values of seed are given as well"),
        (["seed=1,1"], "seed: expected different values"),
        (["--limit", "0"], "limit: expected"),
        (["--mode", "vmap", "train.devices=2"], "vmap maps runs on one device, and train.devices asks for 2"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    words: list[str], message: str, recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", str(recipe_file), *words, "--run", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_with_another_sweep_is_refused(
    finished: Sweep, recipe_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def files() -> dict[Path, float]:
        return {path: path.stat().st_mtime for path in finished.path.rglob("*") if path.name != ".jaxrec-lock"}

    before = files()
    same = ["learner.learning_rate=1e-3,3e-3", "seeds=2"]
    for words, message in (
        (same, "already exists; add --resume"),
        ([same[0], "seeds=3", "--resume"], "holds another sweep (seeds: [0, 1] there, [0, 1, 2] now"),
        (["learner.gamma=0.9,0.99", "seeds=2", "--resume"], "holds another sweep (grid: "),
        (
            [*same, "learner.gamma=0.5", "--resume"],
            "another recipe ('gamma: 0.99' became 'gamma: 0.5')",
        ),
    ):
        assert main(["sweep", str(recipe_file), *words, "--run", str(finished.path)]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert files() == before


def test_inspect_shows_the_grid_how_far_the_runs_are_and_what_they_reached(
    finished: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(finished.path)]) == 0
    text = capsys.readouterr().out
    assert "runs of jaxrec sweep" in text and "4 of 4 reached update 4" in text
    row = finished.rows[1]
    assert f"learning_rate=0.003: {row.best.mean:.2f} ± {row.best.half_width:.2f}, 2 seeds" in text
    assert f"next: jaxrec evaluate {finished.best_run}" in " ".join(text.split())
    assert main(["evaluate", str(finished.path)]) != 0
    assert f"{finished.path}: a sweep; name one of its runs" in " ".join(capsys.readouterr().err.split())
