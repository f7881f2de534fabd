"""Text of others read within bounds: what is too large, endless, no file or too deep is refused before it is read."""

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from jaxrec.checks import InputError

RECIPE_BYTES, JSON_BYTES = 256 * 2**10, 512 * 2**20
JSON_DEPTH = 100  # levels of lists and objects
_TOKEN = re.compile(r'[\[{\]}]|"(?:[^"\\]|\\.)*+"?', re.DOTALL)  # brackets, and strings, which may hold some


def parse_json(text: str | bytes) -> Any:
    """Read a value of JSON of at most JSON_DEPTH levels, which are counted before anything is built.

    Raises ValueError (of which InputError is one) if it is not JSON or too deep.
    """
    text = text.decode() if isinstance(text, bytes) else text
    check_depth(text)
    return json.loads(text)


def check_depth(text: str) -> None:
    """Raise InputError if a text of JSON has more than JSON_DEPTH levels, without reading values."""
    if text.count("[") + text.count("{") <= JSON_DEPTH:
        return
    depth = 0
    for token in _TOKEN.finditer(text):
        if text[token.start()] in "[{":
            depth += 1
            if depth > JSON_DEPTH:
                raise InputError(f"more than {JSON_DEPTH} levels of lists and objects; simplify it.")
        elif text[token.start()] in "]}":
            depth -= 1


def check_size(path: Path, most: int) -> None:
    """Raise InputError if a file has more than `most` bytes, without reading any; OSError is the caller's."""
    if (size := path.stat().st_size) > most:
        raise _too_large(path, size, most)


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
        raise _too_large(path, status.st_size, most)
    return data.decode("utf-8")


def _too_large(path: Path, size: int, most: int) -> InputError:
    return InputError(f"{path}: {size:,} bytes, expected at most {most:,}; it is not what it should be.")
