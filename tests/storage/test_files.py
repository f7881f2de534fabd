import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxrec.storage.files import atomic_path, remove_unfinished, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_with_its_folder(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "note.txt", "größer\n")
    assert (tmp_path / "a" / "b" / "note.txt").read_text(encoding="utf-8") == "größer\n"
    assert names(tmp_path / "a" / "b") == ["note.txt"]


def test_nothing_is_there_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        assert not path.exists() and temporary.parent == tmp_path
    assert path.read_text() == "half"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError, match="disk full"), atomic_path(path) as temporary:
        temporary.write_text("ne")
        raise RuntimeError("disk full")
    assert path.read_text() == "old" and names(tmp_path) == ["note.txt"]


def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    path.mkdir()
    (path / "old").touch()
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        (temporary / "deep").mkdir(parents=True)
        (temporary / "deep" / "new").touch()
        raise KeyboardInterrupt
    assert names(path) == ["old"] and names(tmp_path) == ["policy"]


def test_a_folder_replaces_a_folder_whole(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    for name in ("old", "new"):
        with atomic_path(path) as temporary:
            temporary.mkdir()
            (temporary / name).touch()
    assert names(path) == ["new"] and names(tmp_path) == ["policy"]


def test_a_replacement_that_fails_brings_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "policy"
    path.mkdir()
    (path / "old").touch()

    def refuse(self: Path, target: Path) -> None:
        assert not path.exists()  # the old folder is aside: this is the moment between the two renames
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"), atomic_path(path) as temporary:
        temporary.mkdir()
        monkeypatch.setattr(Path, "replace", refuse)
    assert names(path) == ["old"] and names(tmp_path) == ["policy"]


def test_a_writer_that_wrote_nothing_keeps_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    path.mkdir()
    with pytest.raises(FileNotFoundError), atomic_path(path):
        pass
    assert names(tmp_path) == ["policy"]


def test_what_killed_processes_left_behind_is_removed_and_what_living_ones_write_is_not(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for process in (dead.pid, os.getpid()):
        (tmp_path / f".policy.{process}.tmp").mkdir()
        (tmp_path / f".policy.old.{process}.tmp").mkdir()
        (tmp_path / f".note.json.{process}.tmp").touch()
    remove_unfinished(tmp_path)
    assert names(tmp_path) == sorted(f".{name}.{os.getpid()}.tmp" for name in ("policy", "policy.old", "note.json"))


def test_json_is_plain_readable_and_strict(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"b": [1, None], "a": "ü"})
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == {"b": [1, None], "a": "ü"} and "ü" in text and text.endswith("}\n")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert path.read_text(encoding="utf-8") == text and names(tmp_path) == ["value.json"]
