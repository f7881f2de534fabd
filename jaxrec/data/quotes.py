"""Cells of several lines: texts with line breaks, or rows that an unclosed quote has swallowed."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jaxrec.checks import InputError
from jaxrec.data.layout import Dialect, open_text
from jaxrec.data.log import counted

DATUM = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|\d{4}-\d\d-\d\d([ T].*)?|true|false", re.IGNORECASE)
LONG, EXAMPLES = 5, 3  # lines of a cell that the account names; how many of them


class Record(NamedTuple):
    """One row as the file has it."""

    line: int  # its first line, from 1
    cells: list[str] | None  # None: a cell is too long for Python to read
    lines: list[str]  # as written


def lines_in_words(path: Path, dialect: Dialect, width: int, rows: int, header: int) -> list[str]:
    """Reconcile the lines of a file with its rows, for the account.

    Raises InputError if lines inside of a cell look like rows of the file: then a quote was not closed.
    """
    empty, inside, long, example = 0, 0, [], None
    for record in _records(path, dialect):
        if record.cells == []:
            empty += len(record.lines)
            continue
        more = len(record.lines) - 1
        if more:
            swallowed = _rows_in(record, dialect, width, example)
            if swallowed:
                raise InputError(
                    f"{path} line {record.line}: a quote opens a cell that goes on to line {record.line + more}, over "
                    f"{counted(swallowed, 'line')} that look{'s' * (swallowed == 1)} like rows; close or double the "
                    f"quote{dialect.layout.advice('quoting=false if quotes are a part of the text')}."
                )
            inside += more
            long += [f"{more + 1} lines from line {record.line}"] * (more + 1 >= LONG)
            if record.cells is None:
                return [f"{path.name}: a cell of more than 128 kB in line {record.line}; lines are not counted"]
        elif record.line > header and record.cells is not None and len(record.cells) == width:
            example = example or record.cells
    total = rows + header + empty + inside
    parts = [
        *(["1 of column names"] if header else []),
        counted(rows, "row"),
        *([f"{empty:,} empty"] if empty else []),
        *([f"{inside:,} inside cells of several lines"] if inside else []),
    ]
    longest = f"; the longest cells: {', '.join(long[:EXAMPLES])}" if long else ""
    return [f"{path.name}: {counted(total, 'line')}: {', '.join(parts)}{longest}"]


def open_quote(path: Path, dialect: Dialect) -> str:
    """Say in which line the cell begins that no quote closes: ' of line 5'."""
    last = None
    for record in _records(path, dialect):
        last = record if len(record.lines) > 1 else last
    if last is None:
        return ""
    return f" of line {last.line}" if last.cells else f" in line {last.line}, in a cell of more than 128 kB"


def _records(path: Path, dialect: Dialect) -> Iterator[Record]:
    lines: list[str] = []

    def kept(text: Any) -> Iterator[str]:
        for line in text:
            lines.append(line)
            yield line

    start = 1
    with open_text(path, dialect) as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace", newline="")
        reader = dialect.rows(kept(text))
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:  # a cell of more than 128 kB: the rest cannot be followed
                yield Record(start, None, [*lines])
                return
            yield Record(start, cells, [*lines])
            start += len(lines)
            lines.clear()


def _rows_in(record: Record, dialect: Dialect, width: int, example: list[str] | None) -> int:
    """Count further lines of a row that are rows themselves, if quotes are a part of the text.

    They have as many cells as the file has columns, and numbers where a row of the file has numbers.
    """
    if record.lines[0].count(dialect.delimiter) < width - 1:
        return 0
    numeric = [n for n, cell in enumerate(example or []) if DATUM.fullmatch(cell.strip())]

    def alike(line: str) -> bool:
        cells = line.rstrip("\r\n").split(dialect.delimiter)
        if len(cells) != width:
            return False
        shown = [cell for n in numeric if (cell := cells[n].strip(' "'))]
        return all(map(DATUM.fullmatch, shown)) and bool(shown or not numeric)

    found = sum(map(alike, record.lines[1:]))
    return found if numeric or found == len(record.lines) - 1 else 0
