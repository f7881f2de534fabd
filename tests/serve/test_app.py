"""The routes, without a socket: requests are messages of ASGI."""

import asyncio
import dataclasses
import json
import random
import re
import secrets
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jaxrec.checks import InputError
from jaxrec.data.pseudonyms import pseudonymise
from jaxrec.serve import SavedPolicy
from jaxrec.serve.keys import Keys
from jaxrec.serve.new_catalogue import in_order
from tests.serve.client import OPEN, SECRET, Answered, Client, run
from tests.serve.small_policy import small_policy


def test_feedback_changes_the_next_answer_of_its_user_and_ends_in_the_log(tmp_path: Path) -> None:
    async def test(client: Client) -> None:
        first = await client("POST", "/recommend", {"user": "alice", "k": 3})
        assert first.status == 200 and len(first.body["items"]) == 3 and first.body["propensity"] is None
        again = await client("POST", "/recommend", {"user": "alice", "k": 3})
        assert again.body["items"] == first.body["items"] and again.body["request"] != first.body["request"]
        best = first.body["items"][0]["id"]
        event = {"request": first.body["request"], "item": best, "kind": "rating", "value": 5}
        assert (await client("POST", "/feedback", event)).body == {"stored": 1, "already": 0}
        after = await client("POST", "/recommend", {"user": "alice", "k": 3})
        assert best not in [item["id"] for item in after.body["items"]]
        same = await client("POST", "/recommend", {"history": [{"item": best, "rating": 5}], "k": 3})
        assert same.body["items"] == after.body["items"]
        metrics = (await client("GET", "/metrics")).body
        assert 'jaxrec_requests_total{endpoint="/recommend",status="200"} 4.0' in metrics
        assert "jaxrec_cold_users_total 2.0" in metrics and 'jaxrec_feedback_total{kind="rating"} 1.0' in metrics
        assert "jaxrec_feedback_reward_total 1.0" in metrics and "alice" not in metrics

    run(tmp_path, test)
    (path,) = (tmp_path / "state" / "log").glob("*.parquet")  # written by the stop
    (row,) = pq.read_table(path).to_pylist()
    assert row["user"] == pseudonymise(["alice"], SECRET)[0] and row["rating"] == 5.0
    assert row["serve_slate"][row["serve_position"]] == row["item"] and row["serve_version"] == "7-test"
    assert b"alice" not in b"".join(f.read_bytes() for f in (tmp_path / "state").rglob("*") if f.is_file())


