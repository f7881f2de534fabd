"""Running many commands quickly, each in a process of its own with limits of time and memory.

A server imports jaxrec once and forks for every command. An abort, a hang or a leak then ends one command only.
"""

import atexit
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
PRELOADED = ("check_data", "train", "evaluate", "encoders", "inspect")
LIBRARIES = ("pandas", "rich.table")  # imported late by pyarrow and by us: half a second that each fork would take
POLL = 0.02  # seconds
OWN = 250 * 2**20  # bytes that a fork shares with the server and cannot be blamed for


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    killed: str  # by which limit or signal; empty: by itself
    seconds: float
    bytes: int  # resident memory at its largest
    out: str
    err: str


class Launcher:
    """A started server; use it as a context."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.hostile.launch"]
        env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
        self.server = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> "Launcher":
        return self

    def __exit__(self, *_: object) -> None:
        self.server.communicate()  # closes its input, upon which it ends

    def run(
        self,
        words: Sequence[str],
        folder: Path,
        env: Mapping[str, str | None],
        seconds: float,
        most_bytes: int,
        *,
        fresh: bool = False,
        meanwhile: Callable[[int], None] = lambda process: None,
    ) -> Ended:
        """Run `jaxrec WORDS` in `folder`; `meanwhile` is called with its process id once it has started."""
        assert self.server.stdin is not None and self.server.stdout is not None
        with tempfile.TemporaryDirectory() as said:
            job = {"words": list(words), "folder": str(folder), "env": dict(env), "said": said}
            job |= {"seconds": seconds, "bytes": most_bytes, "fresh": fresh}
            self.server.stdin.write(json.dumps(job) + "\n")
            self.server.stdin.flush()
            meanwhile(int(self.server.stdout.readline()))
            ended = json.loads(self.server.stdout.readline())
            texts = (Path(said, name).read_text(encoding="utf-8", errors="replace") for name in ("out", "err"))
            return Ended(*ended, *texts)


def serve() -> None:
    """Run the jobs on standard input, one line each."""
    for name in PRELOADED:
        importlib.import_module(f"jaxrec.cli.{name}")
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for line in sys.stdin:
        print(json.dumps(_watched(json.loads(line))), flush=True)


def _watched(job: dict[str, Any]) -> tuple[int, str, float, int]:
    """Start a job and wait for it; kill it at a limit."""
    started, killed, most = time.monotonic(), "", 0
    process = _spawned(job) if job["fresh"] else os.fork() or _child(job)
    print(process, flush=True)
    while True:
        ended, status, usage = os.wait4(process, os.WNOHANG)
        if ended:
            break
        most = max(most, _resident(process))
        if time.monotonic() - started > job["seconds"]:
            killed = f"still running after {job['seconds']:g} s"
        elif most > job["bytes"]:
            killed = f"more than {job['bytes'] / 2**30:.1f} GB of memory"
        if killed:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
        time.sleep(POLL)
    code = os.waitstatus_to_exitcode(status)
    most = max(most, usage.ru_maxrss * 1024)
    if not killed and code < 0:
        killed = f"killed by {signal.Signals(-code).name}"
    if not killed and most > job["bytes"]:
        killed = f"{most / 2**30:.1f} GB of memory"
    return code, killed, time.monotonic() - started, most


def _spawned(job: dict[str, Any]) -> int:
    env = {**os.environ, **job["env"]}
    env = {name: value for name, value in env.items() if value is not None}
    command = [sys.executable, "-m", "jaxrec.cli", *job["words"]]
    with Path(job["said"], "out").open("wb") as out, Path(job["said"], "err").open("wb") as err:
        started = subprocess.Popen(
            command,
            cwd=job["folder"],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    started.returncode = 0  # `_watched` waits for it
    return started.pid


def _child(job: dict[str, Any]) -> int:
    """Be the command; does not return."""
    code = 1
    try:
        os.setsid()
        os.chdir(job["folder"])
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(Path(job["said"], name), os.O_WRONLY | os.O_CREAT, 0o600), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for name, value in job["env"].items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        from jaxrec.cli import main

        sys.argv = ["jaxrec", *job["words"]]  # as a program, which also silences libraries that close down
        code = main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _resident(process: int) -> int:
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    serve()
