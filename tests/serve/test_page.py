"""The page at /: what it is served with, what it asks, and a person who uses it in a browser."""

import dataclasses
import json
import random
import signal
import urllib.request
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jaxrec.config.data import FeedbackKind
from jaxrec.serve.keys import Keys
from jaxrec.serve.page import LONGEST_SEARCH, MOST_FOUND, Reaction, Titles, page, reaction
from tests.browser import browser
from tests.serve.client import OPEN, Client, run
from tests.serve.small_policy import save, small_policy
from tests.serve_kills import Server


@pytest.mark.parametrize(
    ("kinds", "weights", "want"),
    [
        ({"liked": FeedbackKind(column="rating", at_least=4.0)}, (1.0,), Reaction("rating", 4.0, 0.0)),
        ({"liked": FeedbackKind(column="score", at_least=-2.0)}, (1.0,), Reaction("score", -2.0, -3.0)),
        ({"quick": FeedbackKind(column="rank", at_most=3.0)}, (1.0,), Reaction("rank", 3.0, 4.0)),
        ({"clicked": FeedbackKind(column="click")}, (1.0,), Reaction("click", 1, 0)),
        ({"bought": FeedbackKind()}, (), Reaction("bought", 1, None)),
        ({"bought": FeedbackKind(column="event", equals="buy")}, (1.0,), Reaction("event", "buy", None)),
        (
            {"event": FeedbackKind(column="event", weights={"skip": -1.0, "buy": 3.0, "view": 1.0})},
            (1.0,),
            Reaction("event", "buy", "skip"),
        ),
        (
            {"late": FeedbackKind(column="delay"), "liked": FeedbackKind(column="click")},
            (-1.0, 1.0),
            Reaction("click", 1, 0),
        ),
    ],
)
def test_a_like_is_reported_as_the_recipe_counts_it(kinds: dict, weights: tuple, want: Reaction) -> None:
    assert reaction(kinds, weights) == want


def test_titles_that_begin_with_the_words_come_first() -> None:
    titles = ["The Star", "Star  Wars", "ALIEN", "a star\nis born", "Straße", ""]
    find = Titles(titles).search
    assert find("star", 9) == [1, 0, 3] and find("star", 2) == [1, 0] and find("STAR wars", 9) == [1]
    assert find("strasse", 9) == [4] and find("star alien", 9) == [] and find("star is", 9) == [3]


def test_a_search_finds_what_a_loop_finds() -> None:
    draw = random.Random(1)
    titles = ["".join(draw.choices("ab c", k=draw.randrange(8))) for _ in range(200)]
    lines = [" ".join(title.split()) for title in titles]
    search = Titles(titles).search
    for words in ("a", "ab", "b c", "aa", "c", "cab"):
        want = [n for n, line in enumerate(lines) if line.startswith(words)]
        want += [n for n, line in enumerate(lines) if words in line and n not in want]
        assert search(words, 1000) == want and search(words, 7) == want[:7]


def test_the_page_loads_nothing_from_elsewhere_and_searches_are_bounded(tmp_path: Path) -> None:
    async def test(client: Client) -> None:
        answer = await client("GET", "/")
        assert answer.status == 200 and answer.headers["content-type"].startswith("text/html")
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in policy
        assert "http://" not in answer.body and "https://" not in answer.body
        found = (await client("GET", "/search", query="title=title+1")).body
        assert [item["title"] for item in found["items"]][:2] == ["Title 1", "Title 10"] and found["more"] is False
        many = (await client("GET", "/search", query="title=t")).body
        assert len(many["items"]) == MOST_FOUND and many["more"] is True
        for query in ("", "title=", "title=%20", f"title={'x' * (LONGEST_SEARCH + 1)}"):
            wrong = await client("GET", "/search", query=query)
            assert wrong.status == 400 and f"expected 1 to {LONGEST_SEARCH} characters" in wrong.body["error"]
        settings = (await client("GET", "/page.json")).body
        assert settings == {"kind": "rating", "like": 4.0, "dislike": 0.0, "most": 20, "k": 8, "explain": True}

    async def without(client: Client) -> None:
        assert {(await client("GET", path)).status for path in ("/", "/page.json")} == {404}
        assert (await client("GET", "/search", query="title=t")).status == 200

    run(tmp_path, test)
    run(tmp_path, without, dataclasses.replace(OPEN, page=False))


HOSTILE = "<img src=x onerror=alert(1)>Title 49"


def test_a_person_picks_items_and_watches_the_slate_adapt(tmp_path: Path) -> None:
    saved = small_policy()
    saved = dataclasses.replace(saved, titles=(*saved.titles[:49], HOSTILE))
    policy, state = save(saved, tmp_path / "run" / "policy"), tmp_path / "state"
    state.mkdir()
    key = Keys(state / "keys.json").add("person", ["recommend", "feedback"])
    with browser(tmp_path) as window:
        server = Server(policy, state, "serve.keys=required")
        try:
            _use(window, f"http://127.0.0.1:{server.port}", key, tmp_path)
        finally:
            assert server.end(signal.SIGTERM) == 128 + signal.SIGTERM
    rows = [row for path in (state / "log").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert [row["rating"] for row in rows] == [4.0, 0.0]


def _use(window: Any, url: str, key: str, folder: Path) -> None:
    window.open(url)
    window.until(lambda: window.texts("#ask label") == ["API key"])
    window.type("wrong\ue007")  # \ue007 is Enter
    window.until(lambda: "no known API key" in window.texts("#problem")[0])
    window.type(f"{key}\ue007")
    window.until(lambda: len(window.texts("#slate > li")) == 8)
    assert all("Nothing is known of this user" in text for text in window.texts("#slate .reason"))
    window.type("onerror")  # the focus is in the search
    window.until(lambda: window.texts("#found li") == [HOSTILE])
    assert not window.find("img")  # titles are text, whatever they hold
    window.type("\ue004\ue007")  # Tab to the item, and Enter
    window.until(lambda: "(liked)" in " ".join(window.texts("#history li")))
    window.until(lambda: any("history" in text for text in window.texts("#slate .reason")))
    window.until(lambda: "New since your last choice" in window.texts("#state")[0])
    for place, word in ((0, "(liked)"), (1, "(not for me)")):
        first = window.texts("#slate .title")[0]
        window.run(f"document.querySelectorAll('#slate > li:first-child button')[{place}].focus()")
        window.type("\ue007")
        window.until(lambda first=first: window.texts("#slate .title")[0] != first)
        window.until(lambda: window.run("return document.activeElement.tagName") == "BUTTON")
        assert f"{first} {word}" in window.texts("#history li > span")
    history = [{"item": "49", "rating": 4.0}]
    for title, value in zip(window.run("return history_.slice(1).map(one => one.id)"), (4.0, 0.0), strict=True):
        history.append({"item": title, "rating": value})
    body = json.dumps({"history": history, "k": 8}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/recommend", body, headers), timeout=60) as response:
        want = [item["title"] for item in json.load(response)["items"]]
    assert window.texts("#slate .title") == want
    for theme in ("light", "dark"):
        window.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        window.picture(folder / f"{theme}.png")
    faults = [one for one in window.messages() if "401" not in one]
    assert faults == [] and window.run("return document.documentElement.scrollWidth <= innerWidth")


def test_the_hashes_of_the_policy_are_those_of_the_file() -> None:
    content, headers = page()
    assert headers["Content-Security-Policy"].count("'sha256-") == 2 and b"style=" not in content
    assert content.count(b"<script") == content.count(b"<style") == 1 and b" on" + b"click=" not in content
