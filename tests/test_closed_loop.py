"""A service learns from its own feedback log: serve, collect, `train --continue`, reload, over sockets."""

import re
from pathlib import Path

import pytest

from tests.recipes import TINY_ENCODER
from tests.test_examples import example

FEW = (
    *("tastes.width=4", "tastes.text_components=8", "tastes.steps=60", "tastes.draws=2", "encoder.max_length=32"),
    *("env.requests=4", "learner.horizon=4", "learner.num_users=16", "learner.policy.width=16", "train.devices=1"),
    *("train.evaluate_users=16", "evaluate.users=20"),
)
CHECKS = re.compile(r"^(failed requests|rows missing|rows of the log|users whose).*: (\d+)$", re.M)


def loop(out: Path, words: str, settings: tuple[str, ...]) -> int:
    """The status of examples/closed_loop.py with the tiny encoder and a fast fit."""
    given = [word for one in settings for word in ("--set", one)]
    return example("closed_loop").main([str(out), "--encoder", str(TINY_ENCODER), *given, *words.split()])


def test_feedback_over_http_becomes_the_log_of_the_next_policy_of_the_running_service(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    sizes = "--users 24 --items 80 --topics 4 --rounds 2 --slates 2 --first-users 12 --updates 2 --control 0.3"
    status = loop(tmp_path / "out", sizes, FEW)
    printed = capfd.readouterr().out
    assert "'changed': True" in printed and printed.count("jaxrec train") == 2
    assert [count for _, count in CHECKS.findall(printed)] == ["0"] * 4
    assert status in (0, 1)  # so few users and updates promise no better policy
    assert len(re.findall(r"^ +[01]   0\.\d+ \+- 0\.\d+", printed, re.M)) == 2
