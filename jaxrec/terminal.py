"""What is printed: one sanitiser for text of others, terminals of any encoding, and readers that go away.

The command line prints inside `safe_output()`. Tables of rich are made by `console()`, since rich writes escape
sequences of its own.
"""

import codecs
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxrec.foreign import escaped, visible

UNPRINTABLE = "jaxrec_escape"  # the handler of characters that the encoding of a terminal lacks


class Output:
    """A stream whose reader may go away, or whose disk may be full: then what is printed is dropped, and work goes on.

    `lost` is the error that ended it, if any.
    """

    def __init__(self, stream: Any):
        """Wrap a text stream such as sys.stdout."""
        self._stream = stream
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        """Write text as it is."""
        with self._kept():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        with self._kept():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.lost = self.lost or error
            with contextlib.suppress(OSError, ValueError):  # what is still in the buffer goes there too
                silence(self._stream.fileno())


class SafeOutput(Output):
    """The same for text that may be of others: control characters are replaced by their escapes."""

    def __init__(self, stream: Any):
        """Wrap a text stream such as sys.stdout."""
        super().__init__(Output(stream))

    @property
    def rich_proxied_file(self) -> Output:
        """Where rich writes, whose consoles look for it: tables have escape sequences of their own."""
        return self._stream

    def write(self, text: str) -> int:
        """Write visible characters; a carriage return at the beginning redraws a bar of a library."""
        start = "\r" * (len(text) - len(text.lstrip("\r")))
        self._stream.write(start + visible(text[len(start) :]))
        return len(text)


@contextlib.contextmanager
def safe_output() -> Iterator[Output]:
    """Make sys.stdout and sys.stderr safe inside the `with` block; yields the former, which knows whether it was lost.

    Streams that were closed by whoever started us are opened on nothing: else the next file that is opened would get
    their number, and messages of libraries would be written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, this one
    codecs.register_error(UNPRINTABLE, _escape)
    before = sys.stdout, sys.stderr
    for stream in before:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=UNPRINTABLE)  # type: ignore[union-attr]
    with Path(os.devnull).open("w") as nothing:  # for streams that are not there at all
        sys.stdout, sys.stderr = output, errors = SafeOutput(before[0] or nothing), SafeOutput(before[1] or nothing)
        try:
            yield output._stream
        finally:
            output.flush()
            errors.flush()
            sys.stdout, sys.stderr = before


def console(*, stderr: bool = False, **options: Any) -> Any:
    """A console of rich for text that may be of others."""
    from rich.console import Console  # takes a while to import
    from rich.text import Span, Text

    def safe(text: Text) -> Text:
        """The visible text, with the styles at the same places."""
        before = text.plain
        spans = [Span(len(visible(before[: s.start])), len(visible(before[: s.end])), s.style) for s in text.spans]
        return Text(visible(before), style=text.style, end=text.end, spans=spans)

    class SafeConsole(Console):
        def render_str(self, text: str, **options: Any) -> Text:  # type: ignore[override]
            return super().render_str(visible(text), **options)

        def render(self, renderable: Any, options: Any = None) -> Any:
            if isinstance(renderable, Text) and visible(renderable.plain) != renderable.plain:
                renderable = safe(renderable)
            return super().render(renderable, options)

        def on_broken_pipe(self) -> None:
            self.quiet = True

    return SafeConsole(stderr=stderr, **options)


def silence(number: int) -> None:
    """Send what is written to the file of this number to nowhere."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, number)
    os.close(nothing)


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Replace what cannot be encoded by escapes, which are also those of JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return escaped(error.object[error.start : error.end]), error.end
