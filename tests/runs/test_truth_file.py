"""A file of known answers judges policies: the numbers of small matrices are worked out by hand."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.data.generated import hidden_tastes
from jaxrec.runs.evaluate import evaluate


@pytest.fixture(scope="module")
def run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("truth_file") / "run"
    shutil.copytree(tiny_run, copy)
    return copy


def generated_answers(run: Path) -> tuple[list[int], list[str], np.ndarray]:
    """Users, items and P(like) [U, I] of the people who wrote the run's log."""
    config = load_config(Config, run / "config.yaml")
    true = hidden_tastes(config.data.generated, config.seed)
    p = np.stack([true.like_probability(user) for user in range(len(true.interest))])
    return list(range(p.shape[0])), [str(n + 1) for n in range(p.shape[1])], p


def simulators(run: Path) -> dict:
    return json.loads((run / "evaluation.json").read_text())["simulators"]


def test_a_file_of_the_generators_probabilities_judges_like_the_generator(run: Path, tmp_path: Path) -> None:
    options = {"evaluate.users": 60, "evaluate.baselines": ["bias", "ridge"]}
    evaluate(run, options, silent=True)
    want = simulators(run)
    users, items, p = generated_answers(run)
    order = np.random.default_rng(0).permutation(len(users))  # in any order, whole numbers or text
    np.savez(tmp_path / "small.npz", users=np.array(users)[order], items=np.array(items)[::-1], liked=p[order][:, ::-1])
    report = evaluate(run, {**options, "evaluate.truth": str(tmp_path / "small.npz")}, silent=True)
    assert report.titles["truth"] == "truth: small.npz, 60 users"
    got = simulators(run)
    assert got["train"] == want["train"] and got["judge"] == want["judge"]
    for name, row in want["truth"]["recommenders"].items():
        assert got["truth"]["recommenders"][name]["return"] == pytest.approx(row["return"], abs=0.05), name
    assert "truth" in report["verdict"]["questions"]
