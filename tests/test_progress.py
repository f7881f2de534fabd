import contextlib
import os
import sys

import pytest

from jaxrec.progress import track


def read_all(screen: int) -> str:
    """Everything written to a pseudo-terminal whose other end is closed."""
    seen = b""
    with contextlib.suppress(OSError):  # Linux reports the closed end as an error
        while chunk := os.read(screen, 4096):
            seen += chunk
    os.close(screen)
    return seen.decode()


def test_a_file_gets_one_line_at_the_end_when_the_work_is_short(capsys: pytest.CaptureFixture) -> None:
    with track("training", 3) as advance:
        for n in range(3):
            advance(1, f"return {n}")
    out, err = capsys.readouterr()
    assert out == "" and err == "training 3/3 0s return 2\n"


def test_a_line_is_printed_whenever_its_time_has_come_and_not_twice(capsys: pytest.CaptureFixture) -> None:
    with track("encoding", 2, every_s=0.0) as advance:
        advance()
        advance()
    assert capsys.readouterr().err.splitlines() == ["encoding 1/2 0s", "encoding 2/2 0s"]


def test_a_note_stays_until_the_next_one(capsys: pytest.CaptureFixture) -> None:
    with track("fitting", 6, every_s=0.0) as advance:
        advance(2, "loss 0.5")
        advance(4)
    assert capsys.readouterr().err.splitlines() == ["fitting 2/6 0s loss 0.5", "fitting 6/6 0s loss 0.5"]


def test_work_that_stops_early_ends_with_what_was_done(capsys: pytest.CaptureFixture) -> None:
    with track("training", 10) as advance:
        advance(4)
    assert capsys.readouterr().err == "training 4/10 0s\n"


def test_errors_inside_pass_through(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(KeyError, match="lost"), track("training", 10):
        raise KeyError("lost")


def test_a_terminal_gets_a_bar_with_the_note_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, other_end = os.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with os.fdopen(other_end, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        with track("training", 4) as advance:
            advance(1, "return 1.5")
            advance(3)
    seen = read_all(screen)
    assert "training" in seen and "4/4" in seen and "return 1.5" in seen
