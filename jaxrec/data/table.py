"""Tables in files of several formats, read as cells of text; every fault is reported by file and line."""

import collections
import dataclasses
import functools
import lzma
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from jaxrec.checks import InputError, check_name, suggest
from jaxrec.config.files import MISSING
from jaxrec.data import delimited, typed
from jaxrec.data.cells import Part, compute, first_line, joined_chunks
from jaxrec.data.headers import check_header, names_advice, separator_advice
from jaxrec.data.layout import PLAIN, Layout, check_not_garbled
from jaxrec.data.log import counted, listed
from jaxrec.data.paths import files_of
from jaxrec.data.shapes import SHAPES
from jaxrec.data.signatures import check_ending, check_signature
from jaxrec.data.unpacked import COMPRESSED
from jaxrec.data.walks import EXAMPLES, Walks
from jaxrec.foreign import quoted, shape, shape_of

PERSONAL = re.compile(r"[@\d]")  # in a cell that may be the id of a user, and in few names of columns
MOST_COLUMNS = 10_000


class Format(NamedTuple):
    """How to read the files of one format."""

    names: Callable[[Path, Layout, Sequence[str]], list[str]]  # path, layout, wanted columns
    read: Callable[[Path, list[str], Layout], Part]
    text: bool = False  # a header line, and separators between cells


def separated(by: str) -> Format:
    """Give the format of files with a separator."""
    return Format(
        functools.partial(delimited.names, delimiter=by), functools.partial(delimited.read, delimiter=by), text=True
    )


