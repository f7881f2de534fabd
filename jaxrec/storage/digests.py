"""Digests of what was written: a folder or file that changed since is refused before anything in it is parsed.

FOLDER/digests.xxh128   one line per file, `DIGEST  PATH`; the first line holds the digest of the others
NAME.xxh128             the same for a single file NAME; `xxh128sum -c` reads both kinds. While NAME is replaced it has
                        two lines, of the old content and of the new, so that a kill at any moment leaves a whole file

A sealed folder inside a sealed folder counts as one file, its own `digests.xxh128`: what reads it checks the rest.
XXH3 finds any damage of a disk, a copy or an editor. It is no signature: who can write the folder can seal it again.
"""

import contextlib
import functools
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import xxhash

from jaxrec.checks import InputError
from jaxrec.progress import note
from jaxrec.storage.files import atomic_path, read_json_object, write_text
from jaxrec.storage.lock import LOCK, is_ours

ENDING = ".xxh128"
DIGESTS = f"digests{ENDING}"
_HEAD = "# jaxrec digests 1 "
_COMMENT = "# XXH3 of the lines below: "
_CHUNK = 1 << 20
DESCRIPTION = "description.json"  # of folders of arrays (`jaxrec.storage.portable`)
_OF_OTHERS = (".DS_Store", "Thumbs.db", "desktop.ini", LOCK)  # of file managers, and of whoever writes at the time


class Damaged(InputError):
    """A stored folder or file is not as it was written."""


@contextlib.contextmanager
def sealed_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder; on success it is sealed and becomes `path`, whole or not at all.

    Raises InputError if that would replace something that jaxrec did not write.
    """
    check_replaceable(path)
    with atomic_path(path) as temporary:
        temporary.mkdir(parents=True)
        yield temporary
        seal(temporary)
        check_replaceable(path)  # the work may have taken hours


@contextlib.contextmanager
def sealed_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on success the file becomes `path`, with its digest next to it."""
    with atomic_path(path) as temporary:
        yield temporary
        before = file_digest(path) if path.is_file() and _is_whole_file(path) else ""
        digest = file_digest(temporary)
        write_text(_digest_path(path), "".join(f"{one}  {path.name}\n" for one in (digest, before) if one))
    if before:
        write_text(_digest_path(path), f"{digest}  {path.name}\n")


def check_replaceable(folder: Path) -> None:
    """Raise InputError if `folder` is there, is not empty, and has no mark of jaxrec: it is the user's.

    Its digests are a mark, and so are the lock, the description of arrays that an earlier version wrote, and the lock
    of the folder around it, as of a run.
    """
    if not os.path.lexists(folder):
        return
    if folder.is_dir():
        if is_ours(folder) or is_ours(folder.parent) or _has_digests(folder) or _is_described(folder):
            return
        if not folder.is_symlink() and not any(folder.iterdir()):
            return
    raise InputError(f"{folder}: already exists, and jaxrec did not write it; move it, or name another folder.")


def check_replaces_kind(folder: Path, kind: str) -> None:
    """Raise InputError unless `folder` is missing or empty, or its description says that it is of this kind.

    For folders that a person names: `check_replaceable` alone would let a run or a policy be replaced.
    """
    if not os.path.lexists(folder) or (folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())):
        return
    try:
        found = read_json_object(folder / DESCRIPTION, "").get("kind")
    except InputError:
        found = None
    if found != kind:
        raise InputError(f"{folder}: already exists, and holds something else than {kind}; name another folder.")


def _has_digests(folder: Path) -> bool:
    try:
        with (folder / DIGESTS).open("rb") as file:
            return file.read(len(_HEAD)) == _HEAD.encode()
    except OSError:
        return False


def _is_described(folder: Path) -> bool:
    try:
        return {"kind", "version"} <= read_json_object(folder / DESCRIPTION, "").keys()
    except InputError:
        return False


def seal(folder: Path) -> None:
    """Write the digests of all files in `folder`, and read them back."""
    names, root = _names(folder), f"{folder}/"
    lines = "".join(f"{file_digest(root + name)}  {name}\n" for name in names)
    write_text(folder / DIGESTS, f"{_HEAD}{text_digest(lines)}\n{lines}")
    if list(_read(folder, "save it again")) != names:
        raise Damaged(f"{folder}: does not hold the files that were written a moment ago; check the disk.")


def is_sealed(folder: Path) -> bool:
    """True if `folder` has digests."""
    return (folder / DIGESTS).is_file()


def check_digests(folder: Path, fix: str, *, must: bool = True) -> None:
    """Raise Damaged unless the files of `folder` are those that were sealed; the message ends with `fix`.

    A folder without digests passes unless it `must` have them: earlier versions wrote none.
    """
    if not is_sealed(folder) and not must:
        return
    wanted, found = _read(folder, fix), _names(folder)
    for name in sorted(wanted.keys() - set(found)):
        raise Damaged(f"{folder / name}: missing, though {DIGESTS} names it; {fix}.")
    root = f"{folder}/"
    for name in found:
        if name not in wanted:
            raise Damaged(f"{folder / name}: not among the files of {DIGESTS}; remove it, or {fix}.")
        _compare(root + name, (wanted[name],), fix)


