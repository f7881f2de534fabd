"""A run from Python: the same files as from the command line, and what comes back."""

import contextlib
import io
from pathlib import Path

import pytest
import yaml

import jaxrec
from jaxrec.checks import InputError
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.runs.evaluate import evaluate
from tests.recipes import TINY

MEASURED = ("metrics.jsonl", "config.yaml", "policy/items.json", "policy/description.json", "simulators/validity.json")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> jaxrec.Run:
    folder = tmp_path_factory.mktemp("python") / "run"
    return jaxrec.train(yaml.safe_load(TINY), run=folder, silent=True)


def test_a_dict_gives_the_run_of_the_same_file(run: jaxrec.Run, tiny_run: Path) -> None:
    for name in MEASURED:
        assert (run.path / name).read_bytes() == (tiny_run / name).read_bytes(), name
    assert run.ended is not None and (run.ended.step, run.ended.interrupted) == (8, False)


def test_the_policy_the_metrics_and_the_recipe_are_at_hand(run: jaxrec.Run) -> None:
    rows = run.metrics()
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert max(row.get("evaluation_return", 0) for row in rows) == run.ended.best_score
    slate = run.policy.recommend(history=["1", "2"], k=3)
    assert len({item.id for item in slate} - {"1", "2"}) == 3
    assert run.config.seed == 3 and run.config.env.slate_size == 3


@pytest.mark.slow
def test_judging_gives_what_it_writes(run: jaxrec.Run) -> None:
    report = evaluate(run, {"evaluate.users": 20}, silent=True)
    assert report.path.is_file() and report.picture.is_file()
    assert report["users"] == 20 and set(report["simulators"]) == {"train", "judge", "truth"}
    assert {"policy", "random", "most_popular"} <= set(report["simulators"]["judge"]["recommenders"])
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        report.show()
    assert "train: simulator used in training, 20 users" in out.getvalue() and "held-out log" in out.getvalue()


@pytest.mark.slow
def test_overrides_are_a_dict_or_words_of_the_command_line(run: jaxrec.Run, tmp_path: Path) -> None:
    fitted = str(run.path / "simulators")
    words = ["train.updates=2", "learner.gamma=0.5", f"env.path={fitted}"]
    by_word = jaxrec.train(run.config, tmp_path / "words", words, silent=True)
    values = {"train.updates": 2, "learner.gamma": 0.5, "env.path": fitted}
    by_dict = jaxrec.train(run.path / "config.yaml", tmp_path / "dict", values, silent=True)
    assert by_word.config == by_dict.config and by_word.config.learner.gamma == 0.5
    assert len(by_word.metrics()) == 2 and by_word.metrics() == by_dict.metrics() != run.metrics()[:2]


@pytest.mark.slow
def test_a_finished_run_opens_again_and_resumes_to_more_updates(run: jaxrec.Run, tmp_path: Path) -> None:
    options = {"train.updates": 4, "env.path": str(run.path / "simulators")}
    short = jaxrec.train(run.config, tmp_path / "run", options, silent=True)
    longer = jaxrec.train(short.path / "config.yaml", short.path, {"train.updates": 8}, resume=True, silent=True)
    assert longer.metrics() == run.metrics() == jaxrec.open_run(short.path).metrics()


@pytest.mark.slow
def test_silence_is_complete_and_notes_are_the_default(run: jaxrec.Run, capfd: pytest.CaptureFixture, tmp_path) -> None:
    words = ["train.updates=2", "train.checkpoint_every=2", f"env.path={run.path / 'simulators'}"]
    config = load_config(Config, run.path / "config.yaml", words)
    jaxrec.train(config, tmp_path / "silent", silent=True)
    assert capfd.readouterr() == ("", "")
    jaxrec.train(config, tmp_path / "loud")
    out, err = capfd.readouterr()
    assert "training 2 updates" in out and "772 rows of 40 users" in out.replace(",", "") and "training" in err


@pytest.mark.parametrize(
    ("recipe", "run", "overrides", "want"),
    [
        ({"env": {"name": "sardien"}}, "x", (), "recipe: env.name: no 'sardien'; did you mean 'sardine'?"),
        ({"env": {"name": "sardine"}, "trian": {}}, "x", (), "recipe: the recipe has no field 'trian'"),
        ({"env": {"name": "sardine"}}, None, (), "run: only a recipe file has a default folder"),
        ({"env": {"name": "sardine"}}, "x", {"train.updates": "many"}, "train.updates: expected a whole number"),
        ("nowhere.yaml", "x", (), "nowhere.yaml: no such file"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_leaves_nothing(recipe, run, overrides, want, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        jaxrec.train(recipe, run, overrides)
    assert want in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
