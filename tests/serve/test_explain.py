"""Reasons: how much each row of a history moved the scores, and sentences of nothing but facts."""

import dataclasses
import json
import random
import re
from pathlib import Path

import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.cli import main
from jaxrec.config.data import DataConfig
from jaxrec.config.item_features import ItemFeature
from jaxrec.data.item_features import encode, fit_encoding
from jaxrec.data.item_text import KEPT, texts_to_keep
from jaxrec.data.log import Catalogue
from jaxrec.serve import SavedPolicy, load_policy
from jaxrec.serve.reasons import COMMON, Facts, Influence, make_reason
from tests.serve.client import Client, run
from tests.serve.small_policy import small_policy


def score_after(saved: SavedPolicy, history: list[str], item: str) -> float:
    (found,) = saved.recommend(history, 1, include=[item])
    return found.score


@pytest.mark.parametrize("network", [{"encoder": "profile"}, {"encoder": "gru"}, {"scorer": "mlp", "retrieve": 5}])
def test_changes_are_those_of_asking_again_without_each_row(network: dict) -> None:
    saved = small_policy(40, history=5, **network)
    for history in ([], ["3"], ["3", "4:0", "5"], [str(n) for n in range(10, 19)]):  # the last is longer than it reads
        items = [one.id for one in saved.recommend(history, 4)]
        reasons = saved.explain(history, items)
        assert [reason.id for reason in reasons] == items
        for reason in reasons:
            found = {one.id: one.change for one in reason.influences}
            assert list(found) != [] or not history
            for n, entry in enumerate(history):
                again = score_after(saved, history[:n] + history[n + 1 :], reason.id)
                want = score_after(saved, history, reason.id) - again
                assert found.get(entry.partition(":")[0], 0.0) == pytest.approx(want, abs=2e-5)


def test_histories_of_other_lengths_compile_nothing_new() -> None:
    saved = small_policy(40, history=30)
    saved.explainer.warm(10)
    compiled = saved.explainer._program._cache_size()
    assert compiled == 2  # of short and of long histories
    for length in (0, 1, 7, 15, 16, 29, 30, 35):
        saved.explain([str(n) for n in range(length)], ["38", "39"][: 1 + length % 2])
    assert saved.explainer._program._cache_size() == compiled


def test_items_that_could_not_be_recommended_have_no_reasons() -> None:
    saved = small_policy(20, shown=[1, 2, 3])
    with pytest.raises(InputError, match="item '5' may not be recommended"):
        saved.explain(["7"], ["1", "5"])
    with pytest.raises(InputError, match="item '2' is in the history"):
        saved.explain(["2"], ["2"])
    with pytest.raises(InputError, match="no item 'x'"):
        saved.explain(["2"], ["x"])


def influence(title: str, change: float, **known) -> Influence:
    return Influence(title.lower(), title, change, known.pop("positive", True), **known)


@pytest.mark.parametrize(
    ("influences", "sentence"),
    [
        ([], "Nothing is known of this user, so this is what a new user gets."),
        ([influence("A", 1e-6), influence("B", -1e-6)], "No single item in the history changed its score."),
        (
            [influence("A", -0.5)],
            "No item in the history raised its score; it is recommended although some lowered it.",
        ),
        (
            [influence("A", 0.5), influence("B", 0.2), influence("C", -3.0)],
            "Mostly because of “A” in the history, which raised its score the most.",
        ),
        (
            [influence("A", 0.5, words=("space",)), influence("B", 0.3, words=("space",))],
            "Mostly because of “A” and “B” in the history, which both have the word “space” in common with it.",
        ),
        (
            [
                influence("A", 0.3, positive=False),
                influence("B", 0.5, words=("x1", "x2"), categories=("Drama (genre)",)),
            ],
            "Mostly because of “B” and “A” (without positive feedback) in the history: “B” has the words “x1” and "
            "“x2” and the category “Drama (genre)” in common with it.",
        ),
        (
            [influence("A", 0.5, words=("a", "b", "c"))],
            "Mostly because of “A” in the history, which has the words “a”, “b” and “c” in common with it.",
        ),
    ],
)
def test_the_sentence_says_what_was_measured(influences: list[Influence], sentence: str) -> None:
    assert make_reason(("9", "Nine"), 1.0, influences).sentence == sentence


def test_an_item_that_is_twice_in_the_history_is_named_once() -> None:
    reason = make_reason(("9", "Nine"), 1.0, [influence("A", 0.5), influence("A", 0.4), influence("B", 0.3)])
    assert [one.title for one in reason.because] == ["A", "B"] and len(reason.influences) == 3