def check_described(folder: Path, description: dict[str, Any], fix: str) -> None:
    """Raise Damaged if the description of a folder says that it was sealed, and its digests are gone.

    If it was never sealed, a note says so. Takes the word out of the description.
    """
    if description.pop("sealed", False) and not is_sealed(folder):
        raise Damaged(f"{folder / DIGESTS}: missing; {fix}.")
    if not is_sealed(folder):
        note_unverified(folder)


def is_whole(folder: Path) -> bool:
    """True if `folder` is there and as it was sealed, if it was."""
    try:
        check_digests(folder, "", must=False)
    except Damaged:
        return False
    return folder.is_dir()


def check_file(path: Path, fix: str, *, must: bool = True) -> None:
    """Raise Damaged unless the file is the one that was sealed; `must` and `fix` as in `check_digests`."""
    stored = _digest_path(path)
    if not stored.is_file() and not must:
        return
    lines = [line.partition("  ") for line in _text(stored, fix).splitlines(keepends=True)]
    if not 1 <= len(lines) <= 2 or any(name != f"{path.name}\n" for _, _, name in lines):
        raise Damaged(f"{stored}: damaged; {fix}.")
    _compare(path, {digest for digest, _, _ in lines}, fix)


def _is_whole_file(path: Path) -> bool:
    try:
        check_file(path, "")
    except Damaged:
        return False
    return True


def note_unverified(path: Path) -> None:
    """Say once, of the folder with our mark around `path` or of `path`, that there were no digests to check."""
    around = (one for one in (path, *path.absolute().parents[:3]) if is_ours(one))
    _note_unverified(next(around, path))


@functools.cache
def _note_unverified(folder: Path) -> None:
    note(f"{folder}: written by an earlier version without digests; not verified", aside=True)


def remove_file(path: Path) -> None:
    """Remove a sealed file and its digest."""
    for one in (path, _digest_path(path)):
        one.unlink(missing_ok=True)


def file_digest(path: Path | str) -> str:
    """XXH3 of the content, 128 bits in hexadecimal digits; memory is one chunk."""
    digest = xxhash.xxh3_128()
    with Path(path).open("rb", buffering=0) as file:
        size = min(os.fstat(file.fileno()).st_size + 1, _CHUNK)
        while chunk := file.read(size):
            digest.update(chunk)
    return digest.hexdigest()


def sealed_text(text: str) -> str:
    """`text` after a comment (#) with its digest, for files that people read too; `check_text` finds a change."""
    return f"{_COMMENT}{text_digest(text)}\n{text}"


def check_text(path: Path, fix: str) -> None:
    """Raise Damaged if the lines of a `sealed_text` have changed; a file without its comment passes."""
    head, _, text = _text(path, fix).partition("\n")
    if head.startswith(_COMMENT) and head != _COMMENT + text_digest(text):
        raise Damaged(f"{path}: changed since it was written; {fix}.")


def text_digest(text: str) -> str:
    """XXH3 of a text, 128 bits in hexadecimal digits."""
    return xxhash.xxh3_128(text.encode()).hexdigest()


def _compare(path: Path | str, digests: Collection[str], fix: str) -> None:
    try:
        same = file_digest(path) in digests
    except OSError as error:
        raise Damaged(f"{path}: cannot be read ({error.strerror}); {fix}.") from None
    if not same:
        raise Damaged(f"{path}: damaged, its digest is not the one it was written with; {fix}.")


def _digest_path(path: Path) -> Path:
    return path.with_name(path.name + ENDING)


def _names(folder: Path) -> list[str]:
    """Sorted paths of the files in `folder`, without its digests; of sealed folders inside, only their digests."""
    return sorted(name for name in _files(str(folder), "") if name != DIGESTS)


def _files(folder: str, inside: str) -> Iterator[str]:
    with os.scandir(folder) as found:
        entries = {entry.name: entry for entry in found}
    if inside and DIGESTS in entries:
        yield inside + DIGESTS
        return
    for name, entry in entries.items():
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path, f"{inside}{name}/")
        elif name not in _OF_OTHERS:
            yield inside + name


def _read(folder: Path, fix: str) -> dict[str, str]:
    """Digests by path; raises Damaged if the file of digests is missing or damaged itself."""
    path = folder / DIGESTS
    head, _, lines = _text(path, fix).partition("\n")
    if head != _HEAD + text_digest(lines):
        raise Damaged(f"{path}: damaged; {fix}.")
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines.splitlines())}


def _text(path: Path, fix: str) -> str:
    try:
        return path.read_bytes().decode()  # not read_text: it would take another line end for the one that was written
    except OSError as error:
        raise Damaged(f"{path}: cannot be read ({error.strerror}); {fix}.") from None
    except UnicodeDecodeError:
        raise Damaged(f"{path}: damaged; {fix}.") from None
