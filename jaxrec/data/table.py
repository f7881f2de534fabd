"""Tables in files of several formats, read as cells of text; every fault is reported by file and line."""

import dataclasses
import functools
import glob
import lzma
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from jaxrec.checks import InputError, suggest
from jaxrec.data import delimited, typed
from jaxrec.data.cells import COMPRESSED, Part, compute, first_line
from jaxrec.data.log import counted

EXAMPLES = 3  # faulty lines quoted for each reason


class Format(NamedTuple):
    """How to read the files of one format."""

    names: Callable[[Path], list[str]]
    read: Callable[[Path, list[str]], Part]


FORMATS = {
    ".csv": Format(functools.partial(delimited.names, delimiter=","), functools.partial(delimited.read, delimiter=",")),
    ".tsv": Format(
        functools.partial(delimited.names, delimiter="\t"), functools.partial(delimited.read, delimiter="\t")
    ),
    ".parquet": Format(typed.parquet_names, typed.read_parquet),
    ".jsonl": Format(typed.json_names, typed.read_json),
    ".ndjson": Format(typed.json_names, typed.read_json),
}


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of one file, or of several that make one table; R well-formed rows."""

    path: Path  # of the file, or the pattern of several
    parts: tuple[Part, ...]
    cells: Mapping[str, pa.Array]  # [R] text, outer blanks cut
    pseudonymous: bool = False  # True: its user ids are already pseudonyms

    def __len__(self) -> int:
        return len(next(iter(self.cells.values())))

    @property
    def malformed(self) -> int:
        """Number of malformed rows, which are not among the R."""
        return sum(part.malformed for part in self.parts)

    def read(self, noun: str) -> str:
        """Write 'NAME: read 1,234 rows', for the account."""
        files = f" in {counted(len(self.parts), 'file')}" if len(self.parts) > 1 else ""
        return f"{self.path.name}: read {counted(len(self) + self.malformed, noun)}{files}"


class Fault(NamedTuple):
    """Rows that cannot be read for one reason."""

    reason: str  # 'a missing item'
    column: str
    rows: np.ndarray  # [R] bool


def data_folder(path: str) -> Path:
    """Give the folder that `data.path` names, or raise InputError."""
    folder = Path(path).expanduser()
    if not path or not folder.is_dir():
        got = f"{folder} is not a folder" if path else "it is empty"
        raise InputError(f"data.path: {got}; set it to the folder that holds the log.")
    return folder


def header(path: Path, setting: str) -> list[str]:
    """Read the column names of the file, or of the first file of the pattern, that `setting` names."""
    names = []
    for file in reversed(files_of(path, setting)):
        if file.stat().st_size == 0:
            raise InputError(f"{file}: the file is empty; expected column names (in CSV a header line) and rows.")
        names = _readable(file, _format(file, setting).names)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"{file}: column {twice[0]!r} is in the header twice; rename one of them.")
    return names


def check_columns(path: Path, names: Sequence[str], wanted: Mapping[str, str]) -> None:
    """Raise InputError unless all `wanted` columns exist; its keys say which setting asks for each."""
    for key, column in wanted.items():
        if column not in names:
            raise InputError(
                f"{path}: no column {column!r} (wanted by {key}){suggest(column, names)}; correct {key} or "
                f"the table (columns: {', '.join(names)})."
            )


def read_table(path: Path, columns: Iterable[str]) -> Table:
    """Read the named columns of a file, or of all files of a pattern, as text.

    Raises InputError if a file lacks a column, or if there are no rows.
    """
    wanted = list(dict.fromkeys(columns))
    files = files_of(path)
    for file in files[1:]:
        names = _readable(file, _format(file).names)
        missing = [name for name in wanted if name not in names]
        if missing:
            raise InputError(
                f"{file}: no column {missing[0]!r}, which {files[0].name} has; the files of {path.name} form one "
                f"table and need the same columns (columns: {', '.join(names)})."
            )
    parts = [_readable(file, lambda file: _format(file).read(file, wanted)) for file in files]
    table = make_table(path, parts)
    if not len(table):
        broken = f"{counted(table.malformed, 'row')}, all {parts[0].fault}" if table.malformed else "only a header"
        raise InputError(f"{path}: {broken}; expected rows with as many cells as there are columns.")
    return table


def make_table(path: Path, parts: Sequence[Part], pseudonymous: bool = False) -> Table:
    """Join the rows of several files with the same columns."""
    cells = {name: pa.concat_arrays([part.cells[name] for part in parts]) for name in parts[0].cells}
    trimmed = {name: compute.utf8_trim_whitespace(text) for name, text in cells.items()}
    return Table(path, tuple(parts), trimmed, pseudonymous)


def drop_faulty(table: Table, faults: Sequence[Fault], allowed_share: float) -> tuple[np.ndarray, list[str]]:
    """Find the rows that can be read, [R] bool; also gives lines for the account about the others.

    Raises InputError with file, lines and cells if more than `allowed_share` of all rows cannot be read.
    The account quotes no cells: they may hold user ids, and the account is saved.
    """
    keep = np.ones(len(table), bool)
    if not table.malformed and not any(fault.rows.any() for fault in faults):
        return keep, []
    walks, account, quoted = _Walks(table), [], []
    for reason in dict.fromkeys(part.fault for part in table.parts if part.malformed):
        count = sum(part.malformed for part in table.parts if part.fault == reason)
        account.append(f"{counted(count, 'row')} {reason} ({', '.join(walks.malformed(reason)[:EXAMPLES])})")
        quoted.append(account[-1])
    for fault in faults:
        rows = np.flatnonzero(fault.rows & keep)
        keep[rows] = False
        if len(rows):
            what = f"{counted(len(rows), 'row')} with {fault.reason}"
            places = {walks.place(row): table.cells[fault.column][int(row)].as_py() for row in rows[:EXAMPLES]}
            account.append(f"{what} ({', '.join(places)})")
            quoted.append(f"{what} ({', '.join(f'{line}: {cell[:40]!r}' for line, cell in places.items())})")
    total = len(table) + table.malformed
    bad = total - int(keep.sum())
    if bad > allowed_share * total:
        needed = min(1.0, math.ceil(bad / total * 1e4) / 1e4)
        raise InputError(
            f"{table.path}: {bad:,} of {counted(total, 'row')} cannot be read: {'; '.join(quoted)}; fix "
            f"them, or allow dropping them with data.allow_bad_rows={needed:g}."
        )
    return keep, [f"{table.path.name}: dropped {line}" for line in account]


def where_in(table: Table, row: int) -> str:
    """Give 'FILE line N' of one well-formed row."""
    walks = _Walks(table)
    part, place = walks.find(row)
    return f"{table.parts[part].path} {place}"


class _Walks:
    """Finds the places of rows; reads each file at most once."""

    def __init__(self, table: Table):
        self.parts = table.parts
        self.starts = np.cumsum([0, *(len(part) for part in table.parts)])
        self.folder = os.path.commonpath([part.path.parent for part in table.parts])
        self.of_part = functools.cache(lambda index: table.parts[index].places())

    def find(self, row: int) -> tuple[int, str]:
        """Give the index of a well-formed row's file, and 'line N' in it."""
        index = int(np.searchsorted(self.starts, row, side="right")) - 1
        return index, self.of_part(index).of(row - int(self.starts[index]))

    def place(self, row: int) -> str:
        """Give 'line N' of a well-formed row, with the name of its file if there are several."""
        return self._named(*self.find(row))

    def malformed(self, fault: str) -> list[str]:
        """Give the same for rows that are malformed in this way, the first few of each file."""
        named = []
        for index, part in enumerate(self.parts):
            if part.malformed and part.fault == fault:
                places = self.of_part(index)
                named += [self._named(index, f"{places.unit} {number}") for number in places.malformed[:EXAMPLES]]
        return named

    def _named(self, index: int, place: str) -> str:
        return f"{self.parts[index].path.relative_to(self.folder)} {place}" if len(self.parts) > 1 else place


