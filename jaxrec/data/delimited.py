"""Read CSV, TSV and other files with separators: cells stay as written, and the line of every row can be found."""

import contextlib
import csv
import functools
import io
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from jaxrec.checks import InputError
from jaxrec.data.cells import Part, Places, compute, first_line, joined_chunks
from jaxrec.data.headers import refuse_json
from jaxrec.data.layout import (
    Dialect,
    Layout,
    check_encoding,
    dialect_of,
    first_rows,
    mark_in_words,
    open_text,
    refuse_zeros,
)
from jaxrec.data.log import counted
from jaxrec.data.quotes import lines_in_words, open_quote

STRADDLING, NO_ROWS = "straddling", "Empty CSV"  # pyarrow's words for a row longer than a block, and for no row
BLOCK, LARGEST_BLOCK = 2**20, 2**30  # bytes that pyarrow reads at a time
NAMED = {"\t": "tabs", ",": "commas"}
TYPED = re.compile(r"(.+):(token|token_seq|float|float_seq)")  # RecBole's names of columns
WHOLE = r'^"([^"]|"")*"$'  # a cell in quotes
AFTER_BLANKS = r'^[ \t]+"([^"]|"")*"[ \t]*$'  # where quotes enclose cells, but only if they are its first character
INVISIBLE = "\ufeff\u200b"  # a byte order mark that was written twice, and a blank without width


def names(path: Path, layout: Layout, wanted: Sequence[str], delimiter: str) -> list[str]:
    """Read the column names: the cells of the first line, or those of the recipe for a file without a header.

    A file whose names are all written name:type, as RecBole does, has each column by both names.
    """
    del wanted
    dialect = dialect_of(path, layout, delimiter)
    refuse_json(path, next(first_rows(path, dialect), [""])[0], layout)
    return with_short_names(_written(path, dialect))


def with_short_names(written: list[str]) -> list[str]:
    """Cut outer blanks off the names, and add the names without their types if all have one."""
    written = [name.strip().strip(INVISIBLE).strip() for name in written]
    typed = [TYPED.fullmatch(name) for name in written]
    return written + [found[1] for found in typed if found] if all(typed) else written


def read(path: Path, wanted: list[str], layout: Layout, delimiter: str) -> Part:
    """Read the wanted columns; rows as wide as the header are well-formed."""
    malformed = []
    dialect = dialect_of(path, layout, delimiter)
    written = _written(path, dialect)
    known = with_short_names(written)
    place = {name: written[known.index(name) % len(written)] for name in wanted}

    def skip(row: Any) -> str:
        malformed.append(row.actual_columns)  # pyarrow calls this from several threads
        return "skip"

    def parse(file: ReadAhead, block: int) -> tuple[pa.Table, ReadAhead]:
        malformed.clear()  # of an attempt with shorter blocks
        columns = list(dict.fromkeys(place.values()))
        convert = pa_csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string()), include_columns=columns)
        options = {"parse_options": _options(dialect, skip), "read_options": _header_options(layout, block)}
        return pa_csv.read_csv(file, convert_options=convert, **options), file

    table, whole = _parsed(path, dialect, parse)
    rows = table.num_rows + len(malformed)
    header = int(not layout.format.columns)
    notes = mark_in_words(path, layout)
    if dialect.quoting:
        _check_quotes(path, dialect, rows, whole)
        if whole.lines > rows + header:
            notes += lines_in_words(path, dialect, len(written), rows, header)
    cells = {name: joined_chunks(table.column(column), name, str(path)) for name, column in place.items()}
    if whole.quotes:
        whole_cell = WHOLE if dialect.unquote else AFTER_BLANKS
        cells = {name: _unquoted(column, whole_cell) for name, column in cells.items()}
    fault, fix = "with the wrong number of cells", ""
    if malformed and not table.num_rows:
        fix = f" ({len(written)}; line {1 + header} has {malformed[0]} cells)"
    elif not dialect.quoting and whole.quotes:
        fix = layout.advice("quoting=true if quotes enclose cells that hold separators or line breaks")
    return Part(path, cells, lambda: _places(path, dialect, len(written)), len(malformed), fault, fix, tuple(notes))


def _written(path: Path, dialect: Dialect) -> list[str]:
    """Read the names as the file or the recipe has them."""
    named = list(dialect.layout.format.columns)
    if not named:
        options = _options(dialect, lambda row: "skip")
        found = _parsed(path, dialect, functools.partial(_first_names, options=options))
        refuse_zeros(path, found, dialect.layout)
        return [name[1:-1] if dialect.unquote and re.match(WHOLE, name) else name for name in found]
    first = next(first_rows(path, dialect), [])
    setting = f"{dialect.layout.setting}.columns"
    if [cell.strip() for cell in first] == named:
        raise InputError(f"{path} line 1: column names, but {setting} is for files without them; remove it.")
    if first and len(first) != len(named):
        raise InputError(
            f"{path} line 1: {counted(len(first), 'cell')}, but {setting} has {counted(len(named), 'name')}; expected "
            f"one name per cell; correct {setting}, or the separator."
        )
    return named


def _options(dialect: Dialect, handler: Any) -> pa_csv.ParseOptions:
    return pa_csv.ParseOptions(
        delimiter=dialect.delimiter,
        quote_char='"' if dialect.quoting else False,
        newlines_in_values=dialect.quoting,
        invalid_row_handler=handler,
    )


