import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from jaxrec.terminal import console, safe_output

EVIL = "\x1b]0;owned\x9bé"


class Gone(io.StringIO):
    """A stream whose reader went away after the first line."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def ascii_stream() -> tuple[io.BytesIO, io.TextIOWrapper]:
    inner = io.BytesIO()
    return inner, io.TextIOWrapper(inner, encoding="ascii", write_through=True)


def test_prints_and_tables_hold_no_escapes_of_others(capsys: pytest.CaptureFixture) -> None:
    table = Table("title")
    table.add_row(EVIL)
    table.add_row(Text(EVIL))
    with safe_output():
        print(EVIL)
        console().print(table)
        console().print(Text(EVIL), soft_wrap=True)
        print(EVIL, file=sys.stderr)
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err and out.count("\\u001b]0;owned\\u009bé") == 4 and err.startswith("\\u001b]0;")


def test_rich_keeps_its_own_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with safe_output():
        console(force_terminal=True, color_system="standard").print(Text(EVIL, style="red"))
    assert stream.getvalue().startswith("\x1b[31m\\u001b]0;owned")


def test_a_terminal_of_ascii_gets_escapes_that_json_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    inner, stream = ascii_stream()
    monkeypatch.setattr(sys, "stdout", stream)
    with safe_output():
        print(json.dumps({"title": "Amélie 🎬\x9b"}, ensure_ascii=False))
        console().print(Text("Amélie"))
    first, second = inner.getvalue().decode("ascii").splitlines()
    assert json.loads(first) == {"title": "Amélie 🎬\x9b"} and second == "Am\\u00e9lie"


def test_work_goes_on_after_the_reader_went_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Gone())
    with safe_output() as output:
        for _ in range(3):
            print("a line")
            console().print("a table")
        assert isinstance(output.lost, BrokenPipeError)


COMMAND = "import sys; from jaxrec.cli import main; sys.argv = ['jaxrec', 'inspect', sys.argv[1]]; sys.exit(main())"


def inspect(run: Path, before: str = "", after: str = "") -> subprocess.CompletedProcess[str]:
    words = f'{before} "{sys.executable}" -c "{COMMAND}" "{run}" {after}; exit $?'
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(["bash", "-c", words], capture_output=True, text=True, env=env)


@pytest.fixture
def simulators(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "log.json").write_text('{"rows": 1, "users": 1, "items": "x", "feedback": ["liked"]}')
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /dev/full, a disk that is always full")
def test_a_full_disk_for_the_output_is_one_line_and_no_success(simulators: Path) -> None:
    ended = inspect(simulators, after="> /dev/full")
    assert ended.returncode == 2 and ended.stderr.startswith("jaxrec: standard output: No space left on device; free")
    assert ended.stderr.count("\n") == 1


def test_a_limit_of_the_output_is_one_line_and_no_success(simulators: Path, tmp_path: Path) -> None:
    ended = inspect(simulators, before="ulimit -f 0;", after=f'> "{tmp_path / "out"}"')
    assert ended.returncode == 2 and ended.stderr.startswith("jaxrec: standard output: File too large; raise")
    assert ended.stderr.count("\n") == 1


def test_an_output_that_nobody_reads_is_no_error(simulators: Path) -> None:
    ended = inspect(simulators, after=">&- 2>&-")  # closed, not full: nobody wants to see it
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    ended = inspect(simulators, after="| true")
    assert ended.stderr == ""
