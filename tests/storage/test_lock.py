"""One writer per folder, in this process and between processes; a lock ends with its process."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from jaxrec.checks import InputError
from jaxrec.storage.lock import LOCK, hold, is_ours, one_command

HOLDER = """
import pathlib, sys, time
from jaxrec.storage.lock import hold, one_command
with one_command():
    hold(pathlib.Path(sys.argv[1]), "train")
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds tmp_path/run."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / "run"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_command_is_refused_in_a_line_that_names_the_first(tmp_path: Path, holder: subprocess.Popen) -> None:
    with one_command(), pytest.raises(InputError) as caught:
        hold(tmp_path / "run", "evaluate")
    line = str(caught.value)
    assert f"`jaxrec train` (process {holder.pid} on " in line and "\n" not in line and "wait for its end" in line


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_of_a_killed_process_is_stale(tmp_path: Path, holder: subprocess.Popen, ending: int) -> None:
    holder.send_signal(ending)
    holder.wait()
    assert json.loads((tmp_path / "run" / LOCK).read_text())["process"] == holder.pid  # the file is still there
    with one_command():
        hold(tmp_path / "run", "evaluate")
        assert json.loads((tmp_path / "run" / LOCK).read_text())["process"] == os.getpid()


def test_a_lock_ends_with_its_command_and_the_mark_stays(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError), one_command():
            hold(tmp_path / "run", "train")
            hold(tmp_path / "run", "train")  # a command may ask twice
            raise RuntimeError
        assert is_ours(tmp_path / "run")
        assert json.loads((tmp_path / "run" / LOCK).read_text()) == {"format": "jaxrec.lock.1"}


def test_another_thread_is_another_command(tmp_path: Path) -> None:
    said = []

    def other() -> None:
        try:
            with one_command():
                hold(tmp_path / "run", "tune")
        except InputError as error:
            said.append(str(error))

    with one_command():
        hold(tmp_path / "run", "train")
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(said) == 1 and f"process {os.getpid()}" in said[0]


def test_a_folder_that_its_holder_has_deleted_is_made_again(tmp_path: Path) -> None:
    with one_command():
        hold(tmp_path / "run", "embed")
        (tmp_path / "run" / LOCK).unlink()
        (tmp_path / "run").rmdir()
    with one_command():
        hold(tmp_path / "run", "embed")
        assert is_ours(tmp_path / "run")


@pytest.mark.parametrize("kind", ["folder", "link", "pipe", "text", "list"])
def test_a_file_of_somebody_else_is_no_mark(tmp_path: Path, kind: str) -> None:
    path, target = tmp_path / LOCK, tmp_path / "theirs"
    target.write_text('{"format": "jaxrec.lock.1"}')
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(target)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("notes" if kind == "text" else "[1]")
    assert not is_ours(tmp_path)
    if kind in ("folder", "link", "pipe"):
        with one_command(), pytest.raises(InputError, match="cannot be written"):
            hold(tmp_path, "train")
    assert target.read_text() == '{"format": "jaxrec.lock.1"}'
