"""What must not make a request of somebody else fail, and what must not get in."""

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.checks import InputError
from jaxrec.config.data import Columns, FeedbackKind
from jaxrec.serve.app import make_app
from jaxrec.serve.keys import Keys
from jaxrec.serve.service import Service, Serving
from tests.serve.client import OPEN, SECRET, Client, run
from tests.serve.small_policy import small_policy


def test_without_keys_web_pages_are_refused(tmp_path: Path) -> None:
    async def test(client: Client) -> None:
        for host in ("127.0.0.1:8000", "localhost", "[::1]:8000"):
            assert (await client("POST", "/recommend", {}, host=host)).status == 200
        for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "10.0.0.1", ""):
            answer = await client("POST", "/recommend", {}, host=host)
            assert answer.status == 403 and "answers this machine only" in answer.body["error"]
        assert (await client("GET", "/metrics", host="evil.example")).status == 403
        for kind in ("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"):
            answer = await client("POST", "/reload", {}, kind=kind)
            assert answer.status == 415 and "Content-Type: application/json" in answer.body["error"]
        assert (await client("POST", "/recommend", {}, kind="Application/JSON; charset=utf-8")).status == 200

    run(tmp_path, test)


def test_a_context_that_float32_cannot_hold_is_refused_and_fails_no_neighbour(tmp_path: Path) -> None:
    async def test(client: Client) -> None:
        contexts = [[0.5], [1e300], [-1e13], [1e12]]
        answers = await asyncio.gather(*(client("POST", "/recommend", {"context": one}) for one in contexts))
        assert [answer.status for answer in answers] == [200, 400, 400, 200]
        assert "context[0]: expected a value at least -1e+12 and at most 1e+12" in answers[1].body["error"]

    run(tmp_path, test, context=1)


def test_scores_that_are_not_finite_are_a_fault_of_the_service_for_their_user_alone(tmp_path: Path) -> None:
    def steep(path: Any, leaf: Any) -> Any:  # a positive context makes the query infinite, and none leaves it 0
        name = jax.tree_util.keystr(path)
        if "'query_hidden_0'" in name and leaf.ndim == 2:
            return leaf.at[-2:].set(1.0)  # the context is the end of the state
        return jnp.full_like(leaf, 3e38) if "'query'" in name and leaf.ndim == 2 else leaf

    saved = small_policy(20, context=2)
    broken = dataclasses.replace(saved, params=jax.tree_util.tree_map_with_path(steep, saved.params))

    async def test(client: Client) -> None:
        bodies = [{}, {"context": [1e12, 1e12]}, {"context": [0.0, 0.0]}, {}]
        answers = await asyncio.gather(*(client("POST", "/recommend", body) for body in bodies))
        assert [answer.status for answer in answers] == [200, 500, 200, 200]
        assert "not finite numbers" in answers[1].body["error"]
        assert 'jaxrec_batch_size_bucket{le="2.0"} 0.0' in (await client("GET", "/metrics")).body  # one batch of four

    run(tmp_path, test, dataclasses.replace(OPEN, max_wait_ms=200.0), load=lambda: (broken, "1"))


def test_what_was_stored_under_another_catalogue_or_other_kinds_makes_no_request_fail(tmp_path: Path) -> None:
    later = small_policy(5, shown=[0, 1, 2, 3])
    words = {"liked": FeedbackKind(column="verdict", equals="good")}
    given: dict[str, Any] = {}

    async def before(client: Client) -> None:
        slate = (await client("POST", "/recommend", {"user": "a", "include": ["3", "4", "40"]})).body
        given["request"] = slate["request"]
        events = [{"item": item, "kind": "rating", "value": 5} for item in ("3", "40")]
        answer = await client("POST", "/feedback", {"request": given["request"], "events": events})
        assert answer.body == {"stored": 2, "already": 0}

    async def after(client: Client) -> None:
        answer = await client("POST", "/recommend", {"user": "a"})
        assert answer.status == 200 and {item["id"] for item in answer.body["items"]} == {"0", "1", "2", "3"}
        events = [{"item": item, "kind": "verdict", "value": "good"} for item in ("4", "40", "4")]
        answer = await client("POST", "/feedback", {"request": given["request"], "events": events})
        assert answer.status == 200 and answer.body == {"stored": 2, "already": 1}
        metrics = (await client("GET", "/metrics")).body
        assert 'jaxrec_feedback_total{kind="verdict"} 2.0' in metrics and "jaxrec_feedback_reward_total 1.0" in metrics

    run(tmp_path, before)
    run(tmp_path, after, load=lambda: (dataclasses.replace(later, feedback=words), "8"))


def test_a_policy_that_cannot_be_served_ends_the_application(tmp_path: Path) -> None:
    saved = small_policy(20)
    broken = dataclasses.replace(saved, params=jax.tree.map(lambda x: x * jnp.nan, saved.params))
    failures: list[Exception] = []

    async def go() -> None:
        service = Service(Serving(lambda: (broken, "1"), Columns(), SECRET), OPEN, tmp_path / "state")
        app = make_app(service, Keys(tmp_path / "keys.json"), failed=failures.append)
        async with app.router.lifespan_context(app):
            while not failures:
                await asyncio.sleep(0.01)
        assert (await Client(app)("GET", "/ready")).status == 503

    asyncio.run(go())
    (error,) = failures
    assert isinstance(error, InputError) and "diverged" in str(error)
