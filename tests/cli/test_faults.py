"""Errors of the operating system: one line that says what, where and how to mend it."""

import errno
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jaxrec import cli, processes
from jaxrec.checks import InputError
from jaxrec.cli import main
from jaxrec.cli.faults import fault_line, report_in_background
from jaxrec.home import cache_folder, expanded
from jaxrec.storage.files import atomic_path, write_text


def system_error(number: int, path: str | None = "/data/x") -> OSError:
    return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (system_error(errno.ENOSPC), ("/data/x: No space left on device; free some space", "--resume")),
        (system_error(errno.EACCES), ("/data/x: Permission denied; change its permissions",)),
        (system_error(errno.EROFS), ("/data/x: Read-only file system; name a folder",)),
        (system_error(errno.ENAMETOOLONG), ("File name too long; choose a shorter",)),
        (system_error(errno.EMFILE, None), ("Too many open files; raise the limit of open files",)),
        (system_error(errno.EXDEV), ("Invalid cross-device link", "correct the path")),
        (ValueError('Error writing "/data/c/8": No space left on device'), ("/data/c/8: No space left",)),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."), ("out of memory", "lower the sizes")),
        (MemoryError(), ("out of memory", "lower the sizes")),
        (RecursionError("maximum recursion depth exceeded"), ("nested too deeply",)),
        (UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range"), ("cannot be written in its encoding",)),
        (ExceptionGroup("saving", [ValueError("x"), system_error(errno.EDQUOT)]), ("quota",)),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_errors_of_the_system_are_one_line(error: BaseException, parts: tuple[str, ...]) -> None:
    line = fault_line(error)
    assert line is not None and "\n" not in line and all(part in line for part in parts), line


def test_the_error_behind_a_librarys_error_counts() -> None:
    try:
        try:
            raise system_error(errno.ENOSPC)
        except OSError as error:
            raise ValueError("the save failed") from error
    except ValueError as error:
        assert "No space left on device" in str(fault_line(error))


def test_defects_are_no_faults_of_the_system() -> None:
    assert fault_line(KeyError("x")) is None and fault_line(ValueError("shapes differ")) is None


def test_a_defect_keeps_its_traceback_and_says_how_to_report_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("nobody expects this")

    monkeypatch.setattr(cli, "parse", broken)
    assert main(["inspect", "x"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and err.splitlines()[-1].startswith("jaxrec: this is a defect of jaxrec; please report")


def test_an_error_of_the_system_ends_a_command_with_its_line_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise system_error(errno.ENOSPC)

    monkeypatch.setattr(cli, "parse", full)
    assert main(["inspect", "x"]) == 2
    assert capsys.readouterr().err.startswith("jaxrec: /data/x: No space left")
    monkeypatch.setenv("JAXREC_TRACEBACK", "1")
    assert main(["inspect", "x"]) == 2 and "Traceback" in capsys.readouterr().err


def test_what_libraries_raise_in_the_background_is_a_line_or_nothing(capsys: pytest.CaptureFixture) -> None:
    for error in (RuntimeError("Event loop is closed"), OSError("the pipe\nbroke")):
        report_in_background(type(error), error, None)
    assert capsys.readouterr().err == "jaxrec: in the background: OSError: the pipe broke\n"


def test_a_file_that_cannot_be_finished_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, atomic_path(tmp_path / "big.json"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(fault_line(caught.value)).startswith(f"{tmp_path / 'big.json'}: No space left on device")
    with pytest.raises(OSError) as caught:
        write_text(tmp_path / ("x" * 300), "")
    assert "File name too long; choose a shorter name" in str(fault_line(caught.value))


def test_no_home_directory_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"~nobody-here/x: this account has no home directory; set .* HOME"):
        expanded("~nobody-here/x")
    assert cache_folder("~nobody-here/x") is None and cache_folder("/dev/null/x") is None
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/x") == tmp_path / "x" and cache_folder("~/x/y") == tmp_path / "x" / "y"


@pytest.mark.parametrize("most", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_a_disk_that_is_full_in_metrics_or_in_a_save_is_one_line_and_the_run_goes_on_later(
    most: int, recipe: Path, tiny_run: Path, tmp_path: Path
) -> None:
    """A limit of file sizes stands for the disk: rows of metrics.jsonl meet the first, a checkpoint the second."""
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    words = [sys.executable, "-m", "jaxrec.cli", "train", str(recipe), "--run", str(run), "--resume"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "JAX_ENABLE_COMPILATION_CACHE": "0"}
    command = f"ulimit -f {most}; exec {shlex.join([*words, 'train.updates=12'])}"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=env, timeout=300)
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("training ")]
    assert ended.returncode == 2 and len(lines) == 1, ended.stderr
    assert lines[0].startswith(f"jaxrec: {run}") and "File too large; raise the limit" in lines[0]
    assert main(["train", str(recipe), "--run", str(run), "--resume", "train.updates=12"]) == 0


def test_errors_of_collectives_name_another_process_only_where_there_are_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = RuntimeError("NCCL operation ncclCommInitRank failed: unhandled system error")
    assert fault_line(error) is None
    monkeypatch.setattr(processes, "count", lambda: 2)
    assert str(fault_line(error)).startswith("another process of this training has ended (NCCL operation")