@pytest.mark.parametrize("explore", ["softmax", "epsilon"])
def test_slates_that_are_drawn_come_with_their_probability(explore: Any, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(secrets, "randbits", random.Random(0).getrandbits)

    async def test(client: Client) -> None:
        slates = [(await client("POST", "/recommend", {"k": 1})).body for _ in range(40)]
        assert len({slate["items"][0]["id"] for slate in slates}) > 1
        by_item = {slate["items"][0]["id"]: slate["propensity"] for slate in slates}
        assert all(slate["propensity"] == by_item[slate["items"][0]["id"]] for slate in slates)
        assert all(0 < p < 1 for p in by_item.values()) and sum(by_item.values()) < 1 + 1e-5
        if len(by_item) == 4:
            assert sum(by_item.values()) == pytest.approx(1.0, abs=1e-5)

    run(tmp_path, test, dataclasses.replace(OPEN, explore=explore, epsilon=0.5), num_items=4)


HOSTILE = [
    ("POST", "/recommend", b"", 400, "body: not JSON"),
    ("POST", "/recommend", b"[1]", 400, "body: expected an object"),
    ("POST", "/recommend", b'{"k": NaN}', 400, "body: not JSON"),
    ("POST", "/recommend", b'{"k": 1e400}', 400, "body: not JSON|k: expected"),
    ("POST", "/recommend", b"[" * 2000, 400, "body: not JSON"),
    ("POST", "/recommend", b'{"k": 17}', 400, "k: expected a value at least 1 and at most 16, got 17"),
    ("POST", "/recommend", b'{"k": true}', 400, "k: expected a whole number"),
    ("POST", "/recommend", b'{"k": "3"}', 400, "k: expected a whole number"),
    ("POST", "/recommend", b'{"user": ""}', 400, "user: expected an id"),
    ("POST", "/recommend", b'{"user": "a", "history": []}', 400, "has user and history"),
    ("POST", "/recommend", b'{"histori": []}', 400, "has no field 'histori'"),
    ("POST", "/recommend", b'{"history": {}}', 400, "history: expected a list"),
    ("POST", "/recommend", b'{"history": [null]}', 400, r"history\[0\]: expected an id"),
    ("POST", "/recommend", b'{"history": [{"rating": 3}]}', 400, r"history\[0\]: no item"),
    ("POST", "/recommend", b'{"history": [{"item": "1", "rating": []}]}', 400, "expected numbers and words"),
    ("POST", "/recommend", b'{"history": [{"item": "1", "stars": 1}]}', 400, "history: no 'stars'"),
    ("POST", "/recommend", b'{"history": [{"item": "1", "rating": "x"}]}', 400, "expected a number for rating"),
    ("POST", "/recommend", json.dumps({"history": [1] * 21}).encode(), 400, "at most 20 entries, got 21"),
    ("POST", "/recommend", json.dumps({"history": ["x" * 600]}).encode(), 400, "an id of 1 to 512 characters"),
    ("POST", "/recommend", b'{"context": [1.0]}', 400, "context: expected at most 0 entries"),
    ("POST", "/recommend", b'{"exclude": "1"}', 400, "exclude: expected a list"),
    ("POST", "/recommend", b"x" * 2049, 413, "more than 2,048 bytes"),
    ("POST", "/recommend", b'{"user": "\\ud800"}', 400, "not JSON"),
    ("POST", "/feedback", b"{}", 400, "request: missing"),
    ("POST", "/feedback", b'{"request": "r"}', 400, "item: missing"),
    ("POST", "/feedback", b'{"request": "r", "item": "1", "kind": "liked"}', 400, "kind: expected one of rating"),
    ("POST", "/feedback", b'{"request": "r", "item": "1", "kind": "rating", "value": "5"}', 400, "a finite number"),
    ("POST", "/feedback", b'{"request": "r", "item": "1", "kind": "rating", "time": 1e12}', 400, "time, in seconds"),
    ("POST", "/feedback", b'{"request": "r", "events": []}', 400, "at least one, got none"),
    ("POST", "/feedback", b'{"request": "r", "events": [1]}', 400, r"events\[0\]: expected an object"),
    ("POST", "/feedback", b'{"request": "r", "item": "1", "kind": "rating"}', 404, "no slate of this id"),
    ("GET", "/items/nothing", b"", 404, "the catalogue has no item 'nothing'"),
    ("GET", "/items/../../etc/passwd", b"", 404, "the catalogue has no item"),
    ("GET", "/admin", b"", 404, "no such path"),
    ("GET", "/recommend", b"", 405, "does not accept this method"),
]


def test_hostile_requests_end_in_one_line_and_the_service_goes_on(tmp_path: Path) -> None:
    async def test(client: Client) -> None:
        for method, path, content, status, message in HOSTILE:
            answer = await client(method, path, raw=content)
            assert answer.status == status, f"{content[:60]!r}: {answer}"
            assert set(answer.body) == {"error"} and "\n" not in answer.body["error"]
            assert re.search(message, answer.body["error"]), answer.body["error"]
            assert "Traceback" not in answer.body["error"] and ".py" not in answer.body["error"]
        slow = await client("POST", "/recommend", raw=b"{", stall=True)
        assert slow.status == 408 and "within 0.5 s" in slow.body["error"]
        assert (await client("POST", "/recommend", {"k": 16})).status == 200

    run(tmp_path, test)


def test_items_outside_the_catalogue_are_counted_or_refused(tmp_path: Path) -> None:
    async def counted(client: Client) -> None:
        answer = await client("POST", "/recommend", {"history": ["1", "x"], "exclude": ["y"], "include": ["2", "z"]})
        assert answer.body["ignored"] == 3 and [item["id"] for item in answer.body["items"]] == ["2"]

    async def refused(client: Client) -> None:
        answer = await client("POST", "/recommend", {"history": ["1"], "exclude": ["y"]})
        assert (answer.status, answer.body["error"]) == (400, "the catalogue has no item 'y'; leave it out.")

    async def more(client: Client) -> None:
        for body in ({"exclude": ["5:1"]}, {"user": "a", "exclude": ["5:1"]}, {"user": "a", "include": ["1", "5:1"]}):
            answer = await client("POST", "/recommend", body)
            assert (answer.status, answer.body["error"]) == (400, "the catalogue has no item '5:1'; leave it out.")

    run(tmp_path, more, dataclasses.replace(OPEN, unknown_items="refuse"))
    run(tmp_path, counted)
    run(tmp_path, refused, dataclasses.replace(OPEN, unknown_items="refuse"))


def test_user_ids_are_read_as_the_log_reads_them(tmp_path: Path) -> None:
    """Whoever is one person in the log, where ids are put into small letters, is one person here."""

    async def test(client: Client) -> None:
        await client("POST", "/recommend", {"user": "Alice"})
        slate = (await client("POST", "/recommend", {"user": "Alice"})).body
        event = {"request": slate["request"], "item": slate["items"][0]["id"], "kind": "rating", "value": 4}
        assert (await client("POST", "/feedback", event)).status == 200
        after = (await client("POST", "/recommend", {"user": "alice"})).body
        assert event["item"] not in [item["id"] for item in after["items"]]

    run(tmp_path, test, seconds={"clean_id": str.casefold})


def test_keys_have_scopes_and_rates(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    shop, boss = keys.add("shop", ["recommend"]), keys.add("boss", ["admin"])

    async def test(client: Client) -> None:
        none = await client("POST", "/recommend", {})
        assert none.status == 401 and none.headers["www-authenticate"] == "Bearer"
        assert (await client("POST", "/recommend", {}, key=shop + "x")).status == 401
        assert (await client("POST", "/recommend", {}, key=shop)).status == 200
        lacking = await client("POST", "/feedback", {}, key=shop)
        assert lacking.status == 403 and lacking.body["error"] == "this API key or token lacks the scope feedback."
        assert (await client("GET", "/metrics", key=shop)).status == 403
        assert (await client("GET", "/metrics", key=boss)).status == 200
        assert (await client("POST", "/recommend", {}, key=shop)).status == 200
        limited = await client("POST", "/recommend", {}, key=shop)  # the third that the key may send
        assert limited.status == 429 and int(limited.headers["retry-after"]) >= 1
        assert (await client("GET", "/health")).status == 200

    run(tmp_path, test, dataclasses.replace(OPEN, keys="required", requests_per_second=0.001, burst=2))


def test_a_full_queue_answers_429(tmp_path: Path) -> None:
    async def test(client: Client) -> None:
        answers = await asyncio.gather(*(client("POST", "/recommend", {}) for _ in range(30)))
        counts = {status: sum(a.status == status for a in answers) for status in (200, 429)}
        assert counts[429] > 0 and counts[200] >= 2 and sum(counts.values()) == 30
        assert (await client("POST", "/recommend", {})).status == 200

    run(tmp_path, test, dataclasses.replace(OPEN, queue=2))


def test_a_reload_swaps_the_policy_under_load_and_refuses_what_does_not_fit(tmp_path: Path) -> None:
    first, second = small_policy(50), small_policy(50, shown=[1, 2, 3, 4, 5])
    versions: list[Any] = [(first, "1"), (second, "2"), (first, "1"), (small_policy(49), "3")]
    current = [0]

    def load() -> tuple[SavedPolicy, str]:
        if current[0] == len(versions):
            raise InputError("policy: damaged; copy it again.")
        return versions[current[0]]

    async def test(client: Client) -> None:
        answers: list[Answered] = []

        async def ask() -> None:
            while not done.is_set():
                answers.append(await client("POST", "/recommend", {"k": 5}))

        done = asyncio.Event()
        asking = [asyncio.create_task(ask()) for _ in range(3)]
        for number in (1, 2):
            current[0] = number
            assert (await client("POST", "/reload")).body == {"version": versions[number][1], "changed": True}
        assert (await client("POST", "/reload")).body["changed"] is False
        for number, reason in ((3, "reload: the new policy has other items"), (4, "policy: damaged")):
            current[0] = number
            refused = await client("POST", "/reload")
            assert refused.status == 409 and refused.body["error"].startswith(f"the old policy stays: {reason}")
        done.set()
        await asyncio.gather(*asking)
        assert {answer.status for answer in answers} == {200}
        by_version = {
            v: {tuple(i["id"] for i in a.body["items"]) for a in answers if a.body["version"] == v} for v in "12"
        }
        assert by_version["1"] == {tuple(i.id for i in first.recommend(k=5))}
        assert by_version["2"] <= {tuple(i.id for i in second.recommend(k=5))}
        assert (await client("POST", "/recommend", {"k": 5})).body["version"] == "1"

    run(tmp_path, test, load=load)


def test_a_reload_takes_the_same_items_in_another_order(tmp_path: Path) -> None:
    first = small_policy(20)
    turned = in_order(small_policy(20, shown=[1, 2, 3, 4, 5, 19]), first.ids[::-1])  # a newer log has another order
    versions = [(first, "1"), (turned, "2")]

    async def test(client: Client) -> None:
        history: list[Any] = [{"item": "3", "rating": 5}, {"item": "7", "rating": 1}]
        versions.pop(0)
        assert (await client("POST", "/reload")).body == {"version": "2", "changed": True}
        answer = await client("POST", "/recommend", {"history": history, "k": 4, "exclude": ["19"], "explain": True})
        want = turned.recommend(history, k=4, exclude=["19"])
        assert [(item["id"], item["title"]) for item in answer.body["items"]] == [(i.id, i.title) for i in want]
        assert {item["id"] for item in answer.body["items"]} == {"1", "2", "4", "5"} and len(
            answer.body["reasons"]
        ) == 4
        for item, shown in (("3", True), ("8", False)):
            assert (await client("GET", f"/items/{item}")).body["recommendable"] is shown

    run(tmp_path, test, load=lambda: versions[0])


def test_the_openapi_document_names_every_path_and_limit(tmp_path: Path) -> None:
    async def test(client: Client) -> None:
        document = (await client("GET", "/openapi.json")).body
        paths = {"/recommend", "/feedback", "/reload", "/items/{id}", "/search", "/health", "/ready", "/metrics"}
        paths |= {"/openapi.json"}
        assert set(document["paths"]) == paths and document["openapi"] == "3.1.0"
        body = document["paths"]["/recommend"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert body["properties"]["k"]["maximum"] == 16 and body["properties"]["history"]["maxItems"] == 20
        operations = [(path, one) for path, all_ in document["paths"].items() for one in all_.values()]
        assert {path for path, one in operations if "409" in one["responses"]} == {"/reload"}
        assert {path for path, one in operations if "404" in one["responses"]} == {"/feedback", "/items/{id}"}

    run(tmp_path, test)
