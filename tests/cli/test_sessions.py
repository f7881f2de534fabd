"""Whole sessions with two kinds of feedback and a context, from a file to recommendations."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import jaxrec
from jaxrec.checks import InputError
from jaxrec.cli import main
from tests.recipes import TINY_ENCODER

RECIPE = f"""\
data:
  source: files
  path: PATH
  columns: {{user: who, item: what, time: at, item_id: what, title: what}}
  feedback:
    liked: {{column: stars, at_least: 4}}
    disliked: {{column: stars, at_most: 2}}
  context: [device]
encoder: {{model: {TINY_ENCODER}, max_length: 32, cache_dir: ""}}
response: {{history_length: 4, width: 8, heads: 2, epochs: 2, batch_size: 16, members: 2}}
env:
  name: logged
  response: last_rows
  slate_size: 3
  requests: 12
  reward: {{liked: 1.0, disliked: -1.0, depth: 0.1, leave: -2.0}}
  leave: {{name: temper, start: 5, target: 1}}
  slate_interaction: 0.2
  pessimism: 0.5
  drift: 0.5
learner: {{policy: {{width: 8, hidden: [8]}}, num_users: 16, num_shards: 8, horizon: 4, epochs: 1, minibatches: 2}}
train: {{updates: 4, updates_per_call: 2, checkpoint_every: 4, evaluate_users: 16, devices: 1, tensorboard: false}}
evaluate: {{users: 40}}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sessions")
    rng = np.random.default_rng(0)
    with (folder / "log.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["who", "what", "at", "stars", "device"])
        for user in range(30):
            for place, item in enumerate(rng.permutation(40)[:20]):
                rows.writerow([f"u{user}", f"i{item}", place, rng.integers(1, 6), ("phone", "desk")[place % 2]])
    with (folder / "items.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["what"], *([f"i{item}"] for item in range(40))])
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.replace("PATH", str(folder)))
    return recipe


@pytest.fixture(scope="module")
def run(recipe: Path) -> Path:
    run = recipe.parent / "run"
    assert main(["train", str(recipe), "--run", str(run)]) == 0
    assert main(["evaluate", str(run)]) == 0
    return run


@pytest.mark.slow
def test_visits_end_when_patience_does(run: Path) -> None:
    account = json.loads((run / "evaluation.json").read_text())
    for simulator in ("train", "judge"):
        for row in account["simulators"][simulator]["recommenders"].values():
            # At most the reward of liking everything; temper falls by 0 to 1 a request, from 5: five requests or more.
            assert 5 <= row["length"] <= 12
            assert row["return"] < row["length"] * (3 + 0.1)


@pytest.mark.slow
def test_the_policy_knows_the_kinds_of_feedback_and_the_usual_context(run: Path) -> None:
    policy = jaxrec.load_policy(run)
    assert policy.spec.feedback == ("liked", "disliked")
    assert policy.spec.reward_weights == (1.0, -1.0)
    size = policy.spec.context_size
    assert size == len(policy.world.usual_context) > 1
    usual = policy.recommend(["i1:5", "i2:1"], k=5)
    assert usual == policy.recommend(["i1:5", "i2:1"], k=5, context=np.asarray(policy.world.usual_context))
    changed = [policy.recommend(["i1:5", "i2:1"], k=5, context=context) for context in 3 * np.eye(size)]
    assert any(one != usual for one in changed)
    assert policy.recommend(["i1:1"], k=5) != policy.recommend(["i1:5"], k=5)
    with pytest.raises(InputError, match="context: expected shape"):
        policy.recommend(["i1:5"], context=np.zeros(size + 1))


def test_rewards_leave_models_and_pessimism_are_checked_before_anything_is_read(recipe: Path, capsys) -> None:
    for override, message in (
        ("env.reward.leaves=-1", "env.reward: no 'leaves'; did you mean 'leave'?"),
        ("env.leave.weights.likes=1", "env.leave.weights: no 'likes'; did you mean 'liked'?"),
        ("response.members=1", "env.pessimism: a single fit has no standard deviation"),
    ):
        assert main(["train", str(recipe), "--run", str(recipe.parent / "other"), override]) == 2
        assert message in capsys.readouterr().err
