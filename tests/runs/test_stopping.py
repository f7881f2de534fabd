import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jaxrec.runs import stopping
from jaxrec.runs.stopping import stop_on_signals, whole_program
from jaxrec.storage.steps import steps_in
from tests.several import RECIPE, TRAIN, rows, started_alone, wait_until

# One call after the other, without a checkpoint in between.
LONG = ["train.updates=1000000", "train.checkpoint_every=1000000", "train.devices=1"]
ENDLESS = [*LONG, "train.updates_per_call=1000000"]


def begun(folder: Path, *words: str) -> subprocess.Popen[str]:
    (folder / "recipe.yaml").write_text(RECIPE)
    return started_alone(folder, [*TRAIN, *words])


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGINT])
def test_one_signal_ends_the_call_saves_and_exits_with_the_number_of_the_signal(
    number: signal.Signals, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = begun(tmp_path, *LONG)
    wait_until(lambda: bool(rows(run)), process=process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    (step,) = steps_in(run / "checkpoints")
    assert step == len(rows(run)) and (run / "checkpoints" / str(step) / "digests.xxh128").is_file()
    assert out.splitlines()[-1] == (
        f"stopped at update {step}; continue with: jaxrec train run/config.yaml --run run --resume"
    )


def in_the_call(process: subprocess.Popen[str], run: Path) -> None:
    wait_until(lambda: any(run.glob("events.*")), process=process)  # it is opened right before the first call
    time.sleep(1.0)


@pytest.mark.slow
def test_a_call_that_outlasts_the_time_of_grace_is_left(tmp_path: Path) -> None:
    process = begun(tmp_path, *ENDLESS, "train.grace_seconds=0.5")
    in_the_call(process, tmp_path / "run")
    process.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143 and 0.4 < time.monotonic() - sent < 5
    assert err.splitlines()[-1] == (
        "jaxrec: the last call and its checkpoint took longer than train.grace_seconds=0.5 after SIGTERM; updates "
        "since the newest checkpoint are lost, and --resume repeats them."
    )


def test_a_second_interrupt_leaves_a_call_that_does_not_end(tmp_path: Path) -> None:
    process = begun(tmp_path, *ENDLESS)
    in_the_call(process, tmp_path / "run")
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None  # the first one waits for the call
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and time.monotonic() - sent < 10
    assert err.splitlines()[-1] == ("jaxrec: stopped without a new checkpoint; --resume continues from the newest one.")


@pytest.mark.parametrize(
    ("signals", "status"),
    [((signal.SIGTERM,), 143), ((signal.SIGINT, signal.SIGINT), 130), ((signal.SIGTERM, signal.SIGINT), 130)],
)
def test_the_watch_leaves_with_the_signal_whose_time_is_over_first(
    signals: tuple[int, ...], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping.os, "_exit", sys.exit)
    monkeypatch.setattr(stopping, "LEAVE_SECONDS", 0.1)
    reading, writing = socket.socketpair()
    with reading, writing:
        writing.send(bytes(signals))
        with pytest.raises(SystemExit) as left:
            stopping._watch(reading, 0.3)
    assert left.value.code == status


def watches() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "signals"]


def test_only_the_command_line_may_end_the_process() -> None:
    with stop_on_signals(0.2) as received:
        assert not watches()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)  # beyond the time of grace
        assert received == [signal.SIGTERM]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    with whole_program(), stop_on_signals():
        assert len(watches()) == 1
    assert not watches()
