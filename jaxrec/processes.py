"""Several processes that train together: how they find each other, who writes, and how they agree.

The devices of all processes form one mesh (`jax.distributed`). Every process runs the same program on its own part of
the users and the replay. The first process alone writes the run folder and prints. What it alone decides or computes
reaches the others through the key-value store of JAX's coordination service, not through the devices: a collective
would give up after seconds of waiting for a process that reads a log. With one process, only `join` does anything: it
checks its arguments.
"""

import contextlib
import itertools
import json
import math
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np
from jax._src import distributed  # the store has no public name; Orbax reads it in the same way

from jaxrec.checks import InputError, check_range
from jaxrec.foreign import quoted

JOIN_SECONDS, LONGEST_JOIN = 300.0, 1e6
ANSWER_SECONDS = 3.0  # how long the first process waits for the signals of another one, and for all to end
HEARTBEAT_SECONDS = 30  # without a sign of life, after which a process counts as dead
COORDINATOR, PROCESSES, PROCESS = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
KEPT = 100  # the latest agreements, whose keys are kept for processes that have not read them yet
T = TypeVar("T")
_turns: Iterator[int] = itertools.count()


class Elsewhere(InputError):
    """Another process failed, and has reported it."""


def count() -> int:
    """The number of processes."""
    return jax.process_count() if jax.distributed.is_initialized() else 1


def number() -> int:
    """The number of this process, from 0."""
    return jax.process_index() if jax.distributed.is_initialized() else 0


def is_first() -> bool:
    """Whether this process writes and prints."""
    return number() == 0


def join(coordinator: str = "", processes: str = "", process: str = "", seconds: float = JOIN_SECONDS) -> None:
    """Join the other processes, if the arguments or the environment say that there are any.

    Arguments come first, then JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID. With `processes` "auto",
    JAX asks Slurm, Open MPI, a TPU slice or Kubernetes. Without it their tasks are independent of each other. Raises
    InputError for contradictions. If the others do not come within `seconds`, the process ends with a line.
    """
    check_range("--join-seconds", seconds, 0, LONGEST_JOIN, open_low=True)
    given = {
        COORDINATOR: coordinator or os.environ.get(COORDINATOR, ""),
        PROCESSES: processes or os.environ.get(PROCESSES, ""),
        PROCESS: process or os.environ.get(PROCESS, ""),
    }
    if jax.distributed.is_initialized():  # by the program that called us, such as a Ray worker
        return
    if given[PROCESSES] == "auto":
        _initialize({}, seconds)
    elif any(given.values()):
        _initialize(_checked(given), seconds)


def _checked(given: dict[str, str]) -> dict[str, Any]:
    """Arguments of `jax.distributed.initialize`; {} for one process."""
    address, processes, process = given.values()
    whole = processes.isdecimal() and int(processes) > 0 and (process or "0").isdecimal()
    if whole and int(processes) == 1 and int(process or 0) == 0:
        return {"num_processes": 1}
    if not (whole and process and address):
        raise InputError(
            "--coordinator, --processes, --process: expected HOST:PORT of the first process, the number of processes "
            f"and the number of this one, got {quoted(address)}, {quoted(processes)} and {quoted(process)}; give all "
            f"three, or --processes auto (environment: {COORDINATOR}, {PROCESSES}, {PROCESS})."
        )
    if int(process) >= int(processes):
        raise InputError(f"--process: expected 0 to {int(processes) - 1}, got {process}.")
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"--coordinator: expected HOST:PORT, got {quoted(address)}.")
    return {"coordinator_address": address, "num_processes": int(processes), "process_id": int(process)}


def _initialize(found: dict[str, Any], seconds: float) -> None:
    if found == {"num_processes": 1}:
        return
    # JAX's own handler of SIGTERM would replace ours.
    jax.config.update("jax_enable_preemption_service", False)
    address = found.get("coordinator_address", "")
    # JAX aborts when its own time is over, without a line that a person could read.
    late = threading.Timer(seconds, _give_up, (address, found.get("process_id", 0), seconds))
    late.daemon = True
    late.start()
    try:
        jax.distributed.initialize(
            **found, initialization_timeout=int(seconds) + 60, heartbeat_timeout_seconds=HEARTBEAT_SECONDS
        )
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"the processes of this training cannot join ({reason}); give --coordinator HOST:PORT, --processes and "
            "--process."
        ) from None
    finally:
        late.cancel()


