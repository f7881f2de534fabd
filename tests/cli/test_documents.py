"""Environments whose documents are in no table, from recipe to account."""

import json
from pathlib import Path

import pytest

from jaxrec.cli import main

TRAIN = "train: {updates: 2, updates_per_call: 2, checkpoint_every: 2, evaluate_users: 8}\nevaluate: {users: 64}\n"
PPO = "{num_users: 16, horizon: 4, minibatches: 2, epochs: 1, policy: {width: 8}}"
DQN = "{name: dqn, num_users: 16, horizon: 4, replay_size: 256, learning_starts: 0, batch_size: 16, policy: {width: 8}}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "learner", "steps", "order"),
    [
        ("interest_exploration", PPO, 100, ("oracle", "random")),
        ("long_term_satisfaction", DQN, 60, ("most_clickbait", "least_clickbait")),
    ],
)
def test_a_run_is_trained_judged_and_inspected(name, learner, steps, order, tmp_path: Path, capsys) -> None:
    recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(f"env: {{name: {name}}}\nlearner: {learner}\n{TRAIN}")
    assert main(["train", str(recipe), "--run", str(run)]) == 0
    assert main(["evaluate", str(run)]) == 0
    rows = json.loads((run / "evaluation.json").read_text())["simulators"]["train"]["recommenders"]
    assert rows[order[0]]["return"] > rows[order[1]]["return"] and {"policy", "random"} < set(rows)
    for row in rows.values():
        assert row["length"] == steps and row["coverage"] is row["diversity"] is row["novelty"] is None
    assert main(["inspect", str(run)]) == 0
    assert main(["recommend", str(run), "--history", "1"]) == 2
    assert "rank fresh documents" in capsys.readouterr().err


@pytest.mark.slow
def test_training_users_may_have_numbers_of_their_own(tmp_path: Path, capsys) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"env: {{name: long_term_satisfaction}}\nlearner: {PPO}\n{TRAIN}")
    returns = []
    for n, ranges in enumerate(("{}", "{choc_mean: [9, 9]}")):
        run = tmp_path / f"run{n}"
        assert main(["train", str(recipe), "--run", str(run), f"train.randomize={ranges}"]) == 0
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        returns.append((rows[-1]["reward"], rows[-1]["evaluation_return"]))
    (reward, judged), (own_reward, own_judged) = returns
    assert own_reward > 3 * reward and own_judged < 2 * judged  # pure clickbait pays e^4 as much, in training alone
    assert main(["train", str(recipe), "--run", str(tmp_path / "bad"), "train.randomize={choc: [1, 2]}"]) == 2
    assert "no 'choc'" in capsys.readouterr().err
