"""CSV tables as columns of text: cells arrive as written, every fault can be named by file and line."""

import contextlib
import csv
import dataclasses
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as pa_csv

from jaxrec.checks import InputError, suggest
from jaxrec.data.log import counted

compute: Any = pyarrow.compute  # its functions are made at import, where type checkers do not see them
EXAMPLES = 3  # faulty lines quoted for each reason
IN_WORDS = {  # what pyarrow says, and what it means to the owner of the file
    "straddling": "a row of more than 1 MB, most likely behind a quote that is never closed",
    "Empty CSV": "nothing below the header",
}


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of one CSV file, R well-formed rows; `malformed` more rows had the wrong number of cells."""

    path: Path
    cells: Mapping[str, pa.Array]  # [R] text, outer blanks cut
    malformed: int

    def __len__(self) -> int:
        return len(next(iter(self.cells.values())))


class Fault(NamedTuple):
    """Rows that cannot be read for one reason."""

    reason: str  # 'a missing item'
    column: str
    rows: np.ndarray  # [R] bool


class Lines(NamedTuple):
    """Line numbers in the file, where a row may take several lines."""

    good: list[int]  # of the well-formed rows
    malformed: list[int]

    def of(self, row: int) -> str:
        """'line N' of a well-formed row."""
        return f"line {self.good[row]}" if row < len(self.good) else "a later line"


def data_folder(path: str) -> Path:
    """Give the folder `data.path` names, or raise InputError."""
    folder = Path(path).expanduser()
    if not path or not folder.is_dir():
        got = f"{folder} is no folder" if path else "it is empty"
        raise InputError(f"data.path: {got}; set it to the folder that holds the log.")
    return folder


def header(path: Path, setting: str) -> list[str]:
    """Column names of the CSV file that `setting` names."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder, wanted a CSV file; correct {setting}.")
    if not path.is_file():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise InputError(f"{path}: no such file{suggest(path.name, beside)}; correct {setting} or add the file.")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty, wanted a CSV file with a header line and rows.")
    options = pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda row: "skip")
    names = _parsed(path, lambda: pa_csv.open_csv(path, parse_options=options).schema.names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: column {twice[0]!r} stands twice in the header; rename one of them.")
    return names


def check_columns(path: Path, names: Sequence[str], wanted: Mapping[str, str]) -> None:
    """Raise unless all `wanted` columns exist; its keys say which setting asks for each."""
    for key, column in wanted.items():
        if column not in names:
            raise InputError(
                f"{path}: no column {column!r} (wanted by {key}){suggest(column, names)}; correct {key} or "
                f"the header (columns: {', '.join(names)})."
            )


def read_table(path: Path, columns: Iterable[str]) -> Table:
    """Read the named columns of a comma-separated UTF-8 file, as text; raise InputError if it has no rows."""
    wanted, malformed = list(dict.fromkeys(columns)), []

    def skip(row: Any) -> str:
        malformed.append(row.actual_columns)  # pyarrow calls this from several threads
        return "skip"

    def read() -> pa.Table:
        return pa_csv.read_csv(
            path,
            parse_options=pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(wanted, pa.string()), include_columns=wanted
            ),
        )

    table = _parsed(path, read)
    _check_quotes(path, table.num_rows + len(malformed))
    if not table.num_rows:
        rows = f"{counted(len(malformed), 'row')}, none as wide as the header" if malformed else "only a header"
        raise InputError(f"{path}: {rows}; wanted rows of as many cells as the header names.")
    cells = {name: compute.utf8_trim_whitespace(table.column(name).combine_chunks()) for name in wanted}
    return Table(path=path, cells=cells, malformed=len(malformed))


def drop_faulty(table: Table, faults: Sequence[Fault], allowed_share: float) -> tuple[np.ndarray, list[str]]:
    """Rows that can be read, [R] bool, and lines of account for the others.

    Raises InputError with file, lines and cells when more than `allowed_share` of all rows cannot be read.
    The account quotes no cells, since it is kept and they may hold user ids.
    """
    keep = np.ones(len(table), bool)
    if not table.malformed and not any(fault.rows.any() for fault in faults):
        return keep, []
    lines, account, quoted = _lines(table.path), [], []
    if table.malformed:
        where = ", ".join(f"line {number}" for number in lines.malformed[:EXAMPLES])
        account.append(f"{counted(table.malformed, 'row')} with the wrong number of cells ({where})")
        quoted.append(account[-1])
    for fault in faults:
        rows = np.flatnonzero(fault.rows & keep)
        keep[rows] = False
        if len(rows):
            what = f"{counted(len(rows), 'row')} with {fault.reason}"
            places = {lines.of(row): table.cells[fault.column][int(row)].as_py() for row in rows[:EXAMPLES]}
            account.append(f"{what} ({', '.join(places)})")
            quoted.append(f"{what} ({', '.join(f'{line}: {cell[:40]!r}' for line, cell in places.items())})")
    total = len(table) + table.malformed
    bad = total - int(keep.sum())
    if bad > allowed_share * total:
        needed = min(1.0, math.ceil(bad / total * 1e4) / 1e4)
        raise InputError(
            f"{table.path}: {bad:,} of {counted(total, 'row')} cannot be read: {'; '.join(quoted)}; mend "
            f"them, or let them be dropped with data.allow_bad_rows={needed:g}."
        )
    return keep, [f"{table.path.name}: dropped {line}" for line in account]


def where_in(table: Table, row: int) -> str:
    """'FILE line N' of one well-formed row."""
    return f"{table.path} {_lines(table.path).of(row)}"


def _parsed(path: Path, read: Callable[[], Any]) -> Any:
    """Run a pyarrow reader; its errors become one line with the file, and its line where that is known."""
    try:
        return read()
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        said = str(error).splitlines()[0].rstrip(".")
        message = next((words for part, words in IN_WORDS.items() if part in said), said)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); mend the file or its permissions.") from None
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                raise InputError(f"{path} line {number}: not UTF-8 text; save the file as UTF-8.") from None
    raise InputError(
        f"{path}: no readable CSV file: {message}; wanted a header line, rows below it, commas between cells "
        "and closed quotes."
    )


def _check_quotes(path: Path, rows: int) -> None:
    """Raise where a quote that is never closed has swallowed rows; cells of many lines are fine."""
    lines = quotes = 0
    with pa.input_stream(path) as raw:
        while chunk := raw.read(2**20):
            lines, quotes = lines + chunk.count(b"\n"), quotes + chunk.count(b'"')
    if quotes % 2 and lines > rows + 1:
        raise InputError(
            f"{path}: {counted(lines, 'line')} hold only {counted(rows, 'row')} and an odd number of quotes; "
            "close the open quote, or double a quote inside a cell."
        )


def _lines(path: Path) -> Lines:
    """Find the line of every row: a second, slow walk, for messages only."""
    lines, width, last = Lines([], []), None, 0
    # Where the walk cannot follow pyarrow (a cell of more than 128 kB), later rows stay without a number.
    with pa.input_stream(path) as raw, contextlib.suppress(csv.Error):
        reader = csv.reader(io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace", newline=""))
        for row in reader:
            line, last = last + 1, reader.line_num
            if row and width is None:
                width = len(row)
            elif row:
                (lines.good if len(row) == width else lines.malformed).append(line)
    return lines
