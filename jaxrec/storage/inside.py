"""Folders that somebody else may have made: nothing in them leads out of them, and all in them is files and folders.

A folder is checked once, when it is opened: whoever can change it while it is read can change more than its links.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from jaxrec.checks import InputError
from jaxrec.foreign import quoted

MOST = 100_000  # paths in one folder
LONGEST, LONGEST_PART = 1_024, 255  # bytes of a path in a file, and of each of its parts


def inside(folder: Path, name: str, where: str) -> Path:
    """Give the path `name` in `folder`; raises InputError if it leads out of it. `where` says who names it."""
    path = PureWindowsPath(name)  # also splits at slashes, so that a name means the same on every system
    try:
        long = len(os.fsencode(name)) > LONGEST or any(len(os.fsencode(part)) > LONGEST_PART for part in path.parts)
    except UnicodeEncodeError:
        long = True
    if long or "\0" in name:
        raise InputError(f"{where}: {quoted(name)} is no path that a system can have; correct it.")
    if path.drive or path.root or ".." in path.parts:
        raise InputError(f"{where}: {quoted(name)} leads out of {folder}; expected a path inside of the folder.")
    return folder / name


def check_folder(folder: Path) -> None:
    """Raise InputError if a link in `folder` leads out of it, or if something in it is neither file nor folder."""
    bounds = _bounds(folder)
    for number, entry in enumerate(_entries(folder)):
        if number >= MOST:
            raise InputError(f"{folder}: more than {MOST:,} files; name the folder that holds nothing else.")
        try:
            kind = entry.stat(follow_symlinks=False).st_mode
        except FileNotFoundError:  # a temporary file of a command that writes into the folder
            continue
        if stat.S_ISLNK(kind):
            kind = _target(Path(entry.path), bounds)
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise InputError(f"{entry.path}: a special file (pipe, socket or device); delete it, or name a copy.")


def copy_folder(source: Path, target: Path, *left_out: str) -> None:
    """Copy a checked folder to a new one, without names that match `left_out`; links become what they point to."""
    check_folder(source)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*left_out))


def _entries(folder: Path) -> Iterator[os.DirEntry]:
    """All that is in a folder, however deep; links to folders are not entered."""
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    yield entry
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except FileNotFoundError:  # the same
            continue
        except OSError as error:
            raise InputError(f"{error.filename}: cannot be read ({error.strerror}); mend its permissions.") from None


def _bounds(folder: Path) -> Path:
    """The folder that links may not leave.

    In the hub's cache, models--OWNER--NAME/snapshots/COMMIT holds links to the blobs of the same model.
    """
    real = folder.resolve()
    cached = real.parent.name == "snapshots" and real.parents[1].name.startswith("models--")
    return real.parents[1] if cached else real


def _target(link: Path, bounds: Path) -> int:
    """Kind of what a link points to; raises InputError if it leaves `bounds`, points nowhere or to itself."""
    try:
        real = link.resolve(strict=True)
        kind = real.stat().st_mode
    except (OSError, RuntimeError):  # of links in a circle
        raise InputError(f"{link}: a link that points nowhere ({quoted(str(link.readlink()))}); delete it.") from None
    if not real.is_relative_to(bounds):
        raise InputError(f"{link}: a link that leads out of its folder; put a copy of the file there instead.")
    if stat.S_ISDIR(kind) and link.absolute().is_relative_to(real):
        raise InputError(f"{link}: a link to a folder around it; delete it.")
    return kind
