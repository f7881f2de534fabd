"""Generators with the interface of the service; the reference is beam search for one user, without a batch."""

import asyncio
import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.serve.generator import GenerativePolicy
from jaxrec.serve.slates import NotFinite, Visit
from tests.serve.client import OPEN, Client, run
from tests.serve.small_generator import small_generator


def visit(*items: int, k: int = 39, **fields) -> Visit:
    """Somebody who liked every other one of `items`."""
    liked = np.arange(len(items))[:, None] % 2
    return Visit(np.array(items, np.int32), liked.astype(np.float32), k, **fields)


@pytest.fixture(scope="module")
def policy() -> GenerativePolicy:
    return small_generator()


def test_slates_in_a_batch_are_those_of_each_user_alone(policy: GenerativePolicy) -> None:
    visits = [visit(), visit(3), visit(1, 2, 3, 4, 5, 6, 7), visit(9, 3, k=5), visit(*range(1, 31), k=4)] * 2
    together = policy.slates.choose(visits)  # ten users: two calls of eight
    for one, slate in zip(visits, together, strict=True):
        (alone,) = policy.slates.choose([one])
        np.testing.assert_array_equal(slate.rows, alone.rows)
        np.testing.assert_array_equal(slate.scores, alone.scores)
        rows, scores = policy.saved.best(one.items, one.feedback, one.k)
        np.testing.assert_array_equal(slate.rows, rows)
        np.testing.assert_allclose(slate.scores, scores, atol=1e-5)
        assert slate.log_probs is None and not set(slate.rows) & {0, *one.items.tolist()}


def test_excluded_items_leave_the_slate_and_no_other_score_changes(policy: GenerativePolicy) -> None:
    (every,) = policy.slates.choose([visit(3, 8)])
    assert sorted(every.rows) == sorted(set(range(1, 40)) - {3, 8})
    assert np.exp(every.scores).sum() < 1  # the chances of the whole catalogue add up to 1
    out = every.rows[[0, 4, 7]]
    (fewer,) = policy.slates.choose([visit(3, 8, exclude=out)])
    kept = ~np.isin(every.rows, out)
    np.testing.assert_array_equal(fewer.rows, every.rows[kept])
    np.testing.assert_allclose(fewer.scores, every.scores[kept], atol=1e-5)
    many = visit(3, 8, exclude=np.arange(2, 40, dtype=np.int32))
    assert policy.slates.choose([many])[0].rows.tolist() == [1]


def test_more_items_than_a_program_has_room_for_take_the_next_one() -> None:
    policy = small_generator(num_items=120, beams=119)
    few, many = visit(5), visit(5, exclude=np.arange(10, 110, dtype=np.int32))
    slates = policy.slates.choose([many._replace(k=119), few._replace(k=119)])
    assert sorted(slates[0].rows) == sorted({*range(1, 10), *range(110, 120)} - {5}) and len(slates[1].rows) == 118
    place = dict(zip(slates[1].rows.tolist(), slates[1].scores, strict=True))
    np.testing.assert_allclose(slates[0].scores, [place[row] for row in slates[0].rows.tolist()], atol=1e-5)


def test_a_log_that_repeats_items_shows_those_of_the_history_but_not_the_excluded_ones() -> None:
    policy = small_generator(repeats=True)
    (slate,) = policy.slates.choose([visit(3, 8, exclude=np.array([8, 9], np.int32))])
    assert sorted(slate.rows) == sorted(set(range(1, 40)) - {8, 9})


def test_cold_items_of_the_dense_check_can_be_excluded_too() -> None:
    policy = small_generator(cold=(4, 5))
    (slate,) = policy.slates.choose([visit(3)])
    rows, scores = policy.saved.best(np.array([3], np.int32), np.zeros((1, 1), np.float32), 39)
    np.testing.assert_array_equal(slate.rows, rows)
    np.testing.assert_allclose(slate.scores, scores, atol=1e-5)
    assert {4, 5} <= set(slate.rows)
    (fewer,) = policy.slates.choose([visit(3, exclude=np.array([5], np.int32))])
    assert 4 in fewer.rows and 5 not in fewer.rows


def test_the_context_of_the_visit_is_read_or_the_usual_one(policy: GenerativePolicy) -> None:
    reads = small_generator(context=2)
    usual, same, other = reads.slates.choose(
        [visit(3), visit(3, context=np.full(2, 0.5)), visit(3, context=np.array([4.0, -4.0]))]
    )
    np.testing.assert_array_equal(usual.scores, same.scores)
    assert np.abs(usual.scores - other.scores).max() > 1e-3
    with pytest.raises(InputError, match="k: expected a value at least 1 and at most 39, got 40"):
        policy.slates.choose([visit(3, k=40)])  # one item may not be shown


def test_parameters_that_diverged_are_an_error_of_that_user() -> None:
    saved = small_generator().saved
    broken = {**saved.params, "start": jnp.full_like(saved.params["start"], jnp.nan)}
    policy = GenerativePolicy(dataclasses.replace(saved, params=broken))
    assert isinstance(policy.slates.choose_each([visit(3)])[0], NotFinite)


def test_the_service_answers_with_a_generator_and_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    policy = small_generator(beams=12)

    async def test(client: Client) -> None:
        asked = [{"user": f"u{n}", "k": 3 + n} for n in range(5)]
        answers = await asyncio.gather(*(client("POST", "/recommend", body) for body in asked))
        for n, answer in enumerate(answers):
            assert answer.status == 200 and answer.body["propensity"] is None and answer.body["version"] == "7-test"
            want = policy.recommend(k=3 + n)
            assert [item["id"] for item in answer.body["items"]] == [item.id for item in want]
            np.testing.assert_allclose([i["score"] for i in answer.body["items"]], [i.score for i in want], atol=1e-5)
        best = answers[0].body["items"][0]["id"]
        event = {"request": answers[0].body["request"], "item": best, "kind": "rating", "value": 5}
        assert (await client("POST", "/feedback", event)).body == {"stored": 1, "already": 0}
        after = await client("POST", "/recommend", {"user": "u0", "k": 3, "exclude": ["7"]})
        assert not {best, "7"} & {item["id"] for item in after.body["items"]} and len(after.body["items"]) == 3
        assert len((await client("POST", "/recommend", {"k": 16})).body["items"]) == 12  # the beams
        for more, word in (({"explain": True}, "explain: a generator"), ({"include": ["3"]}, "include: a generator")):
            refused = await client("POST", "/recommend", {"k": 3, **more})
            assert refused.status == 400 and refused.body["error"].startswith(word)
        assert (await client("GET", "/items/0")).body["recommendable"] is False
        assert (await client("GET", "/page.json")).body["explain"] is False  # else the page would get status 400

    run(tmp_path, test, load=lambda: (policy, "7-test"))


def test_drawn_slates_are_refused_at_the_start(tmp_path: Path) -> None:
    async def nothing(client: Client) -> None:
        raise AssertionError("it started")

    for explore in ("softmax", "epsilon"):
        config = dataclasses.replace(OPEN, explore=explore)
        with pytest.raises(InputError, match=r"serve.explore: the slates of a generator are found by beam search"):
            run(tmp_path, nothing, config, load=lambda: (small_generator(), "1"))
