"""A service learns from its own feedback log: serve, collect, `train --continue`, reload."""

import re
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jaxrec.config.data import DataConfig, FeedbackKind
from jaxrec.data import load_dataset
from jaxrec.data.pseudonyms import VARIABLE, pseudonymise
from tests.recipes import TINY_ENCODER
from tests.serve.client import SECRET, Client, run
from tests.test_examples import example

CHECKS = re.compile(r"^(failed requests|rows missing|rows of the log|users whose).*: (\d+)$", re.M)
RATES = re.compile(r"^ +(\d)   (0\.\d+) \+- (0\.\d+)(?: +(0\.\d+) \+- (0\.\d+))?$", re.M)


def test_the_log_of_a_service_has_each_acknowledged_row_once_and_its_own_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, SECRET.decode())
    sent: Counter = Counter()
    users = [f"u{n}" for n in range(12)]

    async def test(client: Client) -> None:
        for n, user in enumerate(users * 2):
            slate = (await client("POST", "/recommend", {"user": user, "k": 3})).body
            events = [
                {"item": one["id"], "kind": "rating", "value": (n + place) % 6, "time": 1.6e9 + n}
                for place, one in enumerate(slate["items"])
            ]
            body = {"request": slate["request"], "events": events}
            assert (await client("POST", "/feedback", body)).body == {"stored": 3, "already": 0}
            assert (await client("POST", "/feedback", body)).body == {"stored": 0, "already": 3}  # sent again
            sent.update((pseudonymise([user], SECRET)[0], e["item"], e["value"] >= 4) for e in events)

    run(tmp_path, test)
    log = tmp_path / "state" / "log"
    assert sum(pq.read_metadata(part).num_rows for part in log.glob("feedback-*.parquet")) == 12 * 2 * 3
    liked = FeedbackKind(column="rating", at_least=4.0)
    files = {"path": str(log), "log_file": "feedback-*.parquet", "item_file": "", "text": "{title}"}
    data = load_dataset(DataConfig(source="files", pseudonyms=True, feedback={"liked": liked}, **files), 0)  # type: ignore[arg-type]
    assert set(data.users) == set(pseudonymise(users, SECRET))  # those whom a log with their ids has
    rows = zip(data.log.user, data.log.item, data.log.feedback[:, 0], strict=True)
    assert Counter((data.users[u], data.catalogue.ids[i], bool(answer)) for u, i, answer in rows) == sent


@pytest.mark.slow
def test_2000_users_over_http_get_better_slates_from_a_service_that_trains_on_their_feedback(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    assert example("closed_loop").main([str(tmp_path / "out")]) == 0
    printed = capfd.readouterr().out
    assert printed.count("'changed': True") == 2 and printed.count("jaxrec train") == 3
    assert [count for _, count in CHECKS.findall(printed)] == ["0"] * 4
    rates = [[float(number) for number in found[1:] if number] for found in RATES.findall(printed)]
    (first, first_half), _, (last, half, control, control_half) = rates
    assert last - half > first + first_half
    assert last - half > control + control_half  # histories alone make slates better too


@pytest.mark.slow
def test_feedback_over_http_becomes_the_log_of_the_next_policy_of_the_running_service(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    settings = ("tastes.width=4", "tastes.text_components=8", "tastes.steps=20", "encoder.max_length=32")
    settings += ("env.requests=4", "learner.horizon=4", "learner.num_users=16", "learner.policy.width=16")
    settings += ("train.devices=1", "train.evaluate_users=16", "evaluate.users=20")
    sizes = "--users 24 --items 80 --topics 4 --rounds 2 --slates 2 --first-users 12 --updates 2 --control 0.3"
    words = [word for setting in settings for word in ("--set", setting)] + ["--encoder", str(TINY_ENCODER)]
    status = example("closed_loop").main([str(tmp_path / "out"), *words, *sizes.split()])
    printed = capfd.readouterr().out
    assert status in (0, 1)  # so few users and updates promise no better policy
    assert printed.count("'changed': True") == 1 and printed.count("jaxrec train") == 2
    assert [count for _, count in CHECKS.findall(printed)] == ["0"] * 4
    assert [number for number, *_ in RATES.findall(printed)] == ["0", "1"]
