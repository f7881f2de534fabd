import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxrec import make_env
from jaxrec.cli import main
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.envs.logged_world import load_simulator
from jaxrec.runs.read_log import read_corpus
from jaxrec.storage.lock import LOCK

FILES = {"simulator.json", "log.json", "users.json", "validity.json", "validity.html", "digests.xxh128"}
PARTS = {"config.yaml", "train", "judge"} | FILES


@pytest.fixture(scope="module")
def fitted(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fitted simulators of the tiny recipe; tests that change them copy them first."""
    folder = tmp_path_factory.mktemp("simulators") / "tiny"
    assert main(["fit-simulator", str(recipe), "-o", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def fitted_last_rows(last_rows_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with users who answer by the last rows of their history."""
    folder = tmp_path_factory.mktemp("simulators") / "last_rows"
    assert main(["fit-simulator", str(last_rows_recipe), "-o", str(folder)]) == 0
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def users(folder: Path) -> list[np.ndarray]:
    world = load_simulator(folder)
    return [np.asarray(x) for x in (world.users.members.items, world.users.members.shift, world.item_table)]


@pytest.mark.parametrize("response", ["tastes", pytest.param("last_rows", marks=pytest.mark.slow)])
def test_a_folder_holds_both_simulators_and_how_far_to_believe_them(
    response: str, recipe: Path, request: pytest.FixtureRequest
) -> None:
    fitted: Path = request.getfixturevalue("fitted" if response == "tastes" else "fitted_last_rows")
    assert {path.name for path in fitted.iterdir()} == {*PARTS, LOCK}
    about = json.loads((fitted / "simulator.json").read_text())
    assert (about["users"], about["items"], about["feedback"]) == (40, 60, ["liked"])
    report = json.loads((fitted / "validity.json").read_text())
    assert set(report["rare_items"]) >= {"auc", "auc_without_text"}
    rows = report["test_rows"]
    if response == "tastes":  # compared over the latest fifth of every user's rows
        lengths = np.bincount(read_corpus(load_config(Config, recipe)).dataset.log.user)
        rows = (lengths - np.ceil(0.8 * lengths)).sum()
    assert report["feedback_rates"]["liked"]["rows"] == rows
    assert report["session_lengths"]["most_items"] == 4 * 3  # requests times slate
    assert "<svg" in (fitted / "validity.html").read_text()


def test_the_same_inputs_find_the_folder_of_their_own_name(
    recipe: Path, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    mark = json.loads((fitted / "simulator.json").read_text())["fingerprint"]
    named = tmp_path / "simulators" / f"tiny-{mark[:12]}"
    shutil.copytree(fitted, named)
    before = files(named)
    monkeypatch.chdir(tmp_path)
    # What learners do with the users does not make other users.
    assert main(["fit-simulator", str(recipe), "learner.gamma=0.5"]) == 0
    # Nor do settings of the response that was not fitted.
    assert main(["fit-simulator", str(recipe), "response.width=4"]) == 0
    assert f"simulators/tiny-{mark[:12]}: already there" in capsys.readouterr().out
    assert files(named) == before
    assert main(["fit-simulator", str(recipe), "tastes.width=3", "-o", str(named)]) == 2
    assert f"another log or recipe (fingerprint {mark[:12]}" in capsys.readouterr().err
    assert files(named) == before


def test_an_environment_opens_the_users_that_train_and_those_that_judge(fitted: Path) -> None:
    env, judge = make_env("logged", path=str(fitted)), make_env("logged", path=str(fitted / "judge"))
    train = make_env("logged", path=str(fitted / "train"))
    np.testing.assert_array_equal(env.world.users.items, train.world.users.items)
    assert env.world.users.begin.shape == judge.world.users.begin.shape == (20,)
    assert len(env.world.users.items) + len(judge.world.users.items) == 772 - 2 * 40  # held-out rows are in neither


def test_a_run_in_fitted_users_equals_one_that_fits_its_own_and_keeps_them(
    tiny_run: Path, recipe: Path, fitted: Path, tmp_path: Path
) -> None:
    source, run = tmp_path / "source", tmp_path / "run"
    shutil.copytree(fitted, source)
    words = ["train", str(recipe), f"env.path={source}", "--run", str(run)]
    assert main([*words, "train.updates=4"]) == 0
    shutil.rmtree(source)
    assert main([*words, "--resume"]) == 0
    assert (run / "metrics.jsonl").read_bytes() == (tiny_run / "metrics.jsonl").read_bytes()
    assert {path.name for path in (run / "simulators").iterdir()} == PARTS - {"config.yaml", "simulator.json"}


def test_users_of_another_log_or_another_half_are_refused(
    recipe: Path, fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for change in ("data.feedback.liked.at_most=0.5", "evaluate.judge_share=0.4"):
        words = ["train", str(recipe), f"env.path={fitted}", change, "--run", str(tmp_path / "run")]
        assert main(words) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert f"env.path: {fitted} was fitted to another log or another split of its users" in error
        assert not (tmp_path / "run" / "simulators").exists()


@pytest.mark.slow
def test_a_killed_fit_goes_on_where_it_stopped(last_rows_recipe: Path, fitted_last_rows: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    words = ["fit-simulator", str(last_rows_recipe), "-o", str(folder)]
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxrec.cli", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not (folder / "fits" / "train_0").is_dir() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert not (folder / "judge").exists()
    (folder / f".judge.jaxrec-{process.pid}-a1b2c3d4.tmp").mkdir()  # as a kill in the middle of writing leaves it
    report = (folder / "validity.json").stat().st_mtime_ns
    assert main(words) == 0
    assert {path.name for path in folder.iterdir()} == {*PARTS, LOCK}
    assert (folder / "validity.json").stat().st_mtime_ns == report
    for name in ("train", "judge"):
        for mine, other in zip(users(folder / name), users(fitted_last_rows / name), strict=True):
            np.testing.assert_array_equal(mine, other)