def _header_options(layout: Layout, block: int) -> pa_csv.ReadOptions:
    return pa_csv.ReadOptions(column_names=list(layout.format.columns) or None, block_size=block)


def _first_names(file: "ReadAhead", block: int, options: pa_csv.ParseOptions) -> list[str]:
    read_options = pa_csv.ReadOptions(block_size=block)
    return pa_csv.open_csv(file, read_options=read_options, parse_options=options).schema.names


def _parsed(path: Path, dialect: Dialect, read: Callable[["ReadAhead", int], Any]) -> Any:
    """Run a pyarrow reader; its errors become one line with the file and, if known, the line.

    A row must fit into a block, and blocks are short, since that is fast. Where a row does not fit, the file is read
    once more, in blocks that hold any line that a file may have.
    """
    longest = int(min(max(dialect.layout.limits.line, BLOCK), LARGEST_BLOCK))
    said, quotes = STRADDLING, 0
    for block in (BLOCK, longest):
        if STRADDLING not in said:
            break
        with open_text(path, dialect) as file, ReadAhead(file) as ahead, _undecodable_rows():
            try:
                return read(ahead, block)
            except (pa.ArrowInvalid, UnicodeError) as error:
                said, quotes = first_line(error), ahead.quotes
    check_encoding(path, dialect.layout)
    kind = {"\t": "TSV", ",": "CSV"}.get(dialect.separator, "text")
    separator = NAMED.get(dialect.separator, repr(dialect.separator))
    mend = dialect.layout.advice("quoting=false if quotes are a part of the text") if dialect.quoting and quotes else ""
    raise InputError(
        f"{path}: not a readable {kind} file: {_in_words(said, path, dialect, longest)}; expected a header line, rows "
        f"below it, {separator} between cells and closed quotes{mend}."
    )


def _in_words(said: str, path: Path, dialect: Dialect, longest: int) -> str:
    """Say what an error of pyarrow means to the owner of the file."""
    if STRADDLING in said:
        why = f"the quote{open_quote(path, dialect)} is never closed" if dialect.quoting else "line breaks are missing"
        return f"a row of more than {longest / 2**20:,.0f} MB, most likely because {why}"
    if NO_ROWS in said:
        return "nothing below the header" if next(first_rows(path, dialect), None) else "it is empty"
    return said


@contextlib.contextmanager
def _undecodable_rows() -> Iterator[None]:
    """Keep pyarrow from printing a traceback.

    It decodes each malformed row for the handler of such rows. Where it cannot, it prints the reason and then raises
    an error, which we report.
    """
    before = sys.unraisablehook

    def hook(found: Any) -> None:
        if not isinstance(found.exc_value, UnicodeDecodeError):
            before(found)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


class ReadAhead(io.RawIOBase):
    """A file that pyarrow reads ahead, in a thread that may outlive the reader.

    Closing waits for that thread. Otherwise the system gives the number of the closed file to the next one that is
    opened, and the thread takes a block out of that one. Lines and quotes are counted on the way, since unpacking a
    file twice would take twice as long.
    """

    def __init__(self, file: Any):
        self.file, self.breaks, self.quotes, self.end = file, 0, 0, b"\n"
        self.reading = threading.Lock()

    @property
    def lines(self) -> int:
        """Lines so far; the last one may lack its line break."""
        return self.breaks + (self.end != b"\n")

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Give the next bytes; nothing once it is closed."""
        with self.reading:
            chunk = b"" if self.closed else self.file.read(size)
            self.breaks, self.quotes = self.breaks + chunk.count(b"\n"), self.quotes + chunk.count(b'"')
            self.end = chunk[-1:] or self.end
            return chunk

    def close(self) -> None:
        """Close it after the read that is going on, if there is one."""
        with self.reading:
            super().close()


def _check_quotes(path: Path, dialect: Dialect, rows: int, whole: ReadAhead) -> None:
    """Raise InputError if an unclosed quote has swallowed rows; cells of several lines are fine."""
    header = not dialect.layout.format.columns
    if whole.quotes % 2 and whole.lines > rows + header:
        raise InputError(
            f"{path}: {counted(whole.lines, 'line')} hold only {counted(rows, 'row')} and an odd number of quotes; "
            f"close the open quote{open_quote(path, dialect)}, or double a quote inside a cell"
            f"{dialect.layout.advice('quoting=false if quotes are a part of the text')}."
        )


def _unquoted(cells: pa.Array, pattern: str) -> pa.Array:
    """Take off the quotes around whole cells that have the pattern."""
    whole = compute.match_substring_regex(cells, pattern)
    if not compute.any(whole).as_py():
        return cells
    quoted = compute.utf8_trim_whitespace(cells)
    inner = compute.replace_substring(compute.utf8_slice_codeunits(quoted, 1, -1), '""', '"')
    return compute.if_else(whole, inner, cells)


def _places(path: Path, dialect: Dialect, width: int) -> Places:
    """Find the line of every row; a second, slow pass over the file."""
    good, malformed, last = [], [], 0
    header = not dialect.layout.format.columns
    # Where csv cannot follow pyarrow (a cell of more than 128 kB), later rows stay without a number.
    with open_text(path, dialect) as raw, contextlib.suppress(csv.Error):
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace", newline="")
        reader = dialect.rows(text)
        for row in reader:
            line, last = last + 1, reader.line_num
            if row and header:
                header = False
            elif row:
                (good if len(row) == width else malformed).append(line)
    return Places(good, malformed)
