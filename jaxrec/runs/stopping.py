"""Stopping a training by a signal: it ends the compiled call, saves and leaves, within a time of grace.

Python runs its handlers between two instructions, so they wait for the end of a compiled call. A thread hears of a
signal at once, through a pipe, and keeps the time.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

GRACE_SECONDS = 25.0  # Slurm and Kubernetes send SIGKILL 30 s after SIGTERM, unless they are set otherwise
LEAVE_SECONDS = 5.0  # from the second SIGINT on, for what is being written
END = b"\0"  # no signal has this number
LATE = {
    signal.SIGTERM: "the last call and its checkpoint took longer than train.grace_seconds={grace:g} after SIGTERM; "
    "updates since the newest checkpoint are lost, and --resume repeats them.",
    signal.SIGINT: "stopped without a new checkpoint; --resume continues from the newest one.",
}


@contextlib.contextmanager
def stop_on_signals(grace_seconds: float = GRACE_SECONDS) -> Iterator[list[int]]:
    """Yield a list that the first SIGINT or SIGTERM fills; a second SIGINT interrupts at once.

    If the block has not ended `grace_seconds` after SIGTERM, or 5 seconds after a second SIGINT, the process ends with
    128 and the number of the signal, as shells report it.
    """
    received: list[int] = []

    def note(number: int, _: Any) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():  # signals are the caller's business
        yield received
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)  # Python asks for it
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    woken_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watch = threading.Thread(target=_watch, args=(reading, grace_seconds), name="signals", daemon=True)
    watch.start()
    try:
        yield received
    finally:
        signal.set_wakeup_fd(woken_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.write(writing, END)
        watch.join()
        os.close(reading)
        os.close(writing)


def _watch(reading: int, grace_seconds: float) -> None:
    """End the process when the time of a signal is over; return when END is read."""
    deadlines: dict[int, float] = {}
    interrupts = 0
    while True:
        left = None if not deadlines else max(0.0, min(deadlines.values()) - time.monotonic())
        if not select.select([reading], [], [], left)[0]:
            number = min(deadlines, key=lambda one: deadlines[one])
            print(f"jaxrec: {LATE[signal.Signals(number)].format(grace=grace_seconds)}", file=sys.stderr, flush=True)
            os._exit(128 + number)  # the main thread is in a call that nothing interrupts
        for number in os.read(reading, 64):
            if number == END[0]:
                return
            interrupts += number == signal.SIGINT
            if number == signal.SIGTERM:
                deadlines.setdefault(number, time.monotonic() + grace_seconds)
            elif interrupts >= 2:
                deadlines.setdefault(signal.SIGINT, time.monotonic() + LEAVE_SECONDS)


def stopped_by(received: list[int]) -> int:
    """The signal that stopped a training; SIGINT if it was another thing, such as the failure of a run of a sweep."""
    return int(next((number for number in received if number), signal.SIGINT))
