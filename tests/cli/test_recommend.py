import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jaxrec
from jaxrec.checks import InputError
from jaxrec.cli import main
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.data import load_dataset
from jaxrec.runs.recipe import log_config

README = Path(__file__).parents[2] / "README.md"


def test_recommendations_are_new_distinct_items_best_first(tiny_run: Path) -> None:
    policy = jaxrec.load_policy(tiny_run)
    slate = policy.recommend(["1", "2", "3"], k=10)
    ids = [item.id for item in slate]
    assert len(set(ids)) == 10
    assert not {"1", "2", "3"} & set(ids)
    scores = [item.score for item in slate]
    assert scores == sorted(scores, reverse=True)
    assert all(item.title == policy.titles[policy.ids.index(item.id)] for item in slate)


def test_the_command_prints_what_the_library_gives(tiny_run: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["recommend", str(tiny_run), "--history", "1,2:0", "-k", "4", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    want = jaxrec.load_policy(tiny_run / "policy").recommend(["1", "2:0"], k=4)
    assert [item["id"] for item in printed] == [item.id for item in want]
    assert main(["recommend", str(tiny_run), "-k", "4"]) == 0  # nothing is known of this user
    assert "4 recommendations" in capsys.readouterr().out


def test_feedback_of_the_history_changes_the_scores(tiny_run: Path) -> None:
    policy = jaxrec.load_policy(tiny_run)
    assert policy.recommend(["1:1"], k=3) == policy.recommend(["1"], k=3)
    assert policy.recommend(["1:0"], k=3) != policy.recommend(["1"], k=3)


def test_only_the_newest_items_of_a_long_history_are_read_and_none_is_shown_again(tiny_run: Path) -> None:
    policy = jaxrec.load_policy(tiny_run)
    window = policy.spec.history_length
    long = [str(n) for n in range(1, window + 10)]
    got = policy.recommend(long, k=20)
    assert not set(long) & {item.id for item in got}
    near = {item.id: item.score for item in policy.recommend(long[-window:], k=40)}
    for item in got:
        assert near[item.id] == pytest.approx(item.score, abs=1e-6)


@pytest.mark.parametrize(
    ("history", "k", "message"),
    [
        (["0"], 3, "no item '0' in the catalogue"),
        (["1:x"], 3, "expected a number for liked, got 'x'"),
        (["1:0.5"], 3, "expected 0 or 1 for liked"),
        (["1"], 0, "k: expected a value at least 1"),
        (["1"], 1000, "k: expected a value at least 1 and at most"),
    ],
)
def test_histories_that_cannot_be_read_are_refused(tiny_run: Path, history: list[str], k: int, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        jaxrec.load_policy(tiny_run).recommend(history, k)


def test_a_user_of_the_generated_log_is_known_by_number(tiny_run: Path, capsys: pytest.CaptureFixture) -> None:
    data = load_dataset(log_config(load_config(Config, tiny_run / "config.yaml")), 3)
    rows = data.log.take(data.log.user == 17)
    history = [
        f"{data.catalogue.ids[item]}:{liked:g}" for item, liked in zip(rows.item, rows.feedback[:, 0], strict=True)
    ]
    assert len(history) > 6  # longer than the window
    capsys.readouterr()
    assert main(["recommend", str(tiny_run), "--user", "17", "-k", "4", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    want = jaxrec.load_policy(tiny_run).recommend(history, 4)
    assert [item["id"] for item in printed] == [item.id for item in want]
    assert printed[0]["score"] == want[0].score
    assert not {entry.split(":")[0] for entry in history} & {item.id for item in want}


def test_fifteen_lines_of_plain_jax_give_the_same_scores(tiny_run: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (script,) = [block for block in blocks if "orbax.checkpoint" in block]
    assert len(script.strip().splitlines()) <= 15
    imported = set(re.findall(r"(?:^|[ ,])(jax|orbax|jaxrec|flax|json|sys)\b", script.splitlines()[0]))
    assert imported == {"json", "sys", "jax", "orbax"}
    alone = "import sys; sys.modules['jaxrec'] = None\n" + script
    done = subprocess.run(
        [sys.executable, "-c", alone, str(tiny_run / "policy"), "1,2,3"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    policy = jaxrec.load_policy(tiny_run)
    want = {item.id: item for item in policy.recommend(["1", "2", "3"], k=50)}
    compared = 0
    for item_id, title, score in lines:
        if item_id in want:  # the script also scores what may not be shown
            assert want[item_id].title == title
            np.testing.assert_allclose(float(score), want[item_id].score, rtol=1e-4, atol=1e-5)
            compared += 1
    assert compared >= 5
