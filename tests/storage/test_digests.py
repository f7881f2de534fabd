"""Kills between the steps of a replacement, and what may be replaced."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxrec.checks import InputError
from jaxrec.storage import digests, lock
from jaxrec.storage.digests import ENDING, Damaged, check_file, check_replaceable, sealed_file, sealed_folder


class Killed(BaseException):
    pass


def replace(path: Path, text: str) -> None:
    with sealed_file(path) as temporary:
        temporary.write_text(text)


def killed_at(number: int, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> bool:
    """Run `act` until its call `number` (0, 1, ...) of `os.replace`, which does not come back."""
    calls, whole = [], os.replace

    def stop(source, target, **more):
        calls.append(target)
        if len(calls) > number:
            raise Killed
        return whole(source, target, **more)

    with monkeypatch.context() as patched:
        for module in ("os.replace", "os.rename"):
            patched.setattr(module, stop)
        try:
            act()
        except Killed:
            return True
    return False


@pytest.mark.parametrize("damaged", [False, True])
def test_a_kill_at_any_moment_of_a_replacement_leaves_a_whole_file(
    damaged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = 0
    for number in range(10):
        path = tmp_path / str(number) / "x.bin"
        replace(path, "old")
        if damaged:
            path.write_text("rotten")
        if not killed_at(number, monkeypatch, lambda path=path: replace(path, "new")):
            break
        moments += 1
        if path.read_text() == "rotten":
            with pytest.raises(Damaged):  # what was no good before is not made good
                check_file(path, "write it again")
        else:
            check_file(path, "write it again")
        replace(path, "newest")  # and the next one is none the worse
        check_file(path, "write it again")
    assert moments == (2 if damaged else 3)
    assert path.read_text() == "new" and path.with_name(f"x.bin{ENDING}").read_text().count("\n") == 1


def test_a_kill_while_a_file_is_first_written_leaves_none_that_looks_whole(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "x.bin"
    assert killed_at(1, monkeypatch, lambda: replace(path, "new"))
    with pytest.raises(Damaged):
        check_file(path, "write it again")


def test_a_digest_of_three_contents_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    replace(path, "old")
    stored = path.with_name(f"x.bin{ENDING}")
    stored.write_text(stored.read_text() * 3)
    with pytest.raises(Damaged, match=r"x\.bin\.xxh128: damaged"):
        check_file(path, "write it again")


def users(folder: Path) -> None:
    (folder / "thesis.md").write_text("years of work")


def ours_sealed(folder: Path) -> None:
    digests.seal(folder)


def ours_described(folder: Path) -> None:
    (folder / "description.json").write_text('{"kind": "policy", "version": 1}')


def write(folder: Path) -> None:
    with sealed_folder(folder) as temporary:
        (temporary / "new.txt").write_text("new")


@pytest.mark.parametrize("mark", [ours_sealed, ours_described, lambda folder: lock.hold(folder, "train")])
def test_a_folder_with_our_mark_is_replaced(mark: Callable[[Path], None], tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    folder.mkdir()
    users(folder)
    mark(folder)
    write(folder)
    assert (folder / "new.txt").is_file() and not (folder / "thesis.md").exists()


def test_a_part_of_our_folder_is_replaced_though_its_marks_are_lost(tmp_path: Path) -> None:
    lock.hold(tmp_path, "train")
    (tmp_path / "policy").mkdir()
    users(tmp_path / "policy")
    write(tmp_path / "policy")
    assert (tmp_path / "policy" / "new.txt").is_file()


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_not_ours_is_refused_and_stays(kind: str, tmp_path: Path) -> None:
    path, thesis = tmp_path / "mine", tmp_path / "elsewhere" / "thesis.md"
    thesis.parent.mkdir()
    users(thesis.parent)
    if kind == "folder":
        path.mkdir()
        users(path)
    elif kind == "file":
        path.write_text("years of work")
    else:
        path.symlink_to(thesis.parent)
    before = path.lstat()
    with pytest.raises(InputError, match="mine: already exists, and jaxrec did not write it"):
        write(path)
    assert path.lstat() == before and thesis.is_file()


def test_a_folder_that_appears_during_the_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="already exists"), sealed_folder(tmp_path / "late") as temporary:
        (temporary / "new.txt").write_text("new")
        (tmp_path / "late").mkdir()
        users(tmp_path / "late")
    assert (tmp_path / "late" / "thesis.md").is_file()


def test_an_empty_folder_is_free(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    check_replaceable(tmp_path / "empty")
    check_replaceable(tmp_path / "nothing")
