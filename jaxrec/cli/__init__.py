"""The command line; heavy imports wait until a command runs."""

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from jaxrec.checks import InputError
from jaxrec.cli.faults import REPORT, TRACEBACK, fault_line, report_in_background
from jaxrec.cli.parser import parse
from jaxrec.runs.stopping import whole_program
from jaxrec.terminal import safe_output, silence
from jaxrec.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its status.

    0: done. 1: a defect of ours (a traceback). 2: bad input, or the system failed (one line on stderr).
    130: SIGINT. 143: SIGTERM, as a scheduler sends it. `--resume` continues in both cases.
    """
    if arguments is None:  # as a program
        sys.excepthook = sys.unraisablehook = report_in_background
    alone = whole_program() if arguments is None else contextlib.nullcontext()  # else part of another program
    with safe_output() as output, alone:
        status, failed = _run(arguments)
        output.flush()
        if output.lost is not None and not isinstance(output.lost, BrokenPipeError):
            # Who leaves has seen enough. A full disk has not.
            print(f"jaxrec: standard output: {fault_line(output.lost)}", file=sys.stderr)
            status = status or 2
        sys.stderr.flush()
        if status and arguments is None:  # libraries that close down have nothing to add
            silence(2)
        if failed and "jax" in sys.modules:
            _leave_others(status)
        return status


def _run(arguments: Sequence[str] | None) -> tuple[int, bool]:
    """The status, and whether an error ended the command."""
    try:
        options = parse(arguments)
        module, function = options.command
        return getattr(importlib.import_module(f"jaxrec.cli.{module}"), function)(options), False
    except InputError as error:
        _refuse(error)
        return 2, True
    except KeyboardInterrupt:
        print("jaxrec: stopped; nothing is half-written.", file=sys.stderr)
        return 130, True
    except Exception as error:
        line = fault_line(error)
        if line is None or os.environ.get(TRACEBACK):
            traceback.print_exc()
        message = line or REPORT.format(version=__version__)
        print(f"jaxrec: {message}", file=sys.stderr)
        return (2 if line else 1), True


def _refuse(error: InputError) -> None:
    """Print what is wrong; with several processes, the one that found it and the first one do."""
    line = " ".join(str(error).split())
    if "jax" in sys.modules:
        from jaxrec import processes

        if isinstance(error, processes.Elsewhere) and not processes.is_first():
            return
    print(f"jaxrec: {line}", file=sys.stderr)


def _leave_others(status: int) -> None:
    """End a process that failed, without the closing of JAX, which waits for processes that may be lost."""
    from jaxrec import processes

    if processes.count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        processes.take_leave()
        os._exit(status)