def files_of(path: Path, setting: str = "") -> list[Path]:
    """Find the file, or the files of the pattern in the order of their names; raises InputError if there is none."""
    if path.is_dir():
        raise InputError(
            f"{path}: is a folder; expected a file, or several as {path.name}/*.parquet; correct {setting}."
        )
    if path.is_file():
        return [path]
    folder = next(parent for parent in path.parents if parent.is_dir())
    pattern = str(path.relative_to(folder))
    if not glob.has_magic(pattern):
        beside = [p.name for p in folder.iterdir()] if folder == path.parent else []
        raise InputError(f"{path}: no such file{suggest(path.name, beside)}; correct {setting} or add the file.")
    files = sorted(file for file in folder.glob(pattern) if file.is_file())
    if not files:
        raise InputError(f"{path}: no file matches this pattern; correct {setting} or add files.")
    return files


def _format(file: Path, setting: str = "") -> Format:
    """Find the format by the ending of a file's name, ignoring the ending of its compression."""
    suffix = file.suffix.lower()
    packed = suffix in COMPRESSED
    inner = Path(file.stem).suffix.lower() if packed else suffix
    if inner not in FORMATS or (packed and inner == ".parquet"):
        raise InputError(
            f"{file}: no table format ends in {inner + suffix if packed else suffix or 'nothing'!r}; expected "
            f"{', '.join(FORMATS)}, and {', '.join(COMPRESSED)} after all but .parquet; rename the file or correct "
            f"{setting}."
        )
    return FORMATS[inner]


def _readable(file: Path, read: Callable[[Path], Any]) -> Any:
    """Run `read` on a file that may be damaged or unreadable."""
    try:
        return read(file)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise InputError(f"{file}: cannot be read ({first_line(error)}); fix the file or its permissions.") from None
