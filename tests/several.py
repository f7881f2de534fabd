"""Several processes of one training on this machine."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
ONE_DEVICE = {"PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "1"}


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    out: str
    err: str


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


def started(folder: Path, *words: Sequence[str]) -> list[subprocess.Popen[str]]:
    """Start `jaxrec WORDS` once for each of `words`, as processes 0, 1, ... of one training."""
    port = free_port()
    processes = []
    for n, mine in enumerate(words):
        command = [sys.executable, "-m", "jaxrec.cli", *mine, "--coordinator", f"localhost:{port}"]
        command += ["--processes", str(len(words)), "--process", str(n)]
        processes.append(
            subprocess.Popen(
                command,
                cwd=folder,
                env=os.environ | ONE_DEVICE,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
    return processes


def ended(processes: Sequence[subprocess.Popen[str]], seconds: float = 180) -> list[Ended]:
    """Wait for all; kill them if it takes too long, since a process that waits for another one heeds nothing else."""
    try:
        said = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [Ended(process.returncode, *both) for process, both in zip(processes, said, strict=True)]
