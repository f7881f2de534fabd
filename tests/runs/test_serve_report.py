"""The comparison of policies of a service, with numbers worked by hand."""

import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxrec.cli import main
from jaxrec.runs.serve_report import compare, item_rewards
from jaxrec.serve.slate_log import COLUMNS
from tests.serve.small_policy import save, small_policy

Z = 1.959964


def slate(request: str, user: str, version: str, items: str = "ab", shadow: str | None = None) -> dict:
    watched = {"shadow_version": shadow and "s", "shadow_items": None if shadow is None else list(shadow)}
    known = {"request": request, "user": user, "version": version, "items": list(items)}
    return {**dict.fromkeys(COLUMNS.names), "time": float(ord(request[0])), **known, **watched}


SLATES = [
    slate("a", "u1", "A"),
    slate("b", "u1", "A"),
    slate("c", "u2", "A"),
    slate("d", "u3", "B"),
    slate("e", "u3", "B"),
    slate("f", "u4", "B"),
]
REWARDS = {("a", "a"): 0.25, ("a", "b"): 0.75, ("c", "a"): 1.0, ("f", "b"): 1.0}


def test_rewards_per_request_have_intervals_over_users() -> None:
    report = compare(SLATES, REWARDS)
    first, second = report.arms
    assert (first.version, first.requests, first.users) == ("A", 3, 2)
    assert (second.version, second.requests, second.users) == ("B", 3, 2)
    # A: 2 rewards in 3 requests. u1 adds (1 - 2/3 * 2) / 3 = -1/9, u2 (1 - 2/3) / 3 = 1/9: sqrt(2/1 * 2/81) = 2/9.
    assert first.reward == pytest.approx(2 / 3) and first.half_width == pytest.approx(Z * 2 / 9)
    # B: 1 in 3. u3 adds (0 - 1/3 * 2) / 3 = -2/9, u4 (1 - 1/3) / 3 = 2/9: sqrt(2/1 * 8/81) = 4/9.
    assert second.reward == pytest.approx(1 / 3) and second.half_width == pytest.approx(Z * 4 / 9)
    (difference,) = report.differences
    assert difference.reward == pytest.approx(-1 / 3) and difference.paired_users == 0
    assert difference.half_width == pytest.approx(Z * math.sqrt(4 / 3 * 10 / 81)) and math.isnan(difference.paired)
    assert report.verdict == "No difference between B and A can be seen (95% interval -1.129 to +0.4619, 4 users)."


def test_users_who_met_both_versions_are_compared_with_themselves() -> None:
    slates = [slate("a", "u1", "A"), slate("b", "u2", "A"), slate("c", "u1", "B"), slate("d", "u2", "B")]
    rewards = {("a", "a"): 1.0, ("b", "a"): 5.0, ("c", "a"): 3.0, ("d", "a"): 7.5}
    (difference,) = compare(slates, rewards).differences
    assert difference.paired_users == 2 and difference.paired == pytest.approx(2.25)  # of 2 and 2.5
    assert difference.paired_half_width == pytest.approx(Z * 0.25)  # deviation sqrt(1/8), over sqrt(2)
    # Each user adds half of how far their difference is from the mean: 2/1 * 2 * (0.125)**2 = 1/16.
    assert difference.reward == pytest.approx(2.25) and difference.half_width == pytest.approx(Z * 0.25)
    verdict = compare(slates, rewards).verdict
    assert verdict == "B earned more reward per request than A: +2.25 (95% interval +1.76 to +2.74, 2 users)."


def test_one_version_or_one_user_is_no_comparison() -> None:
    assert compare(SLATES[:3], {}).verdict == "Only version A answered, so there is nothing to compare."
    assert compare([SLATES[0], SLATES[3]], {}).verdict == "Too few users to compare B with A."


def test_a_policy_that_watches_is_compared_with_what_was_shown() -> None:
    slates = [slate("a", "u1", "A", "ab", "bc"), slate("b", "u2", "A", "ab", "ab"), slate("c", "u2", "A")]
    (watched,) = compare(slates, {("a", "a"): 3.0, ("a", "b"): 1.0, ("c", "a"): 9.0}).watched
    assert (watched.version, watched.requests, watched.overlap) == ("s", 2, 0.75)
    assert watched.rewarded == 0.25  # of the 4 on slates that it saw


def test_the_command_reads_the_logs_of_a_service(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    policy, state = save(small_policy(20), tmp_path / "run" / "policy"), tmp_path / "state"
    words = ["serve-report", str(policy), "--state", str(state)]
    assert main(words) == 2
    assert "no log of slates yet" in capsys.readouterr().err
    rows = [{"serve_request": "a", "item": "1", "rating": 2.0}, {"serve_request": "a", "item": "1", "rating": 5.0}]
    rows += [{"serve_request": "c", "item": "2", "rating": 4.0}, {"serve_request": "f", "item": "gone", "rating": 5.0}]
    rows += [{"serve_request": "f", "item": "3", "rating": 3.5}]
    rewards = item_rewards(small_policy(20), rows, "item")
    assert rewards == {("a", "1"): 1.0, ("c", "2"): 1.0, ("f", "3"): 0.0}  # liked: a rating of at least 4
    withdrawn = [{"serve_request": "a", "item": "1", "rating": value} for value in (5.0, 0.0)]
    assert item_rewards(small_policy(20), withdrawn, "item") == {("a", "1"): 0.0}
    assert item_rewards(small_policy(20), [{"serve_request": "a", "item": "1", "clicked": 1.0}], "item") == {}
    for name, table in (("slates", pa.Table.from_pylist(SLATES, COLUMNS)), ("log", pa.Table.from_pylist(rows))):
        (state / name).mkdir(parents=True)
        part = "slates" if name == "slates" else "feedback"
        pq.write_table(table, state / name / f"{part}-000000000001-000000000006.parquet")
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(arm["version"], arm["reward"]) for arm in report["arms"]] == [("A", pytest.approx(2 / 3)), ("B", 0.0)]
    assert report["differences"][0]["paired"] is None
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "minus that of A" in printed
    # Of A as before, of B nothing: 2/3 - Z * sqrt(4/3 * 2/81) = 0.3110.
    verdict = "B earned less reward per request than A: -0.6667 (95% interval -1.022 to -0.311, 4 users)."
    assert printed.splitlines()[-1] == verdict
