import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxrec.storage.steps import steps_in

RECIPE = """\
env: {name: interest_evolution, num_candidates: 4, slate_size: 2}
learner: {name: ppo, policy: {width: 4, hidden: [4]}, num_users: 8, num_shards: 4, horizon: 4, minibatches: 1}
train: {updates: 1000000, updates_per_call: 2, checkpoint_every: 1000000, evaluate_users: 8, devices: 1}
"""
ROOT = Path(__file__).parents[2]


def started(folder: Path, *words: str) -> subprocess.Popen[str]:
    (folder / "recipe.yaml").write_text(RECIPE)
    command = [sys.executable, "-m", "jaxrec.cli", "train", "recipe.yaml", "--run", "run", *words]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


def rows(run: Path) -> int:
    return (run / "metrics.jsonl").read_bytes().count(b"\n") if (run / "metrics.jsonl").exists() else 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_ends_the_call_saves_and_exits_with_the_number_of_the_signal(
    number: signal.Signals, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = started(tmp_path)
    wait_for(process, lambda: rows(run) > 0)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    (step,) = steps_in(run / "checkpoints")
    assert step == rows(run) and (run / "checkpoints" / str(step) / "digests.xxh128").is_file()
    assert out.splitlines()[-1] == (
        f"stopped at update {step}; continue with: jaxrec train run/config.yaml --run run --resume"
    )


ENDLESS = "train.updates_per_call=1000000"


def in_the_call(process: subprocess.Popen[str], run: Path) -> None:
    wait_for(process, lambda: any(run.glob("events.*")))  # it is opened right before the first call
    time.sleep(1.0)


def test_a_call_that_outlasts_the_time_of_grace_is_left(tmp_path: Path) -> None:
    process = started(tmp_path, ENDLESS, "train.grace_seconds=0.5")
    in_the_call(process, tmp_path / "run")
    process.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143 and 0.4 < time.monotonic() - begun < 5
    assert err.splitlines()[-1] == (
        "jaxrec: the last call and its checkpoint took longer than train.grace_seconds=0.5 after SIGTERM; updates "
        "since the newest checkpoint are lost, and --resume repeats them."
    )


def test_a_second_interrupt_leaves_a_call_that_does_not_end(tmp_path: Path) -> None:
    process = started(tmp_path, ENDLESS)
    in_the_call(process, tmp_path / "run")
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None  # the first one waits for the call
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and time.monotonic() - begun < 10
    assert err.splitlines()[-1] == ("jaxrec: stopped without a new checkpoint; --resume continues from the newest one.")
