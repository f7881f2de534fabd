"""Recipes whose actions are vectors: train, evaluate, recommend, resume, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from jaxrec import load_policy
from jaxrec.cli import main
from jaxrec.types import VectorAction
from tests.recipes import TINY, TINY_LAST_ROWS

ACTOR_CRITIC = """\
  name: td3
  policy: {encoder: mean, width: 8, hidden: [8], nearest: 4}
  num_users: 16
  num_shards: 8
  horizon: 4
  replay_size: 512
  batch_size: 64
  gradient_steps: 2
  learning_starts: 64
"""


def written(text: str, folder: Path) -> str:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return str(path)


def td3(text: str) -> str:
    """The recipe with TD3 instead of PPO."""
    start, end = text.index("  name: ppo"), text.index("train: ")
    return text[:start] + ACTOR_CRITIC + text[end:]


POINTS = td3(TINY.replace("slate_size: 3,", "slate_size: 3, action: {name: item},"))
WEIGHTS = TINY_LAST_ROWS.replace("slate_size: 3,", "slate_size: 3, action: {name: behaviours}, reward: {liked: 1.0},")


@pytest.fixture(scope="module")
def run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vectors")
    users = f"env.path={tiny_run / 'simulators'}"  # fitted once for all
    assert main(["train", written(POINTS, folder), "--run", str(folder / "run"), users]) == 0
    return folder / "run"


@pytest.mark.slow
def test_a_policy_of_vectors_recommends_slates_as_any_other(run: Path, capsys: pytest.CaptureFixture) -> None:
    saved = load_policy(run)
    assert isinstance(saved.spec.action, VectorAction) and saved.spec.action.slate == 3
    history = [saved.ids[n] for n in (3, 7)]
    slate = saved.recommend(history, k=5)
    assert len(slate) == 5 and not {one.id for one in slate} & set(history)
    # They are the first five by distance from the item that critics chose.
    rows = np.asarray(saved.world.item_table, np.float32)
    first = rows[saved.ids.index(slate[0].id)]
    distances = [float(((rows[saved.ids.index(one.id)] - first) ** 2).sum()) for one in slate]
    assert distances == sorted(distances) and distances[0] == 0.0
    assert main(["recommend", str(run), "--history", ",".join(history), "-k", "2"]) == 0
    assert slate[0].title in capsys.readouterr().out


@pytest.mark.slow
def test_it_is_judged_by_users_and_on_the_held_out_log(run: Path) -> None:
    assert main(["evaluate", str(run)]) == 0
    account = json.loads((run / "evaluation.json").read_text())
    for simulator in ("train", "judge"):
        returns = {name: one["return"] for name, one in account["simulators"][simulator]["recommenders"].items()}
        assert 0.0 <= returns["policy"] <= returns["greedy_response"]
    assert 0.0 <= account["held_out"]["policy"]["ndcg@10"] <= 1.0
    assert main(["inspect", str(run)]) == 0


@pytest.mark.slow
def test_a_stopped_run_continues_bit_for_bit(run: Path, tmp_path: Path) -> None:
    parts, config = str(tmp_path / "parts"), str(run / "config.yaml")
    assert main(["train", config, "--run", parts, "train.updates=4"]) == 0
    assert main(["train", config, "--run", parts, "--resume"]) == 0
    assert (tmp_path / "parts" / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_weights_of_behaviours_are_learned_and_judged_by_users(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = tmp_path / "run"
    assert main(["train", written(WEIGHTS, tmp_path), "--run", str(run)]) == 0
    assert main(["evaluate", str(run)]) == 0
    account = json.loads((run / "evaluation.json").read_text())
    figures = account["simulators"]["train"]["recommenders"]
    assert figures["policy"]["return"] > 0 and "held_out" not in account
    said = capsys.readouterr()
    assert "held-out rows are not ranked" in said.out + said.err
    # Of one rewarded behaviour only the sign counts: weights are the greedy ranking, or its opposite.
    assert figures["policy"]["return"] <= figures["greedy_response"]["return"] + 1e-6
    assert main(["recommend", str(run), "--history", load_policy(run).ids[0]]) == 2
    assert "a vector of logged weighs behaviours that simulated users predict" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("recipe", "overrides", "message"),
    [
        (td3(TINY), (), "learner.name: td3 acts with vectors, but logged takes slates; set env.action"),
        (POINTS, ("learner.name=dqn", "learner.policy.nearest=0"), "learner.name: dqn values items of slates"),
        (POINTS, ("learner.replay_size=32", "learner.learning_starts=0", "learner.horizon=1"), "fewer than a batch"),
        (POINTS, ("env.action.name=query",), "learner.policy.nearest: critics choose among rows near to a point"),
        (POINTS, ("env.action.low=2",), "env.action: expected low < high, both finite or both infinite, got 2"),
        (POINTS, ("learner.start_from=pretrain",), "learner.start_from: pretrained policies score items"),
        (POINTS, ("learner.policy.scorer=mlp",), "learner.policy.scorer: policies of logged act with vectors"),
        (POINTS, ("env.action.name=behaviours",), "but answers of people with tastes of their own are hidden"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_any_work(
    recipe: str, overrides: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = tmp_path / "run"
    assert main(["train", written(recipe, tmp_path), "--run", str(run), *overrides]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said and "\n" not in said
    assert not run.exists()
