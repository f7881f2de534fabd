"""Progress of long tasks: a live bar on a terminal, occasional lines elsewhere."""

import contextlib
import contextvars
import sys
import time
import warnings
from collections.abc import Callable, Iterator

from jaxrec.foreign import visible
from jaxrec.terminal import console

Advance = Callable[..., None]
_quiet = contextvars.ContextVar("quiet", default=False)
_hushed = contextvars.ContextVar("hushed", default=False)
_muted = contextvars.ContextVar("muted", default=False)


def note(line: str, *, aside: bool = False) -> None:
    """Print one line about what a stage does, on standard output; `aside` is on standard error, apart from results."""
    if not (_quiet.get() or _hushed.get() or _muted.get()):
        print(visible(line), file=sys.stderr if aside else sys.stdout, flush=True)


def warn(line: str) -> None:
    """Print a warning on standard error; where notes are hidden it is a Python warning, so that it is never lost."""
    if _muted.get():
        return
    if _quiet.get():
        warnings.warn(line, stacklevel=2)
    else:
        print(visible(f"warning: {line}"), file=sys.stderr, flush=True)


@contextlib.contextmanager
def quiet(silent: bool = True) -> Iterator[None]:
    """Hide notes and bars inside the `with` block, unless `silent` is false."""
    token = _quiet.set(_quiet.get() or silent)
    try:
        yield
    finally:
        _quiet.reset(token)


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Hide notes and bars inside the `with` block, and leave warnings as they are."""
    token = _hushed.set(True)
    try:
        yield
    finally:
        _hushed.reset(token)


@contextlib.contextmanager
def muted(silent: bool) -> Iterator[None]:
    """Hide warnings as well inside the `with` block, if `silent`: another process shows the same."""
    token = _muted.set(_muted.get() or silent)
    try:
        yield
    finally:
        _muted.reset(token)


@contextlib.contextmanager
def track(label: str, total: int, *, every_s: float = 15.0) -> Iterator[Advance]:
    """Yield `advance(steps, note="")`; the note (rates, returns) is shown after the bar.

    On a terminal this is a live bar. Elsewhere one line is printed every `every_s` seconds and one at the end, so
    that logs of batch jobs stay short.
    """
    if _quiet.get() or _hushed.get() or _muted.get():
        yield lambda steps=1, note=None: None
        return
    if not sys.stderr.isatty():
        yield from _lines(label, total, every_s)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, note="")

        def advance(steps: int = 1, note: str | None = None) -> None:
            if note is None:
                bar.update(task, advance=steps)
            else:
                bar.update(task, advance=steps, note=note)

        yield advance


def _lines(label: str, total: int, every_s: float) -> Iterator[Advance]:
    start = last = time.monotonic()
    done, said, note_now = 0, -1, ""

    def say() -> None:
        nonlocal said
        said = done
        print(
            visible(f"{label} {done}/{total} {time.monotonic() - start:.0f}s {note_now}".rstrip()),
            file=sys.stderr,
            flush=True,
        )

    def advance(steps: int = 1, note: str | None = None) -> None:
        nonlocal done, last, note_now
        done += steps
        note_now = note_now if note is None else note
        if time.monotonic() - last >= every_s:
            last = time.monotonic()
            say()

    yield advance
    if said != done:
        say()