def test_shared_words_are_rare_ones_as_the_history_writes_them() -> None:
    texts = ["The Rockets of Space", "the SPACE race, Straße 9", "The strasse of rockets", *["the end"] * 30]
    facts = Facts(texts, np.zeros((33, 4), np.float32), {}, 1)
    assert facts.words(0, 1) == ("Space",) and facts.words(1, 0) == ("SPACE",)
    assert facts.words(2, 1) == ("strasse",) and facts.words(1, 2) == ("Straße",)
    assert facts.words(3, 4) == ()  # "the" and "end" are in nearly all texts, far more than COMMON
    assert COMMON < 30 / 33


def test_shared_categories_are_read_from_the_item_table() -> None:
    config = DataConfig(
        item_features={"year": ItemFeature(kind="number"), "genre": ItemFeature(kind="category", separator="|")}
    )
    cells = [("Drama", "War"), ("War",), (), ("Comedy", "Drama"), ("War", "Drama")]
    values = np.empty(5, object)
    values[:] = cells
    features = {"year": np.array([1990.0, 2000, 2010, np.nan, 1980]), "genre": values}
    encodings = fit_encoding(features, config)
    block = np.concatenate(encode(features, encodings).blocks, axis=1)
    text = np.random.default_rng(0).normal(size=(5, 9)).astype(np.float32)
    table = np.concatenate([text, block * np.float32(3.0), np.ones((5, 2), np.float32)], axis=1)  # 3 is sqrt(9)
    facts = Facts([""] * 5, table, encodings, 2)
    for row in range(5):
        for other in range(5):
            want = {f"{one} (genre)" for one in set(cells[row]) & set(cells[other])}
            assert set(facts.categories(row, other)) == want
    moved = Facts([""] * 5, np.concatenate([text, table], axis=1)[:, :-1], encodings, 2)  # not where they should be
    assert all(moved.categories(0, other) == () for other in range(5))


def test_kept_texts_end_with_whole_words_and_hold_no_reviews() -> None:
    long = "word " * 99 + "abcdefghij klm"
    catalogue = Catalogue(("1", "2"), ("a", "b"), (long, "short text"))
    (first, second) = texts_to_keep("{title} {plot}", catalogue)
    assert second == "short text" and first == ("word " * 99).strip() and len(first) <= KEPT
    assert texts_to_keep("{title} {reviews}", catalogue) == []
    assert texts_to_keep("{title}", dataclasses.replace(catalogue, texts=catalogue.titles)) == []


QUOTED = re.compile(r"“([^”]*)”")


def test_sentences_of_200_recommendations_hold_facts_only(tiny_run: Path) -> None:
    saved = load_policy(tiny_run)
    draw, checked, named = random.Random(0), 0, 0
    while checked < 200:
        history = [f"{item}:{draw.randint(0, 1)}" for item in draw.sample(saved.ids, draw.randint(0, 14))]
        slate = [one.id for one in saved.recommend(history, 5)]
        titles = {saved.titles[saved.ids.index(one.partition(":")[0])] for one in history}
        for reason in saved.explain(history, slate):
            checked += 1
            text, because = reason.title.casefold(), {one.title for one in reason.because}
            for fact in QUOTED.findall(reason.sentence):
                assert fact in titles or fact.casefold() in text, reason.sentence
                assert fact in because or any(fact.casefold() in title.casefold() for title in because)
                named += 1
            assert all(one.change > 0 for one in reason.because)
    assert named > 100


def test_the_command_says_why(tiny_run: Path, capsys: pytest.CaptureFixture) -> None:
    saved = load_policy(tiny_run)
    assert main(["recommend", str(tiny_run), "--history", "1,2:0", "-k", "3", "--json", "--explain"]) == 0
    rows = json.loads(capsys.readouterr().out)
    reasons = saved.explain(["1", "2:0"], [row["id"] for row in rows])
    assert [row["reason"]["sentence"] for row in rows] == [reason.sentence for reason in reasons]
    assert [one["id"] for one in rows[0]["reason"]["influences"]] == [one.id for one in reasons[0].influences]
    assert main(["recommend", str(tiny_run), "-k", "1", "--explain"]) == 0
    assert "Nothing is known of this user" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_the_service_gives_reasons_that_are_asked_for(tmp_path: Path) -> None:
    async def test(client: Client) -> None:
        body = {"history": ["3", {"item": "4", "rating": 1}], "k": 3}
        plain = (await client("POST", "/recommend", body)).body
        found = (await client("POST", "/recommend", {**body, "explain": True})).body
        assert found["items"] == plain["items"] and "reasons" not in plain
        want = small_policy().explain(body["history"], [item["id"] for item in found["items"]])
        assert [one["sentence"] for one in found["reasons"]] == [one.sentence for one in want]
        first = found["reasons"][0]["influences"]
        assert [one["change"] for one in first] == pytest.approx([one.change for one in want[0].influences], abs=1e-6)
        wrong = await client("POST", "/recommend", {**body, "explain": 1})
        assert (wrong.status, wrong.body["error"]) == (400, "explain: expected true or false, got 1.")

    run(tmp_path, test)
