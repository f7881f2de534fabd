"""Read CSV and TSV: cells stay as written, and the line of every row can be found."""

import contextlib
import csv
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from jaxrec.checks import InputError
from jaxrec.data.cells import Part, Places, check_utf8, first_line, open_bytes
from jaxrec.data.log import counted

IN_WORDS = {  # what pyarrow says, and what it means to the owner of the file
    "straddling": "a row of more than 1 MB, most likely after a quote that is never closed",
    "Empty CSV": "nothing below the header",
}


def names(path: Path, delimiter: str) -> list[str]:
    """Read the column names: the cells of the first line."""

    def read(file: Any) -> list[str]:
        return pa_csv.open_csv(file, parse_options=_options(delimiter, lambda row: "skip")).schema.names

    return _parsed(path, delimiter, read)


def read(path: Path, wanted: list[str], delimiter: str) -> Part:
    """Read the wanted columns of a UTF-8 file; rows as wide as the header are well-formed."""
    malformed = []

    def skip(row: Any) -> str:
        malformed.append(row.actual_columns)  # pyarrow calls this from several threads
        return "skip"

    def parse(file: Any) -> tuple[pa.Table, _Counted]:
        convert = pa_csv.ConvertOptions(column_types=dict.fromkeys(wanted, pa.string()), include_columns=wanted)
        whole = _Counted(file)
        return pa_csv.read_csv(whole, parse_options=_options(delimiter, skip), convert_options=convert), whole

    table, whole = _parsed(path, delimiter, parse)
    _check_quotes(path, table.num_rows + len(malformed), whole.lines, whole.quotes)
    cells = {name: table.column(name).combine_chunks() for name in wanted}
    fault = "with the wrong number of cells"
    return Part(path, cells, lambda: _places(path, delimiter), len(malformed), fault)


def _options(delimiter: str, handler: Any) -> pa_csv.ParseOptions:
    return pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=handler)


def _parsed(path: Path, delimiter: str, read: Any) -> Any:
    """Run a pyarrow reader; its errors become one line with the file and, if known, the line."""
    try:
        with open_bytes(path) as file:
            return read(file)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        said = first_line(error)
    check_utf8(path)
    message = next((words for part, words in IN_WORDS.items() if part in said), said)
    kind, separator = ("TSV", "tabs") if delimiter == "\t" else ("CSV", "commas")
    raise InputError(
        f"{path}: not a readable {kind} file: {message}; expected a header line, rows below it, {separator} between "
        "cells and closed quotes."
    )


class _Counted(io.RawIOBase):
    """A file that counts lines and quotes while pyarrow reads it, since unpacking it twice would take twice as long."""

    def __init__(self, file: Any):
        self.file, self.lines, self.quotes = file, 0, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        chunk = self.file.read(size)
        self.lines, self.quotes = self.lines + chunk.count(b"\n"), self.quotes + chunk.count(b'"')
        return chunk


def _check_quotes(path: Path, rows: int, lines: int, quotes: int) -> None:
    """Raise InputError if an unclosed quote has swallowed rows; cells of several lines are fine."""
    if quotes % 2 and lines > rows + 1:
        raise InputError(
            f"{path}: {counted(lines, 'line')} hold only {counted(rows, 'row')} and an odd number of quotes; "
            "close the open quote, or double a quote inside a cell."
        )


def _places(path: Path, delimiter: str) -> Places:
    """Find the line of every row; a second, slow pass over the file."""
    good, malformed, width, last = [], [], None, 0
    # Where csv cannot follow pyarrow (a cell of more than 128 kB), later rows stay without a number.
    with open_bytes(path) as raw, contextlib.suppress(csv.Error):
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace", newline="")
        reader = csv.reader(text, delimiter=delimiter)
        for row in reader:
            line, last = last + 1, reader.line_num
            if row and width is None:
                width = len(row)
            elif row:
                (good if len(row) == width else malformed).append(line)
    return Places(good, malformed)
