"""Errors of the operating system in one line: what, where and how to mend it. The only place that knows them."""

import errno
import os
import re
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from jaxrec.foreign import one_line

TRACEBACK = "JAXREC_TRACEBACK"  # an environment variable; set, it shows where errors of the system arose
REPORT = (
    "this is a defect of jaxrec; please report it with the lines above, the command and the version "
    "({version}), and remove from them what is private."
)
AGAIN = "then run the same command again (a stopped training continues with --resume)"
MENDS = {
    errno.ENOSPC: f"free some space, {AGAIN}",
    errno.EDQUOT: f"free some space of your quota, {AGAIN}",
    errno.EFBIG: f"raise the limit of file sizes (ulimit -f), {AGAIN}",
    errno.EACCES: "change its permissions, or name another file or folder",
    errno.EPERM: "change its owner or permissions, or name another file or folder",
    errno.EROFS: "name a folder that can be written",
    errno.ENAMETOOLONG: "choose a shorter name or path",
    errno.EMFILE: f"raise the limit of open files (ulimit -n), {AGAIN}",
    errno.ENFILE: f"close other programs, {AGAIN}",
    errno.EIO: f"check the disk or the network drive, {AGAIN}",
    errno.ESTALE: f"mount the network drive again, {AGAIN}",
    errno.ENOENT: f"restore it if it was moved or deleted meanwhile, {AGAIN}",
    errno.ENOTDIR: "a part of the path is a file; correct the path",
    errno.EISDIR: "is a folder where a file is expected; correct the path",
    errno.ELOOP: "its links lead in a circle; mend them, or name another path",
    errno.ENOMEM: "close other programs, or lower the sizes in the recipe",
    errno.EPIPE: f"the program that reads the output has ended; {AGAIN}",
}
# How libraries quote them in errors of other types, longest first.
WORDS = {
    "No space left on device": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT,
    "File too large": errno.EFBIG,
    "Read-only file system": errno.EROFS,
    "File name too long": errno.ENAMETOOLONG,
    "Too many open files": errno.EMFILE,
    "Permission denied": errno.EACCES,
    "Operation not permitted": errno.EPERM,
    "Input/output error": errno.EIO,
    "Stale file handle": errno.ESTALE,
}
LOST = ("Gloo", "NCCL", "coordination service", "CoordinationService")  # in errors about other processes
NO_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory", "std::bad_alloc")
PATH = re.compile(r"['\"](/[^'\"]+)['\"]")  # in messages of libraries
EXAMPLE = "train.evaluate_users, learner.num_users, encoder.batch_size"


def fault_line(error: BaseException) -> str | None:
    """Describe in one line an error that a person can mend; None for defects of ours."""
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in MENDS:
            return _system(one.strerror or "", str(one.filename2 or one.filename or _path(str(one))), one.errno)
        if words := next((words for words in WORDS if words in str(one)), None):
            return _system(words, _path(str(one)), WORDS[words])
        if _several() and any(words in str(one) for words in LOST):
            return f"another process of this training has ended ({_short(one)}); see its own output, {AGAIN}."
        if isinstance(one, MemoryError) or any(words in str(one) for words in NO_MEMORY):
            return f"out of memory ({_short(one)}); lower the sizes in the recipe (such as {EXAMPLE}), or free memory."
        if isinstance(one, OSError):
            return f"{_short(one)}; correct the path or mend the device, {AGAIN}."
        if isinstance(one, RecursionError):
            return "a file or value is nested too deeply; simplify it."
        if isinstance(one, UnicodeError):
            return (
                f"a text or a file name cannot be written in its encoding ({_short(one)}); use UTF-8 (LC_ALL=C.UTF-8)."
            )
    return None


def _several() -> bool:
    """Whether this is one of several processes that train together."""
    if "jax" not in sys.modules:  # whose import takes a second
        return False
    from jaxrec import processes

    return processes.count() > 1


def report_in_background(*raised: Any) -> None:
    """Report in one line an exception outside the main program, which reports its own: a hook of `sys`.

    Exceptions of Orbax's callbacks after its first error are left out: it has closed the loop that they report to.
    """
    error = raised[1] if len(raised) == 3 else raised[0].exc_value
    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    elif error is not None and "Event loop is closed" not in str(error):
        print(one_line(f"jaxrec: in the background: {type(error).__name__}: {_short(error)}"), file=sys.stderr)


def _system(what: str, where: str, number: int) -> str:
    return one_line(f"{where}: {what}; {MENDS[number]}." if where else f"{what}; {MENDS[number]}.")


def _short(error: BaseException) -> str:
    """The beginning of a library's message."""
    return " ".join((str(error) or type(error).__name__).split())[:200].rstrip(".")


def _path(message: str) -> str:
    found = PATH.search(message)
    return found[1] if found else ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, those in a group, and those that it was raised from or during."""
    seen: set[int] = set()
    open_: list[BaseException | None] = [error]
    while open_:
        one = open_.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        open_ += [*getattr(one, "exceptions", ()), one.__cause__, None if one.__suppress_context__ else one.__context__]
