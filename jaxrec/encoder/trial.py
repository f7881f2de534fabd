"""Trying the tokenizer of a model in a process of its own, before it is read here.

The libraries are written in Rust and C++. Some files make them panic, run out of memory or run for hours, and then they
end the process without an exception. A file that has passed the trial may still fail on a text that nobody tried.
"""

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxrec.checks import InputError
from jaxrec.encoder import tokenizer_child

SECONDS, SLOW_SECONDS = 4, 60  # of a processor: for tokenizer.json; for what transformers builds
WAIT = 120  # seconds by the clock; a busy machine may take many for one of a processor
BYTES = 2**31 - 2**27  # of memory; the tokenizers with the most words take half a gigabyte
ADVICE = "fetch the model again, and do not use it if that does not help"
_passed: set[str] = set()  # digests of what need not be tried again
_READ = {".json", ".txt", ".model", ".jinja"}  # endings of files that may be read


def try_file(path: Path) -> None:
    """Raise InputError if the tokenizer in a tokenizer.json ends the process that reads it."""
    _try(str(path), _digest([path]), json.dumps({"file": str(path), "seconds": SECONDS, "bytes": BYTES}))


def try_folder(folder: Path, arguments: Mapping[str, Any]) -> None:
    """Raise InputError if the tokenizer that transformers builds from a folder ends the process that builds it."""
    files = sorted(path for path in folder.iterdir() if path.suffix in _READ and path.is_file())
    job = {"folder": str(folder), "arguments": dict(arguments), "seconds": SLOW_SECONDS, "bytes": BYTES}
    _try(str(folder), _digest(files, repr(sorted(arguments.items()))), json.dumps(job))


@contextlib.contextmanager
def library_errors(where: str) -> Iterator[None]:
    """Turn what a tokenizer raises into an InputError: an `Exception`, or a panic of Rust, which is none."""
    try:
        yield
    except InputError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise InputError(f"{where}: the tokenizer fails ({_line(str(error))}); {ADVICE}.") from None


def _try(where: str, digest: str, job: str) -> None:
    if digest not in _passed:
        if said := _outcome(job):
            raise InputError(f"{where}: the tokenizer {said}; {ADVICE}.")
        _passed.add(digest)


def _outcome(job: str) -> str:
    """What went wrong, in words, or nothing."""
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "TOKENIZERS_PARALLELISM": "false",
        "RUST_BACKTRACE": "0",
        "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    }
    program = [sys.executable, "-P", tokenizer_child.__file__]  # -P: the folder of the program has a tokenize.py
    seconds = json.loads(job)["seconds"]
    try:
        done = subprocess.run(program, input=job.encode(), capture_output=True, timeout=WAIT, env=env)
    except subprocess.TimeoutExpired:
        return f"takes more than {WAIT} s to read"
    except OSError:  # no program of Python, as in a program that embeds it
        return ""
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"takes more than {seconds} s to read, or too much memory"
    if done.returncode < 0:
        return f"ends the process that reads it ({signal.Signals(-done.returncode).name}{_reason(done.stderr)})"
    panicked = done.returncode == tokenizer_child.PANIC
    return f"makes the tokenizers library panic ({_reason(done.stderr)[2:]})" if panicked else ""


def _reason(said: bytes) -> str:
    """The last line that a library wrote before it ended, for the message: ': ...'."""
    lines = said.decode(errors="replace").strip().splitlines()
    lines = [line for line in lines if not line.startswith("note:")]
    return f": {_line(lines[-1])}" if lines else ""


def _line(text: str) -> str:
    return re.sub(r"[^ -~]", "?", text.strip().partition("\n")[0])[:120].rstrip(". ")


def _digest(files: list[Path], settings: str = "") -> str:
    digest = hashlib.sha256(settings.encode())
    for path in files:
        digest.update(f"{path.name} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
