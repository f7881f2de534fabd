"""Trainings of this project in processes of their own, alone or several together, and what their runs hold."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxrec.cli import main

ROOT = Path(__file__).parents[1]
ONE_DEVICE = {"PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "1"}
RECIPE = """\
env: {name: interest_evolution, num_candidates: 4, slate_size: 2}
learner: {name: ppo, policy: {width: 4, hidden: [4]}, num_users: 8, num_shards: 4, horizon: 4, minibatches: 1}
train: {updates: 12, updates_per_call: 2, checkpoint_every: 4, evaluate_users: 8}
"""
TRAIN = ["train", "recipe.yaml", "--run", "run"]


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    out: str
    err: str


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


def started(folder: Path, *words: Sequence[str]) -> list[subprocess.Popen[str]]:
    """Start `jaxrec WORDS` once for each of `words`, as processes 0, 1, ... of one training."""
    together = ["--coordinator", f"localhost:{free_port()}", "--processes", str(len(words))]
    return [started_alone(folder, [*mine, *together, "--process", str(n)]) for n, mine in enumerate(words)]


def started_alone(folder: Path, words: Sequence[str]) -> subprocess.Popen[str]:
    """Start `jaxrec WORDS` in `folder`."""
    return started_script(folder, ["-m", "jaxrec.cli", *words])


def started_script(folder: Path, words: Sequence[str]) -> subprocess.Popen[str]:
    """Start Python with `words` in `folder`."""
    command, env = [sys.executable, *words], os.environ | ONE_DEVICE
    return subprocess.Popen(command, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run_of_one_process(folder: Path, recipe: str) -> Path:
    """Train in this process on two devices, and give the run."""
    (folder / "recipe.yaml").write_text(recipe)
    assert main(["train", str(folder / "recipe.yaml"), "--run", str(folder / "run"), "train.devices=2"]) == 0
    return folder / "run"


def wait_until(
    happened: Callable[[], bool], seconds: float = 120, process: subprocess.Popen[str] | None = None
) -> None:
    """Wait for something; raises TimeoutError, or AssertionError if `process` ends before."""
    end = time.monotonic() + seconds
    while not happened():
        assert process is None or process.poll() is None, process.communicate()
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.02)


def rows(run: Path) -> list[dict]:
    """The rows of metrics.jsonl so far."""
    metrics = run / "metrics.jsonl"
    return [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []


def assert_same_metrics(got: Path, want: Path, number: int = 10) -> None:
    """Compare the first rows of two runs up to rounding."""
    mine, other = rows(got)[:number], rows(want)[:number]
    assert len(mine) == len(other) == number
    for a, b in zip(mine, other, strict=True):
        assert a.keys() == b.keys()
        values = [[np.nan if row[name] is None else row[name] for name in a] for row in (a, b)]
        # A policy loss of 2e-4 is a mean of advantages of order one, which cancel: it is known to 1e-7.
        np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-6)


def ended(processes: Sequence[subprocess.Popen[str]], seconds: float = 180) -> list[Ended]:
    """Wait for all; kill them if it takes too long, since a process that waits for another one may never end."""
    try:
        said = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [Ended(process.returncode, *both) for process, both in zip(processes, said, strict=True)]
