"""How one file of text is written: its encoding, its separator and whether quotes enclose cells."""

import codecs
import contextlib
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from jaxrec.checks import InputError
from jaxrec.config.files import TableFormat
from jaxrec.data.cells import check_utf8, first_line
from jaxrec.data.unpacked import Limits, open_bytes

MARKS = {  # the first bytes of a file and the encoding that they mean; the longer ones first
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
LATIN = ("iso8859-1", "iso8859-15", "cp1252")  # in which any text of UTF-8 can be read
STAND_IN = "\x1f"  # read in place of a separator of several bytes, since pyarrow takes one


class Layout(NamedTuple):
    """What the recipe says of a table."""

    format: TableFormat = TableFormat()
    setting: str = ""  # the section of the recipe: data.files.log; empty: no setting changes this table
    joined: frozenset[str] = frozenset()  # columns whose lists become 'one, two'; elsewhere lists are refused
    exact: frozenset[str] = frozenset()  # columns of ids and times, of which no digit may be lost

    @property
    def limits(self) -> Limits:
        """How long its lines may be, and how large it may become when it is unpacked."""
        return Limits(self.format.max_line * 2**20, self.format.max_unpacked, self.setting)

    def advice(self, text: str) -> str:
        """Give '; set data.files.log.TEXT', or nothing where no setting helps."""
        return f"; set {self.setting}.{text}" if self.setting else ""


PLAIN = Layout()


class Dialect(NamedTuple):
    """How to read one file with separators."""

    layout: Layout
    encoding: str  # of the bytes
    delimiter: str  # one character, after `open_text`
    separator: str  # as in the file
    quoting: bool
    unquote: bool  # take off quotes around whole cells, which never go past their line

    def rows(self, text: Any) -> Any:
        """Iterate over rows of cells; its `line_num` is the last line that was read."""
        quoting = csv.QUOTE_MINIMAL if self.quoting else csv.QUOTE_NONE
        return csv.reader(text, delimiter=self.delimiter, quoting=quoting)


def encoding_of(path: Path, layout: Layout) -> str:
    """Find the encoding of a file: a byte order mark comes before the setting, which comes before UTF-8."""
    with open_bytes(path) as file:
        start = bytes(file.read(4))
    marked = (encoding for mark, encoding in MARKS.items() if start.startswith(mark))
    return next(marked, layout.format.encoding or "utf-8")


def dialect_of(path: Path, layout: Layout, delimiter: str) -> Dialect:
    """Find how a file is written; `delimiter` is that of its ending.

    Quotes enclose cells in CSV. In files with tabs a quote is most often a part of the text, and there they enclose
    cells only if all names of the header are quoted, or if the recipe says so.
    """
    separator = layout.format.delimiter or delimiter
    read_as = separator if len(separator.encode()) == 1 else STAND_IN
    encoding = encoding_of(path, layout)
    dialect = Dialect(layout, encoding, read_as, separator, False, layout.format.quoting is None)
    quoting = layout.format.quoting
    if quoting is None and read_as != STAND_IN:
        quoting = separator != "\t" or all(map(_quoted, next(first_rows(path, dialect), [""])))
    return dialect._replace(quoting=bool(quoting), unquote=dialect.unquote and not quoting)


def first_rows(path: Path, dialect: Dialect) -> Iterator[list[str]]:
    """Read rows from the start of a file, as far as they can be decoded."""
    try:
        with open_text(path, dialect) as file:
            start = file.read(2**16)
    except UnicodeError:
        check_encoding(path, dialect.layout)
        raise
    head = io.TextIOWrapper(io.BytesIO(start), "utf-8-sig", errors="replace", newline="")
    with contextlib.suppress(csv.Error):  # a cell that is too long
        yield from (row for row in dialect.rows(head) if row)


def open_text(path: Path, dialect: Dialect) -> Any:
    """Open a file for reading as UTF-8 bytes with a separator of one byte."""
    file = utf8_bytes(path, dialect.layout)
    if dialect.delimiter != STAND_IN:
        return file
    return _Replaced(file, dialect.separator.encode(), STAND_IN.encode())


def utf8_bytes(path: Path, layout: Layout, limits: Limits | None = None) -> Any:
    """Open a file of any encoding for reading bytes of UTF-8; `limits` replace those of the layout."""
    encoding, file = encoding_of(path, layout), open_bytes(path, limits or layout.limits)
    if _is_utf8(encoding):
        return file
    return pa.transcoding_input_stream(pa.PythonFile(file, mode="r"), encoding, "utf-8")


def check_encoding(path: Path, layout: Layout) -> None:
    """Raise InputError if the file is not text in its encoding."""
    encoding = encoding_of(path, layout)
    if _is_utf8(encoding):
        check_utf8(path, layout.limits)
        return
    try:
        with open_bytes(path, layout.limits) as raw:
            for _ in codecs.iterdecode(iter(lambda: raw.read(2**20), b""), encoding):
                pass
    except UnicodeError as error:
        reason = f"{encoding.upper()} text ({first_line(error)})"
        raise InputError(f"{path}: not {reason}{layout.advice('encoding to what it is')}.") from None


def check_not_garbled(path: Path, layout: Layout) -> None:
    """Raise InputError if text that the recipe says to be Latin is UTF-8: it would be read, and be wrong.

    Bytes beyond ASCII are UTF-8 by chance in hardly any file of Latin.
    """
    encoding = encoding_of(path, layout)
    if encoding in MARKS.values() or codecs.lookup(encoding).name not in LATIN:
        return
    ascii_only = True
    try:
        with open_bytes(path, layout.limits) as raw:
            for text in codecs.iterdecode(iter(lambda: raw.read(2**20), b""), "utf-8"):
                ascii_only = ascii_only and text.isascii()
    except UnicodeDecodeError:
        return
    if not ascii_only:
        raise InputError(
            f"{path}: is UTF-8 text, which {layout.setting}.encoding={encoding} would garble; set "
            f"{layout.setting}.encoding=utf-8."
        )


def mark_in_words(path: Path, layout: Layout) -> list[str]:
    """Say in the account that a byte order mark decided how a file is read."""
    encoding = encoding_of(path, layout)
    if encoding not in MARKS.values() or encoding == layout.format.encoding:
        return []
    return [f"{path.name}: read as {encoding.removesuffix('-sig').upper()}, as its byte order mark says"]


def refuse_zeros(path: Path, names: list[str], layout: Layout) -> None:
    """Raise InputError for names with zero bytes, which UTF-16 without a mark has."""
    if any("\0" in name for name in names):
        mend = layout.advice("encoding=utf-16-le (or utf-16-be)") or "; save the file as UTF-8"
        raise InputError(f"{path} line 1: not UTF-8 text but bytes of zero, most likely UTF-16{mend}.")


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "ascii")


def _quoted(name: str) -> bool:
    return len(name) > 1 and name[0] == name[-1] == '"'


class _Replaced(io.RawIOBase):
    """A file in which a byte sequence is replaced while it is read."""

    def __init__(self, file: Any, old: bytes, new: bytes):
        self.file, self.old, self.new = file, old, new

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        chunk = self.file.read(size)
        starts = tuple(self.old[:n] for n in range(1, len(self.old)))
        while chunk.endswith(starts) and (more := self.file.read(1)):  # a sequence must not be cut in two
            chunk += more
        return chunk.replace(self.old, self.new)

    def close(self) -> None:
        self.file.close()
        super().close()
