import json
import math
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxrec.cli import main
from jaxrec.config.baselines import CHEAP
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.storage.lock import LOCK
from jaxrec.supervised.baselines import neighbours
from tests.damage import without_digests


def rows(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_holds_what_the_readme_says(tiny_run: Path, recipe: Path) -> None:
    names = {path.name for path in tiny_run.iterdir()}
    files = {LOCK, "config.yaml", "metrics.jsonl", "timings.jsonl", "events.out.tfevents.000000000000"}
    evaluated = {"evaluation.json", "evaluation.svg", "report.html"}
    assert names == files | {"checkpoints", "policy", "simulators"} | (names & evaluated)
    assert load_config(Config, tiny_run / "config.yaml") == load_config(Config, recipe)
    assert [row["step"] for row in rows(tiny_run)] == list(range(1, 9))
    users = {"train", "judge", "validity.json", "validity.html", "log.json", "users.json", "digests.xxh128"}
    assert {path.name for path in (tiny_run / "simulators").iterdir()} == users


@pytest.mark.slow
def test_a_run_is_reproduced_from_its_config_alone(tiny_run: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert main(["train", str(tiny_run / "config.yaml"), "--run", str(again)]) == 0
    assert (again / "metrics.jsonl").read_bytes() == (tiny_run / "metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_another_seed_changes_every_metric(tiny_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert main(["train", str(tiny_run / "config.yaml"), "--run", str(other), "seed=4"]) == 0
    for mine, yours in zip(rows(tiny_run), rows(other), strict=True):
        same = {k for k in mine if mine[k] == yours[k] and k not in ("step", "learning_rate")}
        assert same <= {"clip_fraction", "episode_return", "evaluation_return", "reward"}, same


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL])
def test_a_killed_process_resumes_bit_for_bit(number: signal.Signals, tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "jaxrec.cli", "train", str(tiny_run / "config.yaml"), "--run", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (run / "checkpoints" / "4").is_dir() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(timeout=120) in (0, 143, -number)
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (run / "metrics.jsonl").read_bytes() == (tiny_run / "metrics.jsonl").read_bytes()
    mine, other = (ocp.StandardCheckpointer().restore(r / "policy" / "arrays") for r in (run, tiny_run))
    for a, b in zip(_leaves(mine), _leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_resume_may_train_longer_but_not_differently(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = tmp_path / "run"
    config = str(tiny_run / "config.yaml")
    assert main(["train", config, "--run", str(run), "train.updates=4"]) == 0
    assert main(["train", config, "--run", str(run), "--resume", "learner.gamma=0.5"]) == 2
    assert "'gamma: 0.99' became 'gamma: 0.5'" in capsys.readouterr().err
    assert main(["train", config, "--run", str(run), "--resume"]) == 0
    assert (run / "metrics.jsonl").read_bytes() == (tiny_run / "metrics.jsonl").read_bytes()


def test_a_finished_run_continues_for_longer_with_another_schedule(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    config = str(run / "config.yaml")
    command = ["train", config, "--run", str(run), "--resume"]
    assert main([*command, "learner.anneal_updates=16"]) == 2  # the same updates would be another experiment
    assert "'anneal_updates: 0' became 'anneal_updates: 16'" in capsys.readouterr().err
    assert main([*command, "train.updates=12", "learner.anneal_updates=16"]) == 0
    before, after = ((r / "metrics.jsonl").read_text().splitlines() for r in (tiny_run, run))
    assert after[:8] == before and len(after) == 12
    # The rate falls from 1 at update 0 to 0 at update 16: rows 9 to 12 had 8, 7, 6 and 5 sixteenths of it.
    rates = [json.loads(row)["learning_rate"] for row in after]
    whole = load_config(Config, config).learner.learning_rate
    np.testing.assert_allclose(rates, np.array([16] * 8 + [8, 7, 6, 5]) / 16 * whole, rtol=1e-6)
    assert (run / "config-8.yaml").read_text() == (tiny_run / "config.yaml").read_text().partition("\n")[2]
    assert load_config(Config, config).learner.anneal_updates == 16


def test_a_corrected_first_command_may_use_the_same_run_folder(recipe: Path, tmp_path: Path) -> None:
    run = ["--run", str(tmp_path / "run")]
    assert main(["train", str(recipe), *run, "encoder.model=nowhere"]) == 2
    assert main(["train", str(recipe), *run, "train.updates=2", "train.checkpoint_every=2"]) in (0, 2)


def test_a_run_is_not_resumed_on_a_log_that_changed(tiny_run: Path, tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    without_digests(Path(shutil.copytree(tiny_run, run)))
    log = json.loads((run / "simulators" / "log.json").read_text())
    (run / "simulators" / "log.json").write_text(json.dumps(log | {"rows": log["rows"] + 1}))
    assert main(["train", str(run / "config.yaml"), "--run", str(run), "--resume"]) == 2
    assert "the log has changed since this run began" in capsys.readouterr().err


def test_evaluation_judges_everybody_in_both_simulators_and_on_the_log(
    tiny_run: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["evaluate", str(tiny_run)]) == 0
    printed = capsys.readouterr().out
    account = json.loads((tiny_run / "evaluation.json").read_text())
    everybody = {"policy", "random", "best_fixed", "greedy_response", "posterior_mean", *CHEAP}
    corrected = [name for name, section in account["simulators"].items() if "corrected" in section]
    assert corrected == ["judge"] and "corrected" in printed
    assert set(account["simulators"]["judge"]["corrected_minus"]) == everybody - {"policy", "greedy_response"}
    assert set(account["simulators"]) == {"train", "judge", "truth"}
    for simulator in ("train", "judge", "truth"):
        recommenders = account["simulators"][simulator]["recommenders"]
        assert set(recommenders) == everybody
        for name, row in recommenders.items():
            assert name in printed
            assert 0 <= row["return"] <= 4 * 3  # requests times slate, all liked
            assert row["length"] == 4
            assert math.isclose(row["per_item"], row["return"] / 12, rel_tol=1e-6)
            assert 0 < row["coverage"] <= 1
    assert set(account["held_out"]) == set(account["held_out_liked"]) == {"policy", "true_tastes", *CHEAP}
    assert "true_tastes" not in account["verdict"]["questions"]["held_out"]["worse"]
    assert account["held_out"]["policy"]["users"] == 40
    answers = account["answers"]
    assert (
        set(answers["auc"]) == {"policy", "best_fixed", "posterior_mean", *CHEAP} and 0 < answers["users"] <= 20
    )  # half judge
    assert f"{answers['rows']:,} real answers of {answers['users']} people" in " ".join(printed.split())
    liked = account["held_out_liked"]["policy"]["users"]
    assert 0 < liked < 40 and f"targets: test rows with 'liked', {liked:.0f} users" in " ".join(printed.split())
    errors = account["held_out_feedback"]["liked"]
    assert set(errors) == {"bias", "constant_mean"} and errors["bias"]["rmse"] < 1
    assert f"bias MAE {errors['bias']['mae']:.3f}" in printed
    assert all(len(line) <= 120 for line in printed.splitlines() if str(tiny_run) not in line)
    assert printed.splitlines()[-1] == f"to read in a browser: {tiny_run / 'report.html'}"
    page = (tiny_run / "report.html").read_text()
    assert "Person 5: " in page and "Chance of &#39;liked&#39;" in page and 'href="simulators/validity.html"' in page
    assert "truth: the people who wrote the log, 40 users" in page


@pytest.mark.slow
def test_a_recipe_names_what_a_policy_is_compared_with(tiny_run: Path, capsys: pytest.CaptureFixture) -> None:
    names, members = "[als, user_knn]", "[item_knn, als]"
    options = [f"evaluate.baselines={names}", f"evaluate.ensemble={members}", "evaluate.users=20"]
    assert main(["evaluate", str(tiny_run), *options]) == 0
    printed = capsys.readouterr().out
    account = json.loads((tiny_run / "evaluation.json").read_text())
    compared = {"als", "user_knn", "ensemble"}
    assert set(account["held_out"]) == {"policy", "true_tastes", *compared}
    always = {"policy", "random", "most_popular", "best_fixed", "greedy_response", "posterior_mean"}
    assert set(account["simulators"]["judge"]["recommenders"]) == always | compared
    for purpose in ("simulated users", "the held-out log"):
        assert f"als for {purpose}: alpha " in printed and f"ensemble for {purpose}: " in printed


def test_what_cannot_be_fitted_is_left_out_with_a_line(
    tiny_run: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "KNN_ITEMS", 10)
    options = ["evaluate.baselines=[item_knn, bias]", "evaluate.ensemble=[item_knn, bias]", "evaluate.users=20"]
    assert main(["evaluate", str(tiny_run), *options]) == 0
    printed = capsys.readouterr().out
    assert "item_knn is left out of simulated users: item_knn: 60 items, wanted at most 10" in printed
    assert "the ensemble is left out of simulated users: evaluate.ensemble: item_knn could not be fitted" in printed
    assert set(json.loads((tiny_run / "evaluation.json").read_text())["held_out"]) == {"policy", "true_tastes", "bias"}


@pytest.mark.slow
def test_evaluation_repeats_bit_for_bit(tiny_run: Path) -> None:
    texts = []
    for _ in range(2):
        assert main(["evaluate", str(tiny_run), "evaluate.users=30"]) == 0
        texts.append((tiny_run / "evaluation.json").read_text())
    assert texts[0] == texts[1]


def test_interest_evolution_needs_no_log(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    recipe, run = tmp_path / "ie.yaml", tmp_path / "run"
    recipe.write_text(
        "env: {name: interest_evolution}\n"
        "learner: {num_users: 16, horizon: 4, minibatches: 2, epochs: 1, policy: {width: 8}}\n"
        "train: {updates: 2, updates_per_call: 2, checkpoint_every: 2, evaluate_users: 8}\n"
        "evaluate: {users: 64}\n"
    )
    assert main(["train", str(recipe), "--run", str(run)]) == 0
    assert main(["evaluate", str(run)]) == 0
    recommenders = json.loads((run / "evaluation.json").read_text())["simulators"]["train"]["recommenders"]
    assert recommenders["topic_quality"]["return"] > recommenders["random"]["return"]
    page = (run / "report.html").read_text()
    assert "Verdict: undecided" in page and "Person 1" not in page and "validity.html" not in page
    assert main(["recommend", str(run), "--history", "1"]) == 2
    assert "read interests, not a history" in capsys.readouterr().err


@pytest.mark.slow
def test_sardine_is_judged_beside_chance_and_the_oracle(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    recipe, run = tmp_path / "sardine.yaml", tmp_path / "run"
    recipe.write_text(
        "env: {name: sardine, preset: SlateRerank-Static}\n"
        "learner: {num_users: 16, horizon: 4, minibatches: 2, epochs: 1, policy: {encoder: mean, width: 8}}\n"
        "train: {updates: 2, updates_per_call: 2, checkpoint_every: 2, evaluate_users: 8}\n"
        "evaluate: {users: 64}\n"
    )
    assert main(["train", str(recipe), "--run", str(run)]) == 0
    assert main(["evaluate", str(run)]) == 0
    recommenders = json.loads((run / "evaluation.json").read_text())["simulators"]["train"]["recommenders"]
    assert set(recommenders) == {"policy", "random", "greedy_relevance"}
    assert recommenders["greedy_relevance"]["return"] > recommenders["random"]["return"]
    assert all(row["length"] == 10 and row["coverage"] == 1 for row in recommenders.values())
    assert main(["recommend", str(run), "--history", "1"]) == 2
    assert "also read a simulated user's state, not only a history" in capsys.readouterr().err
    assert main(["inspect", str(run)]) == 0  # what it says is read from the saved policy
    printed = capsys.readouterr().out
    assert "sardine, slates of 10" in printed and "None" not in printed and "next: " not in printed


def test_help_answers_without_importing_anything_heavy() -> None:
    code = (
        "import sys, jaxrec.cli\n"
        "try: jaxrec.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'jax', 'numpy', 'flax', 'orbax', 'pyarrow', 'rich', 'yaml'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout


@pytest.mark.parametrize("command", ["train", "fit-simulator", "evaluate", "recommend", "inspect"])
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"example:\n  jaxrec {command} " in capsys.readouterr().out


def _leaves(tree) -> list[np.ndarray]:
    return [np.asarray(tree)] if not isinstance(tree, dict) else [x for k in sorted(tree) for x in _leaves(tree[k])]
