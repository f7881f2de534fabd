"""PPO that starts from the policy of another run, is pulled to it, and is selected by the second simulator."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrec.cli import main
from jaxrec.nets.policy import make_policy
from jaxrec.serve import load_policy, save_policy

NEW = [
    "learner.policy.value=separate",
    "learner.normalise_targets=true",
    "learner.start_kl=0.2",
    "learner.start_kl_updates=8",
    "learner.credit=item",
    "train.select=judge",
    "train.held_out_share=1.0",
]


@pytest.fixture(scope="module")
def first(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "first"
    words = ["train.updates=4", "learner.epochs=2", "learner.learning_rate=0.01"]
    assert main(["train", str(recipe), *words, "--run", str(run)]) == 0
    return run


def rows_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_stopped_run_with_all_the_new_settings_continues_to_the_same_bytes(
    recipe: Path, first: Path, tmp_path: Path, capsys
) -> None:
    words = [str(recipe), *NEW, f"env.path={first / 'simulators'}", f"learner.start_from={first}"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main(["train", *words, "--run", str(whole)]) == 0
    assert main(["train", *words, "train.updates=4", "--run", str(stopped)]) == 0
    assert main(["train", str(stopped / "config.yaml"), "train.updates=8", "--run", str(stopped), "--resume"]) == 0
    assert (stopped / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    rows = rows_of(whole)
    assert [row["step"] for row in rows] == list(range(9))
    assert set(rows[0]) == {"step", "evaluation_return", "validation_ndcg@10"}
    assert rows[1]["start_kl"] < rows[8]["start_kl"] < 1 and rows[8]["target_deviation"] > 0
    before, after = load_policy(first), load_policy(whole)
    assert after.params.keys() - before.params.keys() == {"value_history"}
    assert main(["evaluate", str(whole), "evaluate.users=8"]) == 0
    assert "answers" not in json.loads((whole / "evaluation.json").read_text())  # the start may know these people
    scores = {row["step"]: row["evaluation_return"] for row in rows if "evaluation_return" in row}
    ranked = {row["step"]: row["validation_ndcg@10"] for row in rows if "validation_ndcg@10" in row}
    assert set(scores) == set(ranked) == {0, 4, 8}
    allowed = [step for step in scores if ranked[step] >= ranked[0]]  # as good on held-out rows as the start
    assert after.step in allowed and scores[after.step] == max(scores[step] for step in allowed)
    capsys.readouterr()
    assert main(["inspect", str(whole)]) == 0
    assert "value_history" in capsys.readouterr().out


@pytest.mark.slow
def test_values_that_the_learner_lacks_are_left_out_and_the_scores_are_those_of_the_start(
    recipe: Path, first: Path, tmp_path: Path
) -> None:
    run, users = tmp_path / "run", f"env.path={first / 'simulators'}"
    frozen = ["learner.learning_rate=1e-12", "train.updates=2", "train.checkpoint_every=2", users]
    words = [str(recipe), *frozen, "learner.policy.value=separate", f"learner.start_from={first}"]
    assert main(["train", *words, "--run", str(run)]) == 0
    other = tmp_path / "other"
    assert main(["train", str(recipe), *frozen, f"learner.start_from={run}", "--run", str(other)]) == 0
    want, got = load_policy(first).params, load_policy(other).params
    for a, b in zip(jax.tree.leaves(want), jax.tree.leaves(got), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["learner.start_kl=0.1"], "learner.start_kl: learning starts from no policy"),
        (["learner.start_kl_updates=5"], "learner.start_kl: expected a value above 0"),
        (["learner.start_kl=0.1", "learner.start_kl_end=0.2"], "learner.start_kl_updates: expected a value above 0"),
        (["learner.name=far_sighted", "learner.policy.value=stopped"], "learner.policy.value: stopped, but the scores"),
        (["train.held_out_share=0.9"], "train.held_out_share: only with train.select=judge"),
        (["train.held_out_share=0.9", "train.select=judge"], "train.held_out_share: there is no start to compare with"),
        (["learner.policy.future=true"], "learner.policy.future: ppo learns returns where"),
        (
            ["learner.policy.value=none"],
            "learner.policy.value: expected shared | stopped | separate | hidden, got 'none'",
        ),
        (["env.reward={depth: 1.0}", "learner.credit=item"], "learner.credit: logged rewards no feedback of single"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    recipe: Path, tiny_run: Path, tmp_path: Path, capsys, words: list[str], message: str
) -> None:
    words = [*words, f"env.path={tiny_run / 'simulators'}"]  # rewards are checked with users, and these are fitted
    assert main(["train", str(recipe), *words, "--run", str(tmp_path / "run")]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("jaxrec:")]
    assert len(error) == 1 and message in error[0]


def test_a_start_that_scores_later_rewards_is_refused_in_one_line(
    recipe: Path, tiny_run: Path, tmp_path: Path, capsys
) -> None:
    saved = load_policy(tiny_run)
    network = dataclasses.replace(saved.network, future=True)
    save_policy(
        tmp_path / "ahead" / "policy",
        params=make_policy(saved.spec, network).init(jax.random.key(0), saved.world),
        world=saved.world,
        spec=saved.spec,
        config=network,
        feedback=saved.feedback,
        items=(saved.ids, saved.titles),
        step=1,
    )
    words = [f"env.path={tiny_run / 'simulators'}", f"learner.start_from={tmp_path / 'ahead'}"]
    assert main(["train", str(recipe), *words, "--run", str(tmp_path / "run")]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("jaxrec:")]
    assert len(error) == 1 and "also scores later rewards, which learner.name=ppo would drop" in error[0]


def test_users_without_a_log_have_no_second_simulator(tmp_path: Path, capsys) -> None:
    path = tmp_path / "plain.yaml"
    path.write_text("env: {name: interest_evolution}\ntrain: {select: judge}\n")
    assert main(["train", str(path), "--run", str(tmp_path / "run")]) == 2
    assert "train.select: interest_evolution has no second simulator; set it to train" in capsys.readouterr().err
