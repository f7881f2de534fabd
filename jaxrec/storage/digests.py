"""Digests of what was written: a folder or file that changed since is refused before anything in it is parsed.

FOLDER/digests.xxh128   one line per file, `DIGEST  PATH`; the first line holds the digest of the others
NAME.xxh128             the same for a single file NAME; `xxh128sum -c` reads both kinds

A sealed folder inside a sealed folder counts as one file, its own `digests.xxh128`: what reads it checks the rest.
XXH3 finds any damage of a disk, a copy or an editor. It is no signature: who can write the folder can seal it again.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import xxhash

from jaxrec.checks import InputError
from jaxrec.storage.files import atomic_path, write_text
from jaxrec.storage.lock import LOCK

ENDING = ".xxh128"
DIGESTS = f"digests{ENDING}"
_HEAD = "# jaxrec digests 1 "
_COMMENT = "# XXH3 of the lines below: "
_CHUNK = 1 << 20
_OF_OTHERS = (".DS_Store", "Thumbs.db", "desktop.ini", LOCK)  # of file managers, and of whoever writes at the time


class Damaged(InputError):
    """A stored folder or file is not as it was written."""


@contextlib.contextmanager
def sealed_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder; on success it is sealed and becomes `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.mkdir(parents=True)
        yield temporary
        seal(temporary)


@contextlib.contextmanager
def sealed_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on success the file becomes `path`, with its digest next to it."""
    with atomic_path(path) as temporary:
        yield temporary
        write_text(_beside(path), f"{file_digest(temporary)}  {path.name}\n")  # first: a kill leaves no file without


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
        _compare(root + name, wanted[name], fix)


def is_whole(folder: Path) -> bool:
    """True if `folder` is there and as it was sealed, if it was."""
    try:
        check_digests(folder, "", must=False)
    except Damaged:
        return False
    return folder.is_dir()


def check_file(path: Path, fix: str, *, must: bool = True) -> None:
    """Raise Damaged unless the file is the one that was sealed; `must` and `fix` as in `check_digests`."""
    beside = _beside(path)
    if not beside.is_file() and not must:
        return
    digest, _, name = _text(beside, fix).partition("  ")
    if name != f"{path.name}\n":
        raise Damaged(f"{beside}: damaged; {fix}.")
    _compare(path, digest, fix)


def remove_file(path: Path) -> None:
    """Remove a sealed file and its digest."""
    for one in (path, _beside(path)):
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


def _compare(path: Path | str, digest: str, fix: str) -> None:
    try:
        same = file_digest(path) == digest
    except OSError as error:
        raise Damaged(f"{path}: cannot be read ({error.strerror}); {fix}.") from None
    if not same:
        raise Damaged(f"{path}: damaged, its digest is not the one it was written with; {fix}.")


def _beside(path: Path) -> Path:
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