FORMATS = {
    ".csv": separated(","),
    ".tsv": separated("\t"),
    ".parquet": Format(typed.parquet_names, typed.read_parquet),
    ".jsonl": Format(typed.json_names, typed.read_json),
    ".ndjson": Format(typed.json_names, typed.read_json),
    ".json": Format(typed.json_names, typed.read_json),
    **dict.fromkeys((".inter", ".item", ".user"), separated("\t")),  # RecBole
}


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of one file, or of several that make one table; R well-formed rows."""

    path: Path  # of the file, or the pattern of several
    parts: tuple[Part, ...]
    cells: Mapping[str, pa.Array]  # [R] text, outer blanks cut
    pseudonymous: bool = False  # True: its user ids are already pseudonyms
    private: str = ""  # the column of user ids, which no message quotes

    def __len__(self) -> int:
        return len(next(iter(self.cells.values())))

    def quote(self, column: str, row: int) -> str:
        """Quote a cell for a message; of a user id it shows only how it is written, in whichever column it stands."""
        cell = self.cells[column][row].as_py()
        people = self.cells.get(self.private)
        if (
            people is not None
            and cell not in ("", *MISSING)
            and (column == self.private or compute.any(compute.equal(people, cell)).as_py())
        ):
            return shape_of(cell)
        return quoted(cell[:40])

    @property
    def malformed(self) -> int:
        """Number of malformed rows, which are not among the R."""
        return sum(part.malformed for part in self.parts)

    @property
    def fix(self) -> str:
        """A setting that may mend malformed rows: '; set ...', or nothing."""
        return next((part.fix for part in self.parts if part.malformed and part.fix), "")

    @property
    def notes(self) -> list[str]:
        """Lines for the account about how the files were read."""
        return [note for part in self.parts for note in part.notes]

    def read(self, noun: str) -> str:
        """Write 'NAME: read 1,234 rows', for the account."""
        files = f" in {counted(len(self.parts), 'file')}" if len(self.parts) > 1 else ""
        return f"{self.path.name}: read {counted(len(self) + self.malformed, noun)}{files}"


class Fault(NamedTuple):
    """Rows that cannot be read for one reason."""

    reason: str  # 'a missing item'
    column: str
    rows: np.ndarray  # [R] bool
    fix: str = ""  # what mends them, if one setting does: '; set ...'


def header(path: Path, setting: str, layout: Layout = PLAIN, wanted: Iterable[str] = ()) -> list[str]:
    """Read the column names of the file, or of the first file of the pattern, that `setting` names.

    `wanted` are the columns that will be asked for: they tell names from data, and are looked for in late lines.
    """
    names, wanted = [], list(wanted)
    for file in reversed(files_of(path, setting)):
        if file.stat().st_size == 0:
            raise InputError(f"{file}: the file is empty; expected column names (in CSV a header line) and rows.")
        _readable(file, check_signature)
        form = _format(file, layout, setting)
        names = _readable(file, lambda file, form=form: form.names(file, layout, wanted))
        if len(names) > MOST_COLUMNS:
            raise InputError(
                f"{file}: {len(names):,} columns, expected at most {MOST_COLUMNS:,}; correct the separator, or leave "
                "out columns."
            )
        if layout.format.encoding:
            _readable(file, lambda file: check_not_garbled(file, layout))
        if form.text and not layout.format.columns:
            check_header(file, names, wanted, layout)
        counts = collections.Counter(names)
        twice = sorted(name for name in counts if name and counts[name] > 1)
        if twice:
            raise InputError(f"{file}: column {quoted(twice[0])} is in the header twice; rename one of them.")
    return names


def check_columns(path: Path, names: Sequence[str], wanted: Mapping[str, str], layout: Layout = PLAIN) -> None:
    """Raise InputError unless all `wanted` columns exist; its keys say which setting asks for each."""
    for key, column in wanted.items():
        if column not in names:
            mend = separator_advice(names, layout)
            if not mend and key == "data.columns.time":
                mend = "; if the rows are in the order of time, an empty data.columns.time= takes that order"
            if not mend and layout.setting and not set(wanted.values()) & set(names) and _format(path, layout).text:
                mend = names_advice(files_of(path)[0], names, list(wanted.values()), layout)
            # Without any of the wanted names, the line may be a row, with the id of a user in it.
            row = not set(wanted.values()) & set(names)
            seen = listed([shape(name) if row and PERSONAL.search(name) else name for name in names])
            raise InputError(
                f"{path}: no column {quoted(column)} (wanted by {key}){suggest(column, names)}; correct {key} or "
                f"the table (columns: {seen}){mend}."
            )


def read_table(path: Path, columns: Iterable[str], layout: Layout = PLAIN) -> Table:
    """Read the named columns of a file, or of all files of a pattern, as text.

    Raises InputError if a file lacks a column, or if there are no rows.
    """
    wanted = list(dict.fromkeys(columns))
    files = files_of(path)
    for file in files[1:]:
        _readable(file, check_signature)
        names = _readable(file, lambda file: _format(file, layout).names(file, layout, wanted))
        missing = [name for name in wanted if name not in names]
        if missing:
            raise InputError(
                f"{file}: no column {quoted(missing[0])}, which {files[0].name} has; the files of {path.name} form one "
                f"table and need the same columns (columns: {listed(names)})."
            )
    table = make_table(
        path, (_readable(file, lambda file: _format(file, layout).read(file, wanted, layout)) for file in files)
    )
    if not len(table):
        bad = counted(table.malformed, "row")
        broken = f"{bad}, all {table.parts[0].fault}" if table.malformed else "only a header"
        raise InputError(f"{path}: {broken}; expected rows with as many cells as there are columns{table.fix}.")
    return table


def make_table(path: Path, parts: Iterable[Part], pseudonymous: bool = False) -> Table:
    """Join the rows of several files with the same columns; of joined cells, one column at a time is held twice.

    Raises InputError if a column holds more text than fits an array.
    """
    columns: dict[str, list[pa.Array]] = {}
    known = []
    for part in parts:
        for name, text in part.cells.items():
            columns.setdefault(name, []).append(compute.utf8_trim_whitespace(text))
            del text
        known.append(part.without_cells())
        del part  # else its cells would be held until all are joined
    cells = {name: joined_chunks(pa.chunked_array(columns.pop(name)), name, str(path)) for name in list(columns)}
    return Table(path, tuple(known), cells, pseudonymous)


def drop_faulty(
    table: Table, faults: Sequence[Fault], allowed_share: float, among: np.ndarray | None = None
) -> tuple[np.ndarray, list[str]]:
    """Find the rows that can be read, [R] bool; also gives lines for the account about the others.

    Only rows in `among` [R] bool count. Raises InputError with file, lines and cells if more than `allowed_share` of
    all rows cannot be read. The account quotes no cells: they may hold user ids, and the account is saved.
    """
    keep = np.ones(len(table), bool) if among is None else among.copy()
    total = int(keep.sum()) + table.malformed
    if not table.malformed and not any((fault.rows & keep).any() for fault in faults):
        return keep, []
    walks, account, quoted, fixes = Walks(table.parts), [], [], [table.fix]
    for reason in dict.fromkeys(part.fault for part in table.parts if part.malformed):
        count = sum(part.malformed for part in table.parts if part.fault == reason)
        account.append(f"{counted(count, 'row')} {reason} ({', '.join(walks.malformed(reason)[:EXAMPLES])})")
        quoted.append(account[-1])
    for fault in faults:
        rows = np.flatnonzero(fault.rows & keep)
        keep[rows] = False
        if len(rows):
            what = f"{counted(len(rows), 'row')} with {fault.reason}"
            places = {walks.place(row): table.quote(fault.column, int(row)) for row in rows[:EXAMPLES]}
            account.append(f"{what} ({', '.join(places)})")
            quoted.append(f"{what} ({', '.join(f'{line}: {cell}' for line, cell in places.items())})")
            fixes.append(fault.fix)
    bad = total - int(keep.sum())
    if bad > allowed_share * total:
        raise InputError(
            f"{table.path}: {bad:,} of {counted(total, 'row')} cannot be read: {'; '.join(quoted)}; "
            f"{_remedy(bad, total, ''.join(fixes))}."
        )
    return keep, [f"{table.path.name}: dropped {line}" for line in account]


def _remedy(bad: int, total: int, fix: str) -> str:
    """Say how to mend or drop unreadable rows; a log of which nothing would be left is not to be dropped."""
    needed = math.ceil(bad / total * 1e4) / 1e4
    if needed >= 1:
        return fix.removeprefix("; ") or "fix them, or name the right columns"
    return f"fix them, or allow dropping them with data.allow_bad_rows={needed:g}{fix}"


def where_in(table: Table, row: int) -> str:
    """Give 'FILE line N' of one well-formed row."""
    walks = Walks(table.parts)
    part, place = walks.find(row)
    return f"{table.parts[part].path} {place}"


def _format(file: Path, layout: Layout = PLAIN, setting: str = "") -> Format:
    """Find the format by the ending of a file's name, ignoring the ending of its compression.

    With a separator in the recipe, any other ending is text with this separator.
    """
    if layout.format.shape:
        check_name(f"{layout.setting}.shape", layout.format.shape, SHAPES)
        return Format(*SHAPES[layout.format.shape])
    suffix = file.suffix.lower()
    packed = suffix in COMPRESSED
    inner = Path(file.stem).suffix.lower() if packed else suffix
    if inner in FORMATS and not (packed and inner == ".parquet"):
        return FORMATS[inner]
    if layout.format.separator and inner != ".parquet":
        return separated(",")
    check_ending(file, f"{', '.join(FORMATS)}, and {', '.join(COMPRESSED)} after all but .parquet")
    raise InputError(
        f"{file}: no table format ends in {quoted(inner + suffix if packed else suffix or 'nothing')}; expected "
        f"{', '.join(FORMATS)}, and {', '.join(COMPRESSED)} after all but .parquet; rename the file or correct "
        f"{setting}{layout.advice('separator (tab, comma, semicolon, pipe, ::) if it has one')}."
    )


def _readable(file: Path, read: Callable[[Path], Any]) -> Any:
    """Run `read` on a file that may be damaged or unreadable."""
    try:
        return read(file)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise InputError(f"{file}: cannot be read ({first_line(error)}); fix the file or its permissions.") from None
