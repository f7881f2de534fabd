"""Tables in files of several formats, read as cells of text: every fault can be named by file and line."""

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
    """How files of one kind are read."""

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

    path: Path  # of the file, or the pattern
    parts: tuple[Part, ...]
    cells: Mapping[str, pa.Array]  # [R] text, outer blanks cut
    pseudonymous: bool = False  # its user ids are pseudonyms already

    def __len__(self) -> int:
        return len(next(iter(self.cells.values())))

    @property
    def malformed(self) -> int:
        """Rows beside the R."""
        return sum(part.malformed for part in self.parts)

    def read(self, noun: str) -> str:
        """'NAME: read 1,234 rows', for the account."""
        files = f" in {counted(len(self.parts), 'file')}" if len(self.parts) > 1 else ""
        return f"{self.path.name}: read {counted(len(self) + self.malformed, noun)}{files}"


class Fault(NamedTuple):
    """Rows that cannot be read for one reason."""

    reason: str  # 'a missing item'
    column: str
    rows: np.ndarray  # [R] bool


def data_folder(path: str) -> Path:
    """Give the folder `data.path` names, or raise InputError."""
    folder = Path(path).expanduser()
    if not path or not folder.is_dir():
        got = f"{folder} is no folder" if path else "it is empty"
        raise InputError(f"data.path: {got}; set it to the folder that holds the log.")
    return folder


def header(path: Path, setting: str) -> list[str]:
    """Column names of the file or pattern of files that `setting` names; the first file's of several."""
    names = []
    for file in reversed(_files(path, setting)):
        if file.stat().st_size == 0:
            raise InputError(f"{file}: the file is empty, wanted column names (in CSV a header line) and rows.")
        names = _readable(file, _format(file, setting).names)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"{file}: column {twice[0]!r} stands twice in the header; rename one of them.")
    return names


def check_columns(path: Path, names: Sequence[str], wanted: Mapping[str, str]) -> None:
    """Raise unless all `wanted` columns exist; its keys say which setting asks for each."""
    for key, column in wanted.items():
        if column not in names:
            raise InputError(
                f"{path}: no column {column!r} (wanted by {key}){suggest(column, names)}; correct {key} or "
                f"the table (columns: {', '.join(names)})."
            )


def read_table(path: Path, columns: Iterable[str]) -> Table:
    """Read the named columns of a file or of a pattern's files, one after the other, as text.

    Raises InputError if a file lacks a column, or if there are no rows.
    """
    wanted = list(dict.fromkeys(columns))
    files = _files(path)
    for file in files[1:]:
        names = _readable(file, _format(file).names)
        missing = [name for name in wanted if name not in names]
        if missing:
            raise InputError(
                f"{file}: no column {missing[0]!r}, which {files[0].name} has; the files of {path.name} make one "
                f"table and need the same columns (columns: {', '.join(names)})."
            )
    parts = [_readable(file, lambda file: _format(file).read(file, wanted)) for file in files]
    table = make_table(path, parts)
    if not len(table):
        broken = f"{counted(table.malformed, 'row')}, all {parts[0].fault}" if table.malformed else "only a header"
        raise InputError(f"{path}: {broken}; wanted rows of as many cells as there are columns.")
    return table


def make_table(path: Path, parts: Sequence[Part], pseudonymous: bool = False) -> Table:
    """Join the rows of several files of the same columns."""
    cells = {name: pa.concat_arrays([part.cells[name] for part in parts]) for name in parts[0].cells}
    trimmed = {name: compute.utf8_trim_whitespace(text) for name, text in cells.items()}
    return Table(path, tuple(parts), trimmed, pseudonymous)


def drop_faulty(table: Table, faults: Sequence[Fault], allowed_share: float) -> tuple[np.ndarray, list[str]]:
    """Rows that can be read, [R] bool, and lines of account for the others.

    Raises InputError with file, lines and cells when more than `allowed_share` of all rows cannot be read.
    The account quotes no cells, since it is kept and they may hold user ids.
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
            f"{table.path}: {bad:,} of {counted(total, 'row')} cannot be read: {'; '.join(quoted)}; mend "
            f"them, or let them be dropped with data.allow_bad_rows={needed:g}."
        )
    return keep, [f"{table.path.name}: dropped {line}" for line in account]


def where_in(table: Table, row: int) -> str:
    """'FILE line N' of one well-formed row."""
    walks = _Walks(table)
    part, place = walks.find(row)
    return f"{table.parts[part].path} {place}"


class _Walks:
    """Places of rows, where each file is walked through once."""

    def __init__(self, table: Table):
        self.parts = table.parts
        self.starts = np.cumsum([0, *(len(part) for part in table.parts)])
        self.folder = os.path.commonpath([part.path.parent for part in table.parts])
        self.of_part = functools.cache(lambda index: table.parts[index].places())

    def find(self, row: int) -> tuple[int, str]:
        """The file of a well-formed row, and 'line N' in it."""
        index = int(np.searchsorted(self.starts, row, side="right")) - 1
        return index, self.of_part(index).of(row - int(self.starts[index]))

    def place(self, row: int) -> str:
        """'line N' of a well-formed row, with the name of its file where there are several."""
        return self._named(*self.find(row))

    def malformed(self, fault: str) -> list[str]:
        """The same of the rows that are malformed in this way, the first few of each file."""
        named = []
        for index, part in enumerate(self.parts):
            if part.malformed and part.fault == fault:
                places = self.of_part(index)
                named += [self._named(index, f"{places.unit} {number}") for number in places.malformed[:EXAMPLES]]
        return named

    def _named(self, index: int, place: str) -> str:
        return f"{self.parts[index].path.relative_to(self.folder)} {place}" if len(self.parts) > 1 else place


def _files(path: Path, setting: str = "") -> list[Path]:
    """The file, or the files of the pattern in the order of their names; raise InputError where there is none."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder, wanted a file, or several as {path.name}/*.parquet; correct {setting}.")
    if path.is_file():
        return [path]
    folder = next(parent for parent in path.parents if parent.is_dir())
    pattern = str(path.relative_to(folder))
    if not glob.has_magic(pattern):
        beside = [p.name for p in folder.iterdir()] if folder == path.parent else []
        raise InputError(f"{path}: no such file{suggest(path.name, beside)}; correct {setting} or add the file.")
    files = sorted(file for file in folder.glob(pattern) if file.is_file())
    if not files:
        raise InputError(f"{path}: no file is named like this; correct the pattern in {setting} or add files.")
    return files


def _format(file: Path, setting: str = "") -> Format:
    """How a file of this name is read: its ending says, before that of its compression."""
    suffix = file.suffix.lower()
    packed = suffix in COMPRESSED
    inner = Path(file.stem).suffix.lower() if packed else suffix
    if inner not in FORMATS or (packed and inner == ".parquet"):
        raise InputError(
            f"{file}: no table format ends in {inner + suffix if packed else suffix or 'nothing'!r}; wanted "
            f"{', '.join(FORMATS)}, and {', '.join(COMPRESSED)} after all but .parquet; rename the file or correct "
            f"{setting}."
        )
    return FORMATS[inner]


def _readable(file: Path, read: Callable[[Path], Any]) -> Any:
    """Run `read` on a file that may be damaged or closed to us."""
    try:
        return read(file)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise InputError(f"{file}: cannot be read ({first_line(error)}); mend the file or its permissions.") from None
