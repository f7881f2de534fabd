"""`jaxrec rank-with-lm` on a small log, with a tiny random model."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.cli import main
from jaxrec.language.rank import Prompting
from jaxrec.runs.rank_with_lm import LmSettings, draw_cases, rank_for_history, rank_held_out, ranks_of_first
from jaxrec.runs.read_log import read_corpus
from jaxrec.runs.recipe import read_recipe
from jaxrec.supervised.simple import most_popular
from tests.language.conftest import model_folder

SHORT = LmSettings(users=12, candidates=5, history_length=2, prompting=Prompting(template="{history}"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    rng = np.random.default_rng(0)
    rows = [
        f"u{u},i{item},{n},{int(rng.random() < 0.6)}\n"
        for u in range(30)
        for n, item in enumerate(rng.permutation(40)[: 12 + u % 5])
    ]
    (folder / "log.csv").write_text("user,item,time,liked\n" + "".join(rows))
    text = (
        f"data: {{source: files, path: {folder}, item_file: '', feedback: {{liked: {{column: liked}}}}}}\n"
        "encoder: {model: unused}\nenv: {name: logged}\n"
    )
    (folder / "recipe.yaml").write_text(text)
    return folder / "recipe.yaml"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(model_folder(tmp_path_factory.mktemp("models") / "qwen2", "qwen2"))


def test_the_target_is_the_next_liked_item_and_the_others_are_new_to_the_user(recipe: Path) -> None:
    corpus = read_corpus(read_recipe(recipe))
    split = corpus.split
    cases = draw_cases(corpus, SHORT)
    assert len({case.user for case in cases}) == len(cases) == 12
    for case in cases:
        rows = split.test.user == case.user
        assert case.candidates[0] == split.test.item[rows][split.test.positive[rows]][0]
        own = [log.item[log.user == case.user] for log in (split.train, split.validation, split.test)]
        assert not set(case.candidates[1:]) & set(np.concatenate(own)) and len(set(case.candidates)) == 5
        past = split.train.merge(split.validation)
        np.testing.assert_array_equal(case.history, past.item[(past.user == case.user) & past.positive])
    again = draw_cases(corpus, SHORT)
    assert all((a.candidates == b.candidates).all() for a, b in zip(cases, again, strict=True))


def test_all_recommenders_rank_the_same_candidates(recipe: Path, model: str) -> None:
    report = rank_held_out(model, recipe, settings=SHORT)
    assert set(report.table) == {"language_model", "most_popular", "item_knn"} and report.users == 12
    corpus = read_corpus(read_recipe(recipe))
    counts = most_popular(corpus.split.train)
    gains, first = [], []
    for case in draw_cases(corpus, SHORT):
        own, others = counts[case.candidates[0]], counts[case.candidates[1:]]
        rank = (others > own).sum() + 0.5 * (others == own).sum()
        gains.append(1 / (1 + rank))
        first.append(rank < 1)
    mean, half = report.table["most_popular"]["mrr"]
    assert mean == pytest.approx(np.mean(gains)) and half == pytest.approx(1.959964 * np.std(gains, ddof=1) / 12**0.5)
    assert report.table["most_popular"]["hr@1"][0] == pytest.approx(np.mean(first))
    lead = report.table["language_model"]["mrr"][0] - mean
    assert report.lead["most_popular"][0] == pytest.approx(lead)


def test_ranks_count_ties_by_their_middle() -> None:
    scores = np.array([[2.0, 1.0, 2.0, 3.0], [5.0, 1.0, 1.0, 1.0], [np.nan, 0.0, -1.0, -2.0]])
    np.testing.assert_array_equal(ranks_of_first(scores), [1.5, 0, 3])  # 1 higher and half of 1 equal; best; NaN last


def test_a_history_is_followed_by_new_popular_items(recipe: Path, model: str, capsys) -> None:
    slate = rank_for_history(model, recipe, "i3,i5", 3, settings=SHORT)
    assert len(slate) == 3 and not {"i3", "i5"} & {one.id for one in slate}
    assert [one.score for one in slate] == sorted((one.score for one in slate), reverse=True)
    words = ["rank-with-lm", model, str(recipe), "--history", "i3,i5", "-k", "3", "--candidates", "5"]
    capsys.readouterr()
    assert main([*words, "--history-length", "2", "--prompt", "{history}", "--json"]) == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)] == [one.id for one in slate]


def test_the_command_prints_a_table_and_refuses_in_one_line(recipe: Path, model: str, capsys) -> None:
    words = ["rank-with-lm", model, str(recipe), "--users", "12", "--candidates", "5", "-k", "3"]
    assert main([*words, "--history-length", "2", "--prompt", "{history}"]) == 0
    said = capsys.readouterr().out
    assert "language model" in said and "item knn" in said and "s per user" in said
    for more, wanted in (
        (["--chat"], "--chat: .* has no chat template; leave --chat out"),
        (["--candidates", "1"], "--candidates: expected a value at least 2"),
        (["--candidates", "39"], "no held-out user with a liked test row"),
        (["--history", ""], "--history: no liked item in it"),
        (["--history", "i999"], "no item 'i999' in the catalogue"),
        (["--history", "i3:0"], "--history: no liked item in it"),
        (["--dtype", "float8"], "dtype: no 'float8'"),
        (["--history-length", "30"], "reads at most 64; give a shorter history"),
    ):
        assert main([*words, *more]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert re.search(wanted, lines[-1]) and not any("Traceback" in line for line in lines), lines
        assert sum(bool(re.search(wanted, line)) for line in lines) == 1, lines


def test_settings_are_checked_at_once() -> None:
    with pytest.raises(InputError, match="--users: expected a value at least 1"):
        LmSettings(users=0)
