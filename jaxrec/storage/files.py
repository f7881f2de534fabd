"""Files that are complete or absent: outputs get a temporary name and are renamed. Also the one reader of JSON.

What was renamed survives a power cut: its bytes are on the disk before its name is, as far as the disk tells the truth.
"""

import contextlib
import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxrec.bounded import JSON_BYTES, parse_json, read_text
from jaxrec.checks import InputError
from jaxrec.storage.schema import Misfit
from jaxrec.storage.schemas import check_schema


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file `path` in errors of the system that name none, such as a full disk in the middle of a file."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


MARK, SHOWN = "jaxrec", 40  # in temporary names; so many characters of the name that they stand for
UNFINISHED = re.compile(rf"\.{MARK}-(\d+)-\w+\.tmp$")


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
    with naming(path), _atomic_path(path) as temporary:
        yield temporary


@contextlib.contextmanager
def _atomic_path(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A new folder that only its owner can enter: nobody can guess its name or put a link into it.
    mark = f".{path.name[:SHOWN]}.{MARK}-{os.getpid()}-"
    place = Path(tempfile.mkdtemp(prefix=mark, suffix=".tmp", dir=path.parent))
    temporary, old = place / path.name, place / f"{path.name}.old"
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
        shutil.rmtree(place, ignore_errors=True)


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
    """Remove temporary folders of `atomic_path` in `folder` that belong to killed processes of this machine."""
    for path in folder.glob(f".*.{MARK}-*.tmp"):
        process = UNFINISHED.search(path.name)
        if process and path.is_dir() and not path.is_symlink() and not _alive(int(process[1])):
            shutil.rmtree(path, ignore_errors=True)


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


def read_json(path: Path, fix: str, *, kind: type = object, where: str = "", most: int = JSON_BYTES) -> Any:
    """Read the value in a JSON file; raises InputError if it cannot be read or is not a `kind` (dict or list).

    It must also fit the schema of files of this name, if there is one (`jaxrec.storage.schemas`).

    A file of more than `most` bytes is refused before it is read. The message begins with `where`, by default the path,
    and ends with `fix`: what to do about it.
    """
    try:
        value = parse_json(read_text(path, most))
    except json.JSONDecodeError as error:
        problem = f"line {error.lineno}, column {error.colno}: not JSON ({error.msg})"
    except UnicodeDecodeError as error:
        problem = f"byte {error.start}: not UTF-8 text"
    except FileNotFoundError:
        problem = "missing (No such file)"
    except InputError as error:
        problem = str(error).removeprefix(f"{path}: ").partition(";")[0]
    except (OSError, ValueError) as error:
        problem = f"unreadable ({error})"
    else:
        try:
            if isinstance(value, kind):
                check_schema(path.name, value)
                return value
            problem = f"expected {KINDS[kind]} at the top, got {type(value).__name__}"
        except Misfit as misfit:
            problem = f"damaged ({misfit})"
    raise InputError(f"{where or path}: {problem}; {fix}.")


def read_json_object(path: Path, fix: str, *, where: str = "", most: int = JSON_BYTES) -> dict[str, Any]:
    """Read the object in a JSON file; raises InputError as `read_json` does."""
    return read_json(path, fix, kind=dict, where=where, most=most)
