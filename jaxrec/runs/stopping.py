"""Stopping a training by a signal: it ends the compiled call, saves and leaves, within a time of grace.

Python runs its handlers between two instructions, so they wait for the end of a compiled call. In the command line, a
thread hears of a signal at once, through a pair of sockets, and keeps the time.
"""

import contextlib
import contextvars
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

GRACE_SECONDS = 25.0  # Slurm and Kubernetes send SIGKILL 30 s after SIGTERM, unless they are set otherwise
LEAVE_SECONDS = 5.0  # from a SIGINT that is not the first signal, for what is being written
END = b"\0"  # no signal has this number
LATE = {
    signal.SIGTERM: "the last call and its checkpoint took longer than train.grace_seconds={grace:g} after SIGTERM; "
    "updates since the newest checkpoint are lost, and --resume repeats them.",
    signal.SIGINT: "stopped without a new checkpoint; --resume continues from the newest one.",
}
_may_end = contextvars.ContextVar("may_end", default=False)


@contextlib.contextmanager
def whole_program() -> Iterator[None]:
    """Let signals end the process inside the `with` block: it does nothing but run one command."""
    token = _may_end.set(True)
    try:
        yield
    finally:
        _may_end.reset(token)


@contextlib.contextmanager
def stop_on_signals(grace_seconds: float = GRACE_SECONDS) -> Iterator[list[int]]:
    """Yield a list that the first SIGINT or SIGTERM fills; a SIGINT after that interrupts at once.

    Inside `whole_program`, as in the command line, the process ends if the block has not ended `grace_seconds` after
    SIGTERM, or 5 seconds after such a SIGINT. Its status is then 128 and the number of the signal, as shells report
    it. Elsewhere (a notebook, a server) nothing here ends the process, and a signal waits for the compiled call.
    """
    received: list[int] = []

    def note(number: int, _: Any) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():  # signals are the caller's business
        yield received
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _watched(grace_seconds) if _may_end.get() else contextlib.nullcontext():
            yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _watched(grace_seconds: float) -> Iterator[None]:
    """Keep the time of signals on a thread."""
    reading, writing = socket.socketpair()  # Windows can wait for sockets, not for pipes
    with reading, writing:
        writing.setblocking(False)  # Python asks for it
        before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        watch = threading.Thread(target=_watch, args=(reading, grace_seconds), name="signals", daemon=True)
        watch.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            writing.send(END)
            watch.join()


def _watch(reading: socket.socket, grace_seconds: float) -> None:
    """End the process when the time of a signal is over; return when END is read."""
    deadlines: dict[int, float] = {}
    heard = False
    while True:
        left = None if not deadlines else max(0.0, min(deadlines.values()) - time.monotonic())
        if not select.select([reading], [], [], left)[0]:
            number = min(deadlines, key=lambda one: deadlines[one])
            print(f"jaxrec: {LATE[signal.Signals(number)].format(grace=grace_seconds)}", file=sys.stderr, flush=True)
            os._exit(128 + number)  # the main thread is in a call that nothing interrupts
        for number in reading.recv(64):
            if number == END[0]:
                return
            if number == signal.SIGTERM:
                deadlines.setdefault(number, time.monotonic() + grace_seconds)
            elif number == signal.SIGINT and heard:
                deadlines.setdefault(number, time.monotonic() + LEAVE_SECONDS)
            heard = heard or number in LATE


def stopped_by(received: list[int]) -> int:
    """The signal that stopped a training; SIGINT if it was another thing, such as the failure of a run of a sweep."""
    return int(next((number for number in received if number), signal.SIGINT))
