"""One writer per folder: a command locks the folder that it writes into, and a second one ends in one line.

The lock belongs to an open file, so the system releases it when its process ends, however it ends. The file stays: it
is also the mark of a folder that jaxrec made. Locks hold between the processes of one machine, and between machines on
file systems that pass `flock` on (NFS 4 does); where a file system has no locks, a note says so.
"""

import contextlib
import contextvars
import datetime
import errno
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from jaxrec.bounded import parse_json
from jaxrec.checks import InputError
from jaxrec.progress import note

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK, FORMAT = ".jaxrec-lock", "jaxrec.lock.1"
TRIES = 20  # the folder of a lock may be deleted by its holder while it is opened
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)

_held: contextvars.ContextVar[dict[Path, int] | None] = contextvars.ContextVar("held", default=None)


@contextlib.contextmanager
def one_command() -> Iterator[None]:
    """Release at the end of the `with` block what `hold` locked inside of it; the outermost block counts."""
    if _held.get() is not None:
        yield
        return
    held: dict[Path, int] = {}
    token = _held.set(held)
    try:
        yield
    finally:
        _held.reset(token)
        for file in held.values():
            with contextlib.suppress(OSError):
                _write(file, {"format": FORMAT})
            os.close(file)


def hold(folder: Path, command: str) -> None:
    """Lock `folder`, which is made if it is missing, until the block of `one_command` ends.

    Raises InputError if another command holds it, or if it cannot be written. Outside of a block nothing is locked,
    and the folder gets its mark only.
    """
    held, place = _held.get(), folder.resolve()
    if held is not None and place in held:
        return
    try:
        file = _locked(folder)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        holder = {"command": command, "process": os.getpid(), "host": platform.node(), "started": now}
        _write(file, {"format": FORMAT, **(holder if held is not None else {})})
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); name another folder.") from None
    if held is None:
        os.close(file)
    else:
        held[place] = file


def is_ours(folder: Path) -> bool:
    """Whether jaxrec made the folder, or took it when it was empty."""
    try:
        file = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return _read(os.read(file, 4096)).get("format") == FORMAT
    except OSError:  # a folder
        return False
    finally:
        os.close(file)


def _locked(folder: Path) -> int:
    """Open and lock the file of a folder."""
    path = folder / LOCK
    for _ in range(TRIES):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:  # the folder has gone again
            continue
        try:
            _take(file, folder)
            if os.path.samestat(os.fstat(file), os.lstat(path)):
                return file
        except FileNotFoundError:
            pass  # its holder has deleted it
        except BaseException:
            os.close(file)
            raise
        os.close(file)
    raise InputError(f"{folder}: disappears while it is opened; start again when nothing else deletes it.")


def _take(file: int, folder: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _read(os.pread(file, 4096, 0))
        known = [f"`jaxrec {holder['command']}`"] if holder.get("command") else ["another command"]
        known += [f"process {holder['process']} on {holder['host']}"] if {"process", "host"} <= holder.keys() else []
        known += [f"since {holder['started']}"] if holder.get("started") else []
        who = f"{known[0]} ({', '.join(known[1:])})" if known[1:] else known[0]
        raise InputError(f"{folder}: {who:.200} writes into it; wait for its end or name another folder.") from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        note(f"{folder}: this file system has no locks; make sure that only one command writes into the folder")


def _read(content: bytes) -> dict[str, object]:
    try:
        found = parse_json(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _write(file: int, value: dict[str, object]) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, (json.dumps(value) + "\n").encode(), 0)
