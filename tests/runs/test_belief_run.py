"""A whole run of a policy with belief: it competes with its start, resumes bit for bit, and recommends."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import jaxrec
from tests.flipped_bits import policy_of
from tests.kills import state_of


@pytest.fixture(scope="module")
def with_belief(tiny_run: Path) -> dict[str, Any]:
    recipe = yaml.safe_load((tiny_run / "config.yaml").read_text())
    network = {"encoder": "mean", "width": 4, "hidden": [4], "belief": True}
    recipe["learner"] = {"name": "all_items", "policy": network, "num_users": 8, "num_shards": 8, "horizon": 4}
    recipe["env"]["path"] = str(tiny_run / "simulators")
    recipe["train"] |= {"updates": 4, "updates_per_call": 2, "checkpoint_every": 2, "select": "judge"}
    return recipe


@pytest.mark.slow
def test_the_start_competes_and_a_resumed_run_is_the_same(with_belief: dict[str, Any], tmp_path: Path) -> None:
    whole = jaxrec.train(with_belief, tmp_path / "whole", silent=True)
    rows = [json.loads(line) for line in (whole.path / "metrics.jsonl").read_text().splitlines()]
    judged = {row["step"]: row["evaluation_return"] for row in rows if "evaluation_return" in row}
    assert list(judged) == [0, 2, 4] and whole.ended.best_score == max(judged.values())
    jaxrec.train(with_belief, tmp_path / "parts", {"train.updates": 2}, silent=True)
    jaxrec.train(with_belief, tmp_path / "parts", resume=True, silent=True)
    assert state_of(tmp_path / "parts") == state_of(whole.path)
    assert policy_of(tmp_path / "parts")() == policy_of(whole.path)()

    policy = jaxrec.load_policy(whole.path)
    assert policy.world.tastes.means is None and policy.world.tastes.draws is None  # nothing about single users
    first, second = policy.ids[:2]
    slate = policy.recommend(history=[first, f"{second}:0"], k=3)
    assert len(slate) == 3 and not {first, second} & {item.id for item in slate}
    assert all(np.isfinite(item.score) for item in slate)
    other = policy.recommend(history=[f"{first}:0", second], k=len(policy.ids) - 2)
    scores = {item.id: item.score for item in policy.recommend(history=[first, f"{second}:0"], k=len(policy.ids) - 2)}
    assert any(item.score != scores[item.id] for item in other)  # answers count, not only items
