"""Files that are complete or absent: outputs get a temporary name and are renamed. Also the one reader of JSON.

What was renamed survives a power cut: its bytes are on the disk before its name is, as far as the disk tells the truth.
"""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxrec.checks import InputError


def check_orbax_path(path: Path) -> None:
    """Raise InputError if Orbax would look for the arrays it writes to `path` somewhere else, and lose them.

    It takes the whole path for a pattern, in which these characters stand for others.
    """
    if found := sorted(set("[*?") & set(str(path.absolute()))):
        raise InputError(
            f"{path.absolute()}: arrays cannot be saved under a path with {found[0]!r} (Orbax reads it as a pattern); "
            "rename that folder or choose another one."
        )


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it on success, remove it on failure. Files and folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    old = path.with_name(f".{path.name}.old.{os.getpid()}.tmp")
    try:
        yield temporary
        to_disk(temporary)
        if path.is_dir() and temporary.exists():
            path.rename(old)  # a folder cannot be replaced in one step: a kill before the next line leaves both, hidden
        temporary.replace(path)
        _sync(path.parent)
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        for leftover in (temporary, old):
            _remove(leftover)


def to_disk(path: Path) -> None:
    """Wait until a file, or a folder with all that is in it, is on the disk under its name."""
    if path.is_dir():
        for place, _, files in os.walk(path):
            for name in files:
                _sync(Path(place, name))
            _sync(Path(place))
    elif path.exists():
        _sync(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    try:
        opened = os.open(path, os.O_RDONLY)
    except OSError:  # Windows opens no folders, and renames there are not ours to order
        return
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # file systems without it; not a full disk
            raise
    finally:
        os.close(opened)


def remove_unfinished(folder: Path) -> None:
    """Remove temporary paths in `folder` that belong to killed processes of this machine."""
    for path in folder.glob(".*.tmp"):
        process = path.name.split(".")[-2]
        if process.isdigit() and not _alive(int(process)):
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)  # signal 0 only checks that the process exists
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def write_text(path: Path, text: str) -> None:
    """Write a text file completely or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, *, indent: int | None = 2) -> None:
    """Write JSON completely or not at all; NaN and infinities are refused, since strict readers refuse them."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


KINDS = {object: "any value", dict: "an object", list: "a list"}


def read_json(path: Path, fix: str, *, kind: type = object, where: str = "") -> Any:
    """Read the value in a JSON file; raises InputError if it cannot be read or is not a `kind` (dict or list).

    The message begins with `where`, by default the path, and ends with `fix`: what to do about it.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        problem = f"line {error.lineno}, column {error.colno}: not JSON ({error.msg})"
    except UnicodeDecodeError as error:
        problem = f"byte {error.start}: not UTF-8 text"
    except FileNotFoundError:
        problem = "missing (No such file)"
    except (OSError, ValueError, RecursionError) as error:
        problem = f"unreadable ({error})"
    else:
        if isinstance(value, kind):
            return value
        problem = f"expected {KINDS[kind]} at the top, got {type(value).__name__}"
    raise InputError(f"{where or path}: {problem}; {fix}.")


def read_json_object(path: Path, fix: str, *, where: str = "") -> dict[str, Any]:
    """Read the object in a JSON file; raises InputError as `read_json` does."""
    return read_json(path, fix, kind=dict, where=where)
