"""`jaxrec tune` on the generated log with the tiny encoder."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

import jaxrec
from jaxrec.cli import main
from jaxrec.runs.tune_judge import Judge
from tests.recipes import TINY

SMALL = ["tune.steps=8", "tune.steps_per_call=2", "tune.evaluate_every=4", "tune.batch_size=8"]
TEXTS = ["red shoes", "a quiet night"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY.replace('text: "{title}"', 'text: "{title}. {description}"'))
    return path


@pytest.fixture(scope="module")
def tuned(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "tuned"
    extra = ["tune.learning_rate=3e-3", "tune.field_dropout=0.3", "tune.word_dropout=0.1", "tune.users=all"]
    assert main(["tune", str(recipe), *SMALL, *extra, "--run", str(run)]) == 0
    return run


def vectors(model) -> np.ndarray:
    return jaxrec.encode(TEXTS, str(model), max_length=32, normalize=True, cache_dir="")


def test_a_folder_with_the_encoder_and_an_account_comes_out(tuned: Path) -> None:
    account = json.loads((tuned / "tuning.json").read_text())
    assert account["parameters"] == {"trained": 38976, "all": 38976} and account["steps"]["last"] == 8
    assert set(account["test"]) == {"before", "after"} and account["test"]["after"]["users"] == 40
    rows = [json.loads(line) for line in (tuned / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(9))
    scores = {row["step"]: row["validation_ndcg@10"] for row in rows if "validation_ndcg@10" in row}
    assert set(scores) == {0, 4, 8} and scores[account["steps"]["best"]] == max(scores.values())
    assert vectors(tuned / "encoder").shape == (2, 32)


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(tuned: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    run, judged, validation = tmp_path / "stopped", [], Judge.validation

    def stopping(judge: Judge, weights):
        judged.append(1)
        if len(judged) == 3:  # at step 8, behind the checkpoint of step 4
            raise KeyboardInterrupt
        return validation(judge, weights)

    monkeypatch.setattr(Judge, "validation", stopping)
    words = ["tune", str(tuned / "tune.yaml"), "--run", str(run)]
    assert main(words) == 130 and not (run / "encoder").exists()
    assert main(words) == 2 and "add --resume to continue it" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0
    for name in ("metrics.jsonl", "encoder/model.safetensors"):
        assert (run / name).read_bytes() == (tuned / name).read_bytes()


@pytest.mark.slow
def test_a_signal_ends_a_run_in_a_line_that_says_how_to_resume(
    tuned: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    run, judged, validation = tmp_path / "stopped", [], Judge.validation

    def signalled(judge: Judge, weights):
        judged.append(1)
        if len(judged) == 2:  # at step 4
            os.kill(os.getpid(), signal.SIGTERM)
        return validation(judge, weights)

    monkeypatch.setattr(Judge, "validation", signalled)
    words = ["tune", str(tuned / "tune.yaml"), "--run", str(run)]
    assert main(words) == 143 and not (run / "encoder").exists()
    printed = capsys.readouterr().out.splitlines()[-1]
    assert printed == f"stopped at step 4; continue with: jaxrec tune {run / 'tune.yaml'} --run {run} --resume"
    assert main([*printed.partition("jaxrec ")[2].split()]) == 0
    for name in ("metrics.jsonl", "encoder/model.safetensors"):
        assert (run / name).read_bytes() == (tuned / name).read_bytes()


@pytest.mark.slow
def test_adapters_are_written_beside_the_merged_encoder(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "lora"
    words = ["tune.mode=lora", "tune.rank=2", "tune.kernels=[query, value]", "tune.learning_rate=3e-3"]
    assert main(["tune", str(recipe), *SMALL, *words, "--run", str(run)]) == 0
    account = json.loads((run / "tuning.json").read_text())
    assert account["parameters"]["trained"] == 2 * 4 * 2 * (32 + 32)
    names = {"adapter_config.json", "adapter_model.safetensors", "digests.xxh128"}
    assert {p.name for p in (run / "adapters").iterdir()} == names
    assert (run / "encoder" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tune.mode=adapter"], "tune.mode: expected full | lora, got 'adapter'"),
        (["tune.steps=5"], "tune.steps: expected a multiple of tune.steps_per_call=10, got 5"),
        (["tune.kernels=[querry]"], "tune.kernels: no 'querry'; did you mean 'query'"),
        (["tune.feedback=likes"], "tune.feedback: no 'likes'; did you mean 'liked'"),
        (["tune.field_dropout=0.1", "data.text='{title}'"], "tune.field_dropout: '{title}' has one field"),
        (["encoder.weights=int8"], "encoder.weights: int8 cannot be trained"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(recipe: Path, tmp_path: Path, capsys, words, message: str) -> None:
    assert main(["tune", str(recipe), *words, "--run", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_finished_folder_is_kept_and_another_recipe_does_not_resume_it(tuned: Path, recipe: Path, capsys) -> None:
    assert main(["tune", str(recipe), "--run", str(tuned)]) == 2
    assert "already exists" in capsys.readouterr().err
    assert main(["tune", str(tuned / "tune.yaml"), "tune.steps=20", "--run", str(tuned), "--resume"]) == 2
    assert "`tune` differs; resume" in capsys.readouterr().err


def test_inspect_tells_how_far_it_is_and_what_comes_next(tuned: Path, capsys) -> None:
    assert main(["inspect", str(tuned), "--json"]) == 0
    account = json.loads(capsys.readouterr().out)
    assert account["kind"] == "tune" and account["steps"] == {"measured": 8, "asked": 8}
    assert [row["step"] for row in account["scores"]] == [0, 4, 8] and account["score"] == "validation_ndcg@10"
    assert account["next"] == f"jaxrec train {tuned / 'tune.yaml'} encoder.model={tuned / 'encoder'}"
    assert main(["inspect", str(tuned)]) == 0
    shown = capsys.readouterr().out
    assert "8 of 8" in shown and "valid. ndcg@10" in shown and "(best)" in shown and "ndcg@10" in shown
