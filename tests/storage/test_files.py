import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxrec.checks import InputError
from jaxrec.storage.files import atomic_path, read_json, read_json_object, remove_unfinished, write_json, write_text


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
        assert not path.exists() and temporary.parent.parent == tmp_path
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


def test_a_temporary_folder_cannot_be_guessed_and_only_its_owner_can_enter_it(tmp_path: Path) -> None:
    places = set()
    for _ in range(2):
        with atomic_path(tmp_path / "note.txt") as temporary:
            places.add(temporary.parent)
            assert temporary.parent.stat().st_mode & 0o777 == 0o700
            temporary.write_text("new")
        assert (tmp_path / "note.txt").stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert len(places) == 2


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_link_at_the_target_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "theirs.txt").write_text("theirs")
    (tmp_path / "theirs").mkdir()
    for name in ("theirs.txt", "theirs"):
        link = tmp_path / f"link to {name}"
        link.symlink_to(tmp_path / name)
        with atomic_path(link) as temporary:
            temporary.mkdir() if name == "theirs" else temporary.write_text("ours")
        assert not link.is_symlink() and (tmp_path / name).exists()
    assert (tmp_path / "theirs.txt").read_text() == "theirs"


def test_what_killed_processes_left_behind_is_removed_and_nothing_else(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    ours = [f".policy.jaxrec-{process}-a_b0c1d2.tmp" for process in (dead.pid, os.getpid())]
    for name in ours:
        (tmp_path / name / "policy").mkdir(parents=True)
    users = [f".notes.{dead.pid}.tmp", f".jaxrec-{dead.pid}-a.tmp.txt", f".file.jaxrec-{dead.pid}-abc.tmp"]
    for name in users:
        (tmp_path / name).touch()
    link = tmp_path / f".link.jaxrec-{dead.pid}-abc.tmp"
    link.symlink_to(tmp_path / ours[1])
    remove_unfinished(tmp_path)
    assert names(tmp_path) == sorted([ours[1], *users, link.name])


def test_json_is_plain_readable_and_strict(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"b": [1, None], "a": "ü"})
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == {"b": [1, None], "a": "ü"} and "ü" in text and text.endswith("}\n")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert path.read_text(encoding="utf-8") == text and names(tmp_path) == ["value.json"]


def test_json_comes_back_as_it_was_written(tmp_path: Path) -> None:
    for value in ({"b": [1, None], "a": "ü"}, [1, 2], "text", None):
        write_json(tmp_path / "value.json", value)
        assert read_json(tmp_path / "value.json", "make it again") == value
    write_json(tmp_path / "value.json", {"a": 1})
    assert read_json_object(tmp_path / "value.json", "make it again") == {"a": 1}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"a": 1,\n  oops}', "line 2, column 3: not JSON (Expecting property name enclosed in double quotes)"),
        (b'{"a": "\xff"}', "byte 7: not UTF-8 text"),
        (b"[1]", "expected an object at the top, got list"),
        (b"3", "expected an object at the top, got int"),
        (b"null", "expected an object at the top, got NoneType"),
        (b"[" * 100_000, "more than 100 levels of lists and objects"),
        (None, "missing (No such file)"),
    ],
)
def test_json_that_cannot_be_read_is_one_line_with_the_fix(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "value.json"
    if content is not None:
        path.write_bytes(content)
    for options, start in (({}, str(path)), ({"where": "the model"}, "the model")):
        with pytest.raises(InputError) as caught:
            read_json_object(path, "make it again", **options)
        text = str(caught.value)
        assert text.startswith(f"{start}: {says}") and text.endswith("; make it again.") and "\n" not in text
