"""`jaxrec pretrain` on the generated log, and learning that starts from it."""

import json
import os
import shutil
import signal
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrec.cli import main
from jaxrec.config.baselines import CHEAP
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.learn.program import Program
from jaxrec.runs.pretrain import pretrain
from jaxrec.runs.pretrain_judge import PretrainJudge, target_splits
from jaxrec.runs.read_log import read_corpus
from jaxrec.serve import load_policy
from jaxrec.supervised.successions import residuals_of_successions

SMALL = ["pretrain.epochs=4", "pretrain.batch_size=8", "pretrain.steps_per_call=2", "pretrain.learning_rate=1e-2"]
RESIDUAL = "learner.policy.item_residual=true"


@pytest.fixture(scope="module")
def pretrained(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "start"
    assert main(["pretrain", str(recipe), *SMALL, RESIDUAL, "pretrain.mask=0.3", "--run", str(run)]) == 0
    return run


def test_a_folder_with_a_policy_and_the_ranking_of_the_test_rows_comes_out(pretrained: Path, capsys) -> None:
    evaluation = json.loads((pretrained / "evaluation.json").read_text())
    corpus = read_corpus(load_config(Config, pretrained / "config.yaml"))
    splits = target_splits(corpus.split)
    assert set(splits) == {"held_out", "held_out_liked", "held_out_rare"}
    liked = corpus.split.test.feedback[:, 0] > 0
    assert 0 < liked.sum() < 40 and (splits["held_out_liked"].test.item == corpus.split.test.item[liked]).all()
    for kind, split in splits.items():
        assert set(evaluation[kind]) == {"policy", *CHEAP}
        assert evaluation[kind]["policy"]["users"] == len(split.test)
    rows = [json.loads(line) for line in (pretrained / "metrics.jsonl").read_text().splitlines()]
    scores = {row["step"]: row["validation_ndcg@10"] for row in rows if "validation_ndcg@10" in row}
    epoch = json.loads((pretrained / "pretraining.json").read_text())["steps_per_epoch"]
    assert list(scores) == [epoch, 2 * epoch, 3 * epoch, 4 * epoch] and len(rows) == 4 * epoch
    assert evaluation["validation_ndcg@10"] == max(scores.values()) == scores[evaluation["step"]]
    assert np.mean([row["loss"] for row in rows[-5:]]) < np.mean([row["loss"] for row in rows[:5]])
    assert load_policy(pretrained).step == evaluation["step"]
    capsys.readouterr()
    assert main(["recommend", str(pretrained), "--history", "1,2", "-k", "3", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3


@pytest.mark.slow
def test_a_run_that_was_stopped_continues_to_the_same_bytes(
    pretrained: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    run, judged, validation = tmp_path / "stopped", [], PretrainJudge.validation

    def stopping(judge: PretrainJudge, params):
        judged.append(1)
        if len(judged) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        if len(judged) == 4:
            raise KeyboardInterrupt
        return validation(judge, params)

    monkeypatch.setattr(PretrainJudge, "validation", stopping)
    words = ["pretrain", str(pretrained / "config.yaml"), "--run", str(run)]
    assert main(words) == 143 and not (run / "evaluation.json").exists()
    printed = capsys.readouterr().out.splitlines()[-1]
    assert printed.endswith(f"continue with: jaxrec pretrain {run / 'config.yaml'} --run {run} --resume")
    assert main(words) == 2 and "add --resume to continue it" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 130
    assert main([*words, "--resume"]) == 0
    for name in ("metrics.jsonl", "evaluation.json"):
        assert (run / name).read_bytes() == (pretrained / name).read_bytes()
    ours, theirs = load_policy(run).params, load_policy(pretrained).params
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(a, b)
    assert main([*words, "--resume", "pretrain.epochs=5"]) == 2
    assert "`pretrain` differs" in capsys.readouterr().err


def first_params(monkeypatch, words: list[str]) -> tuple[int, dict]:
    """Parameters with which `jaxrec train` begins."""
    seen, init = [], Program.__init__

    def watch(program: Program, **fields):
        start = fields["init"]

        def watched(*args):
            state = start(*args)
            seen.append(jax.tree.map(np.array, state.params))
            return state

        init(program, **fields | {"init": watched})

    monkeypatch.setattr(Program, "__init__", watch)
    code = main(["train", *words])
    return code, seen[0]


@pytest.mark.slow
def test_learning_starts_from_what_it_pretrained_or_from_a_folder(
    recipe: Path, pretrained: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    run = tmp_path / "run"
    words = [str(recipe), *SMALL, RESIDUAL, "pretrain.mask=0.3", "--run", str(run)]
    with monkeypatch.context() as patched:
        code, params = first_params(patched, [*words, "learner.start_from=pretrain"])
    assert code == 0
    for folder in (run / "pretrain", pretrained):  # the same recipe gives the same policy inside and outside of a run
        for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(load_policy(folder).params), strict=True):
            np.testing.assert_array_equal(a, b)
    last = jax.tree.leaves(load_policy(run).params)
    assert any((a != b).any() for a, b in zip(last, jax.tree.leaves(params), strict=True))
    made = (run / "pretrain" / "evaluation.json").stat().st_mtime_ns
    assert main(["train", str(run / "config.yaml"), "--run", str(run), "--resume"]) == 0
    assert (run / "pretrain" / "evaluation.json").stat().st_mtime_ns == made
    other = tmp_path / "other"
    shutil.copytree(run / "simulators", tmp_path / "simulators")
    words = [*words[:-1], str(other), f"env.path={tmp_path / 'simulators'}", f"learner.start_from={pretrained}"]
    with monkeypatch.context() as patched:
        code, params = first_params(patched, words)
    assert code == 0 and not (other / "pretrain").exists()
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(load_policy(pretrained).params), strict=True):
        np.testing.assert_array_equal(a, b)
    capsys.readouterr()
    for word, message in (
        ("learner.policy.width=16", "has learner.policy.width=8, expected 16"),
        ("learner.policy.item_residual=false", "has learner.policy.item_residual=True, expected False"),
        ("data.generated.items=50", "knows 60 items, expected the 50 items"),
    ):
        simulators = [] if "items" in word and "data" in word else [f"env.path={tmp_path / 'simulators'}"]
        parts = [str(recipe), RESIDUAL, f"learner.start_from={pretrained}", *simulators, word]
        assert main(["train", *parts, "--run", str(tmp_path / word)]) == 2
        error = capsys.readouterr().err
        assert message in error and len([line for line in error.splitlines() if line.startswith("jaxrec:")]) == 1


@pytest.mark.slow
def test_a_pretraining_stopped_within_a_run_continues(recipe: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    run, judged, validation = tmp_path / "run", [], PretrainJudge.validation

    def stopping(judge: PretrainJudge, params):
        judged.append(1)
        if len(judged) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return validation(judge, params)

    monkeypatch.setattr(PretrainJudge, "validation", stopping)
    words = ["train", str(recipe), *SMALL, "learner.start_from=pretrain", "--run", str(run)]
    assert main(words) == 143 and not (run / "policy").exists()
    printed = capsys.readouterr().out.splitlines()[-1]
    assert printed == f"stopped at update 0; continue with: jaxrec train {run / 'config.yaml'} --run {run} --resume"
    assert main(printed.partition("jaxrec ")[2].split()) == 0
    assert len(judged) == 4 and load_policy(run).step > 0


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("pretrain", ["pretrain.target=bought"], "pretrain.target: expected next | liked, got 'bought'"),
        ("pretrain", ["pretrain.optimiser=sgd"], "pretrain.optimiser: expected adamw | adafactor | lion, got 'sgd'"),
        ("pretrain", ["pretrain.window=1"], "pretrain.window: expected a value at least 2, got 1"),
        ("pretrain", ["pretrain.epoch=3"], "pretrain has no field 'epoch'; did you mean 'epochs'"),
        ("pretrain", ["data.min_item_ratings=900"], "data.min_item_ratings: no item has 900 training rows"),
        ("pretrain", ["env={name: interest_evolution}"], "env.name: interest_evolution has no log to pretrain on"),
        (
            "pretrain",
            ["pretrain.loss=reinforce", "env.reward={liked: 0.0}"],
            "env.reward: no training row has a reward",
        ),
        ("train", ["learner.start_from=nowhere"], "learner.start_from: no folder 'nowhere'"),
        ("train", ["learner.start_from=pretrain", "train.continue_from=x"], "train.continue_from gives the first"),
        ("train", ["learner.policy.heads=3", "learner.policy.encoder=transformer"], "expected a multiple of 3 heads"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    recipe: Path, tmp_path: Path, capsys, command: str, words: list[str], message: str
) -> None:
    assert main([command, str(recipe), *words, "--run", str(tmp_path / "run")]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("jaxrec:")]
    assert len(error) == 1 and message in error[0]


@pytest.mark.slow
def test_only_liked_rows_are_targets_if_the_recipe_says_so(recipe: Path, tmp_path: Path) -> None:
    done = pretrain(recipe, tmp_path / "liked", [*SMALL, "pretrain.epochs=1", "pretrain.target=liked"], silent=True)
    corpus = read_corpus(load_config(Config, recipe))
    per_epoch = sum(json.loads(line)["targets"] for line in done.run.metrics.read_text().splitlines())
    liked = int(corpus.split.train.feedback[:, 0].sum())
    assert liked <= per_epoch <= 1.5 * liked < len(corpus.split.train)  # some batches are repeated
    assert (done.step, done.interrupted) == (done.best, False) and done.test["held_out_liked"]["policy"]["users"] == 25


REWARDS = [*SMALL, "pretrain.loss=reinforce", "pretrain.top_k=3", "pretrain.gamma=0.5"]


@pytest.mark.slow
def test_rewards_of_the_log_are_learned_from_and_judged_by_positive_rows(
    recipe: Path, tmp_path: Path, monkeypatch
) -> None:
    validation, judged = PretrainJudge.validation, []

    def counting(judge: PretrainJudge, params):
        judged.append(len(judge._validation.test))
        return validation(judge, params)

    monkeypatch.setattr(PretrainJudge, "validation", counting)
    done = pretrain(recipe, tmp_path / "rewards", [*REWARDS, "pretrain.epochs=2"], silent=True)
    rows = [json.loads(line) for line in done.run.metrics.read_text().splitlines()]
    assert rows[-1]["behaviour_loss"] < rows[0]["behaviour_loss"]
    assert all(row["weight"] > 0 and 0 <= row["capped"] <= 1 for row in rows)
    corpus = read_corpus(load_config(Config, recipe))
    assert judged == [int(corpus.split.validation.positive.sum())] * 2


@pytest.mark.slow
def test_learning_from_rewards_continues_to_the_same_bytes(recipe: Path, tmp_path: Path, monkeypatch) -> None:
    words, validation = [*REWARDS, "pretrain.epochs=2"], PretrainJudge.validation
    whole = pretrain(recipe, tmp_path / "whole", words, silent=True)

    def stopping(judge: PretrainJudge, params):
        os.kill(os.getpid(), signal.SIGTERM)
        return validation(judge, params)

    with monkeypatch.context() as patched:
        patched.setattr(PretrainJudge, "validation", stopping)
        assert pretrain(recipe, tmp_path / "parts", words, silent=True).interrupted
    parts = pretrain(recipe, tmp_path / "parts", words, resume=True, silent=True)
    assert parts.run.metrics.read_bytes() == whole.run.metrics.read_bytes()


@pytest.mark.slow
def test_random_rows_take_the_place_of_texts(recipe: Path, pretrained: Path, tmp_path: Path) -> None:
    done = pretrain(recipe, tmp_path / "blind", [*SMALL, "pretrain.epochs=1", "pretrain.texts=false"], silent=True)
    ours, theirs = (np.asarray(load_policy(path).world.item_table) for path in (done.run.path, pretrained))
    np.testing.assert_array_equal(ours[:, -2:], theirs[:, -2:])  # the statistics
    assert abs(ours[:, :-2].std() - 1) < 0.1 and abs(np.corrcoef(ours[:, 0], theirs[:, 0])[0, 1]) < 0.5


@pytest.mark.slow
def test_residuals_start_from_what_users_have_near_each_other(recipe: Path, tmp_path: Path) -> None:
    words = [*SMALL, RESIDUAL, "pretrain.epochs=1", "pretrain.learning_rate=1e-9", "pretrain.neighbours=3"]
    saved = load_policy(pretrain(recipe, tmp_path / "near", words, silent=True).run.path)
    train = read_corpus(load_config(Config, tmp_path / "near" / "config.yaml")).split.train
    own = np.asarray(saved.params["residual_vectors"])
    vectors = np.asarray(saved.items.vectors) - own
    np.testing.assert_allclose(own, residuals_of_successions(train, vectors, 3), atol=1e-4 * np.abs(vectors).max())
    assert own.any() and np.abs(saved.params["residual_bias"]).max() < 1e-6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "pretrain.neighbours: the policy has no residuals of items; set learner.policy.item_residual to true"),
        ([RESIDUAL, "pretrain.start_from=before"], "pretrain.neighbours: pretrain.start_from gives the residuals"),
        (["pretrain.model=generative"], "pretrain.neighbours: a generator has no residuals of items"),
        ([RESIDUAL, "pretrain.neighbours=-1"], "pretrain.neighbours"),
    ],
)
def test_neighbours_without_residuals_are_refused(
    recipe: Path, tmp_path: Path, capsys, words: list[str], message: str
) -> None:
    run = tmp_path / "run"
    assert main(["pretrain", str(recipe), "pretrain.neighbours=3", *words, "--run", str(run)]) == 2
    shown = capsys.readouterr().err
    assert message in shown and shown.count("\n") == 1 and not run.exists()


def test_inspect_says_how_far_it_is_and_what_comes_next(pretrained: Path, capsys) -> None:
    assert main(["inspect", str(pretrained), "--json"]) == 0
    account = json.loads(capsys.readouterr().out)
    assert account["kind"] == "pretrain" and account["steps"]["measured"] == account["steps"]["asked"]
    assert account["policy"]["step"] == account["account"]["step"] and len(account["scores"]) == 4
    assert account["next"].startswith(f"jaxrec train {pretrained / 'config.yaml'} learner.start_from={pretrained}")
    assert main(["inspect", str(pretrained)]) == 0
    shown = capsys.readouterr().out
    assert "(best)" in shown and "item_knn_last" in shown and "residual_vectors" in shown