def _give_up(address: str, process: int, seconds: float) -> None:
    """End the process, with a line about what did not come."""
    if process and address and not _answers(address):
        what = f"the coordinator {address} does not answer"
        mend = "check --coordinator, and that process 0 runs and no firewall is in between"
    else:
        what = "not all processes have joined"
        mend = "start the others, with the same --coordinator and --processes"
    print(f"jaxrec: process {process}: {what} after {seconds:g} s (--join-seconds); {mend}.", file=sys.stderr)
    sys.stderr.flush()
    os._exit(2)  # the main thread is in a call that nothing interrupts


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError:
        return False
    return True


def from_first(work: Callable[[], T]) -> T:
    """Run `work` in the first process; its result, which is plain data, in all of them. All fail if it fails."""
    if count() == 1:
        return work()
    key = _next_key()
    if not is_first():
        answer = json.loads(_wait(key))
        if "failed" in answer:
            raise Elsewhere(f"process 0: {answer['failed']}")
        return answer["value"]
    try:
        value = work()
        answer = json.dumps({"value": value})
    except BaseException as error:
        _set(key, json.dumps({"failed": _line(error)}))
        raise
    _set(key, answer)
    return value


def together(work: Callable[[], T]) -> T:
    """Run `work` in every process; all fail if it fails in one."""
    if count() == 1:
        return work()
    key, mine = _next_key(), number()
    try:
        result = work()
    except BaseException as error:
        _set(f"{key}/{mine}", _line(error))
        raise
    _set(f"{key}/{mine}", "")
    for other in range(count()):
        if other != mine and (failed := _wait(f"{key}/{other}")):
            raise Elsewhere(f"process {other}: {failed}")
    return result


def in_turn(work: Callable[[], T]) -> T:
    """Run `work` in the first process, which writes what is missing, and then in the others, which find it there."""
    done: list[T] = []
    from_first(lambda: done.append(work()))
    return together(lambda: done[0] if done else work())


def agreed_stop(received: list[int]) -> list[int]:
    """The signals that stop the training of all processes: that of any of them, from the same update on.

    The first process asks the others. It goes on without one that does not answer within seconds, since the next
    collective tells a process that is lost from one that is late, whose signal is then heard a call later.
    """
    if count() == 1:
        return received
    key, mine = _next_key(), str(received[0]) if received else ""
    if not is_first():
        _set(f"{key}/{number()}", mine)

    def ask() -> list[int]:
        said = [mine, *(_wait(f"{key}/{other}", ANSWER_SECONDS) for other in range(1, count()))]
        return [int(value) for value in said if value]

    return from_first(ask)


def take_leave() -> None:
    """Say that this process is about to end by an error; the first one waits some seconds for the others to say so.

    The store ends with the first process, and JAX aborts those that still use it.
    """
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        if not is_first():
            _set(f"jaxrec-left/{number()}", "left")
            return
        end = time.monotonic() + ANSWER_SECONDS
        for other in range(1, count()):
            _wait(f"jaxrec-left/{other}", end - time.monotonic())


def local(tree: Any) -> Any:
    """Arrays that every process has whole, for computations of this process alone."""
    return tree if count() == 1 else jax.tree.map(np.asarray, tree)


def _client() -> Any:
    return distributed.global_state.client


def _next_key() -> str:
    """The key of the next agreement, which is the same in all processes; old ones go."""
    turn = next(_turns)
    if is_first() and turn >= KEPT:
        _client().key_value_delete(f"jaxrec/{turn - KEPT}")
    return f"jaxrec/{turn}"


def _set(key: str, value: str) -> None:
    _client().key_value_set(key, value, allow_overwrite=True)


def _wait(key: str, seconds: float = math.inf) -> str:
    """The value of a key, or "" after `seconds`. If its process dies, the coordination service ends this one too."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            return _client().blocking_key_value_get(key, 1000)  # short, so that signals are heard
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
    return ""


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
