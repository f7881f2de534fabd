"""`jaxrec distill` on the generated log with the tiny encoder."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

import jaxrec
from jaxrec.checks import InputError
from jaxrec.cli import main
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.runs.distill_judge import Judge, draw_held_out
from tests.recipes import TINY_ENCODER

SMALL = ["distill.steps=8", "distill.steps_per_call=2", "distill.evaluate_every=4", "distill.batch_size=8"]
FEWER = ["distill.layers=2", "distill.heads=2", "distill.channels=32", "distill.learning_rate=3e-3"]


@pytest.fixture(scope="module")
def small(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "small"
    assert main(["distill", str(recipe), *SMALL, *FEWER, "distill.word_dropout=0.1", "--run", str(run)]) == 0
    return run


@pytest.mark.slow
def test_a_smaller_encoder_and_an_account_come_out(small: Path) -> None:
    account = json.loads((small / "distillation.json").read_text())
    teacher, before, after = (account[name] for name in ("teacher", "student_before", "student"))
    assert (after["layers"], after["heads"], after["channels"]) == (2, 2, 32)
    assert (teacher["layers"], teacher["agreement"]) == (4, 1.0)
    assert before["parameters"] == after["parameters"] < teacher["parameters"]
    assert before["agreement"] < after["agreement"] == account["steps"]["agreement"] < 1
    rows = [json.loads(line) for line in (small / "metrics.jsonl").read_text().splitlines()]
    assert {row["step"]: row["agreement"] for row in rows if "agreement" in row}.keys() == {0, 4, 8}
    config = json.loads((small / "encoder/config.json").read_text())
    assert (config["num_hidden_layers"], config["intermediate_size"]) == (2, 32)
    vectors = jaxrec.encode(["red shoes"], str(small / "encoder"), normalize=True, cache_dir="")
    assert vectors.shape == (1, 32)


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(small: Path, tmp_path: Path, monkeypatch) -> None:
    run, judged, validation = tmp_path / "stopped", [], Judge.validation

    def stopping(judge: Judge, weights):
        judged.append(1)
        if len(judged) == 3:  # at step 8, behind the checkpoint of step 4
            raise KeyboardInterrupt
        return validation(judge, weights)

    monkeypatch.setattr(Judge, "validation", stopping)
    words = ["distill", str(small / "distill.yaml"), "--run", str(run)]
    assert main(words) == 130 and not (run / "encoder").exists()
    assert main([*words, "--resume"]) == 0
    for name in ("metrics.jsonl", "encoder/model.safetensors", "pruned/model.safetensors"):
        assert (run / name).read_bytes() == (small / name).read_bytes()


@pytest.mark.slow
def test_a_signal_ends_a_run_in_a_line_that_says_how_to_resume(
    small: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    run, validation = tmp_path / "stopped", Judge.validation

    def signalled(judge: Judge, weights):
        os.kill(os.getpid(), signal.SIGINT)
        return validation(judge, weights)

    monkeypatch.setattr(Judge, "validation", signalled)
    assert main(["distill", str(small / "distill.yaml"), "--run", str(run)]) == 130
    printed = capsys.readouterr().out.splitlines()[-1]
    assert printed == f"stopped at step 0; continue with: jaxrec distill {run / 'distill.yaml'} --run {run} --resume"
    assert not (run / "encoder").exists()


@pytest.mark.slow
def test_without_steps_the_student_is_only_pruned_and_another_model_can_be_one(recipe: Path, tmp_path: Path) -> None:
    run, other = tmp_path / "pruned", tmp_path / "other"
    assert main(["distill", str(recipe), "distill.steps=0", "distill.layers=3", "--run", str(run)]) == 0
    assert (run / "encoder/model.safetensors").read_bytes() == (run / "pruned/model.safetensors").read_bytes()
    words = [f"distill.student={run / 'encoder'}", "distill.objective=relations", *SMALL]
    assert main(["distill", str(recipe), *words, "--run", str(other)]) == 0
    account = json.loads((other / "distillation.json").read_text())
    assert account["student"]["layers"] == 3 and not (other / "pruned").exists()
    assert np.isfinite(account["student"]["agreement"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["distill.layers=9"], "distill.layers: expected a value at least 0 and at most 4, got 9"),
        (["distill.heads=9"], "distill.heads: expected a value at least 0 and at most 4, got 9"),
        ([], "distill: nothing is pruned from 4 layers of 4 heads and 64 channels; set distill.layers"),
        ([f"distill.student={TINY_ENCODER}"], "is the teacher itself; name a smaller model"),
        (
            ["distill.layers=2", "distill.max_length=99"],
            "distill.max_length: expected a value at least 0 and at most 32",
        ),
        (
            ["encoder.max_length=0", "distill.layers=2", "distill.max_length=99"],
            "distill.max_length: expected a value at least 0 and at most 64",
        ),
        (["distill.layers=2", "distill.field_dropout=0.1"], "distill.field_dropout: '{title}' has one field"),
        (["distill.steps=5"], "distill.steps: expected a multiple of distill.steps_per_call=10, got 5"),
        ([f"distill.student={TINY_ENCODER}", "distill.layers=2"], "distill.student: cannot be pruned too"),
        (["encoder.weights=int8"], "encoder.weights: int8 cannot be trained"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(recipe: Path, tmp_path: Path, capsys, words, message: str) -> None:
    assert main(["distill", str(recipe), *words, "--run", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_student_that_takes_less_is_not_trained_on_more(recipe: Path, tmp_path: Path, capsys) -> None:
    student = shutil.copytree(TINY_ENCODER.parent / "unscaled", tmp_path / "student")
    (student / "sentence_bert_config.json").write_text('{"max_seq_length": 20}')
    words = ["encoder.max_length=0", f"distill.student={student}", "distill.objective=relations"]
    words += ["distill.max_length=30", "--run", str(tmp_path / "run")]
    assert main(["distill", str(recipe), *words]) == 2
    assert "distill.max_length: expected a value at least 0 and at most 20, got 30" in capsys.readouterr().err


def test_a_tenth_of_the_texts_is_held_out_and_never_too_few(recipe: Path) -> None:
    config = load_config(Config, str(recipe))
    for texts, count in ((20, 4), (300, 30), (40_000, 1000)):
        held_out = draw_held_out(config, texts)
        assert len(set(held_out.tolist())) == count and held_out.max() < texts
    with pytest.raises(InputError, match="data: 19 items are too few"):
        draw_held_out(config, 19)


@pytest.mark.slow
def test_a_teacher_that_changed_is_not_resumed(small: Path, tmp_path: Path, capsys) -> None:
    run = shutil.copytree(small, tmp_path / "run")
    sources = json.loads((run / "sources.json").read_text())
    (run / "sources.json").write_text(json.dumps(sources | {"weights": "0" * 64}))
    assert main(["distill", str(run / "distill.yaml"), "--run", str(run), "--resume"]) == 2
    assert "sources.json: weights changed since the run started; start another" in capsys.readouterr().err


@pytest.mark.slow
def test_inspect_tells_how_far_it_is_and_what_comes_next(small: Path, capsys) -> None:
    assert main(["inspect", str(small), "--json"]) == 0
    account = json.loads(capsys.readouterr().out)
    assert account["kind"] == "distill" and account["steps"] == {"measured": 8, "asked": 8}
    assert [row["step"] for row in account["scores"]] == [0, 4, 8] and account["score"] == "agreement"
    assert account["next"] == f"jaxrec train {small / 'distill.yaml'} encoder.model={small / 'encoder'}"
    assert main(["inspect", str(small)]) == 0
    shown = capsys.readouterr().out
    assert "8 of 8" in shown and "agreement" in shown and "(best)" in shown and "ndcg@10" in shown
