"""Small text files read within bounds: a file that is too large, endless or no file is refused before it is read."""

import os
import stat
from pathlib import Path

from jaxrec.checks import InputError

RECIPE_BYTES, JSON_BYTES = 256 * 2**10, 512 * 2**20


def read_text(path: Path, most: int) -> str:
    """Read a UTF-8 file of at most `most` bytes.

    Raises InputError for larger ones, and for pipes, sockets and devices, which could wait or go on for ever. OSError
    and UnicodeDecodeError are the caller's.
    """
    # Without O_NONBLOCK, opening a pipe would wait for somebody to write into it.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(21, "Is a directory", str(path))
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: is a pipe or a device, not a file; copy what it gives into a file.")
        data = file.read(most + 1)
    if len(data) > most:
        raise InputError(f"{path}: {status.st_size:,} bytes, expected at most {most:,}; it is not what it should be.")
    return data.decode("utf-8")
