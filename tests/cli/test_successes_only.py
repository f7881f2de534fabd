"""A log of successes only, from the files to a recommendation."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrec.cli import main
from jaxrec.envs.logged_world import load_simulator
from tests.recipes import TINY_ENCODER

RECIPE = """\
seed: 1
data:
  source: files
  path: DATA
  feedback: {bought: {}}
encoder: {model: ENCODER, max_length: 32, cache_dir: ""}
tastes: {width: 4, text_components: 8, steps: 60, draws: 2, search: false, negatives: 4, base_rate: 0.2}
env: {name: logged, slate_size: 2, requests: 3, history_length: 12, reward: {bought: 1.0}}
learner:
  name: all_items
  policy: {encoder: profile, width: 8, hidden: [8]}
  num_users: 16
  num_shards: 8
  horizon: 4
  minibatches: 2
train: {updates: 4, updates_per_call: 2, checkpoint_every: 4, evaluate_users: 16, devices: 1}
evaluate: {users: 40, baselines: [most_popular, item_knn]}
"""


def write_log(folder: Path) -> None:
    """40 people who buy 8 of the 20 items of their own topic and 2 of the other topic's."""
    rng = np.random.default_rng(0)
    rows = ["user,item,time"]
    for user in range(40):
        own, other = rng.permutation(20)[:8] + 20 * (user % 2), rng.permutation(20)[:2] + 20 * (1 - user % 2)
        items = rng.permutation(np.r_[own, other])
        rows += [f"u{user},i{item},{1000 * user + place}" for place, item in enumerate(items)]
    (folder / "log.csv").write_text("\n".join(rows) + "\n")
    titles = [f"i{item},{('tea', 'shoe')[item // 20]} {item}" for item in range(40)]
    (folder / "items.csv").write_text("\n".join(["item,title", *titles]) + "\n")


@pytest.fixture(scope="module")
def recipe_of_successes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("successes")
    write_log(folder)
    path = folder / "shop.yaml"
    path.write_text(RECIPE.replace("DATA", str(folder)).replace("ENCODER", str(TINY_ENCODER)))
    return path


def test_a_log_of_successes_is_trained_on_judged_and_recommended_from(
    recipe_of_successes: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = tmp_path / "run"
    assert main(["train", str(recipe_of_successes), "--run", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "every row of the log is 'bought' = 1: fitted against 4 items per row that the user does not have" in printed
    assert "(tastes.negatives), assuming tastes.base_rate 0.2" in printed
    assert "tastes.base_rate 0.2; only ranks are confirmed by the log" in printed
    assert "short-term effects on the logit of 'bought': not fitted" in printed
    report = json.loads((run / "simulators" / "validity.json").read_text())
    assert report["feedback"]["bought"]["assumed"] == {"base_rate": 0.2, "negatives": 4}
    assert report["feedback_rates"] == {}
    assert "successes only" in report["session_lengths"]["left_out"]
    page = (run / "simulators" / "validity.html").read_text()
    assert "ranked better than by popularity" in page and ">assumed</td>" in page

    assert main(["evaluate", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "\nmean P of 'bought' assumed to be 0.2" in printed and "Verdict" in printed
    account = json.loads((run / "evaluation.json").read_text())
    assert account["assumed"] == {"bought": 0.2}
    assert set(account["held_out"]) == {"policy", "most_popular", "item_knn"}
    random = account["simulators"]["judge"]["recommenders"]["random"]["return"]
    assert 0.3 < random < 3  # of 6 items, at about the base rate

    assert main(["recommend", str(run), "--history", "i1,i2", "-k", "3"]) == 0
    assert "3 recommendations" in capsys.readouterr().out
    assert main(["inspect", str(run / "simulators")]) == 0
    assert "fit of 'bought'" in capsys.readouterr().out


def test_fitted_users_of_successes_are_reused(
    recipe_of_successes: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "users"
    for _ in range(2):
        assert main(["fit-simulator", str(recipe_of_successes), "-o", str(folder)]) == 0
        assert "only ranks are confirmed by the log" in capsys.readouterr().out


@pytest.mark.slow
def test_items_that_nobody_has_bought_are_judged_and_recommended_on_request(
    recipe_of_successes: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = tmp_path / "data"
    shutil.copytree(recipe_of_successes.parent, data)
    with (data / "items.csv").open("a") as file:
        file.write("n0,tea 100\nn1,shoe 101\nn2,shoe 102\n")
    run, start = tmp_path / "run", tmp_path / "start"
    asked = [str(recipe_of_successes), f"data.path={data}", "data.min_item_ratings=0"]
    assert main(["train", *asked, "--run", str(run)]) == 0
    assert "items.csv: kept 3 items without a row in the log, of which only text" in capsys.readouterr().out
    world = load_simulator(run / "simulators" / "train")
    assert world.item_table.shape[0] == world.num_recommendable == 43
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((world.users.tastes, world.item_table)))

    baselines = ["most_popular", "item_knn", "content", "ridge"]
    assert main(["evaluate", str(run), f"evaluate.baselines=[{','.join(baselines)}]"]) == 0
    printed = capsys.readouterr().out
    assert "left out" not in printed and "nan" not in printed.lower()
    assert set(json.loads((run / "evaluation.json").read_text())["held_out"]) == {"policy", *baselines}
    assert main(["recommend", str(run), "--history", "n0,i1", "-k", "41", "--json"]) == 0
    ids = {row["id"] for row in json.loads(capsys.readouterr().out)}
    assert len(ids) == 41 and {"n1", "n2"} < ids and "n0" not in ids  # all but the history

    assert main(["pretrain", *asked, "pretrain.epochs=1", "--run", str(start)]) == 0
    assert main(["recommend", str(start), "--history", "i1", "-k", "42", "--json"]) == 0
    scores = [row["score"] for row in json.loads(capsys.readouterr().out.splitlines()[-1])]
    assert len(scores) == 42 and np.isfinite(scores).all()
