"""Read Parquet and JSON lines: typed columns become the text that a CSV of the same log would hold."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from jaxrec.checks import InputError
from jaxrec.data.cells import Part, Places, as_text, check_utf8, first_line, open_bytes

NAMING_LINES = 1000  # lines searched for keys, since a line may leave out a key without a value
CHUNK = 2**16  # rows of Python objects at a time
NOT_FINITE = {"NaN": "", "Infinity": "inf", "-Infinity": "-inf"}


def parquet_names(path: Path) -> list[str]:
    """Read the column names of a Parquet file."""
    return _open_parquet(path).schema_arrow.names


def read_parquet(path: Path, wanted: list[str]) -> Part:
    """Read the wanted columns of a Parquet file, as text."""
    file = _open_parquet(path)
    try:
        table = file.read(columns=wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"{path}: not a readable Parquet file: {first_line(error)}; write it again.") from None
    cells = {name: as_text(table.column(name), name, str(path)) for name in wanted}
    return Part(path, cells, lambda: Places(range(1, table.num_rows + 1), unit="row"))


def json_names(path: Path) -> list[str]:
    """Read the keys of the first lines of a file with one JSON object per line."""
    names, number = {}, 0
    for number, row in _objects(path):
        names |= dict.fromkeys(row or ())
        if number == NAMING_LINES:
            break
    if not names:
        raise InputError(f"{path}: no JSON object in its first {number} lines; expected one object per line.")
    return list(names)


def read_json(path: Path, wanted: list[str]) -> Part:
    """Read the wanted keys of a file with one JSON object per line, as text; other lines are malformed."""
    chunks: dict[str, list[pa.Array]] = {name: [] for name in wanted}
    rows, malformed, blank, number = [], [], [], 0

    def flush() -> None:
        for name in wanted:
            values = [row.get(name, "") for row in rows]
            if set(map(type, values)) != {str}:
                values = [_text(value, name, str(path)) for value in values]
            try:
                chunks[name].append(pa.array(values, pa.string()))
            except UnicodeEncodeError:
                raise InputError(f"{path}: {name!r} holds half of an escaped character; write it as UTF-8.") from None
        rows.clear()

    for number, row in _objects(path):
        if row:
            rows.append(row)
        else:
            (malformed if row is None else blank).append(number)
        if len(rows) == CHUNK:
            flush()
    flush()

    def places() -> Places:
        skipped = {*malformed, *blank}
        return Places([line for line in range(1, number + 1) if line not in skipped], malformed)

    cells = {name: pa.concat_arrays(arrays) for name, arrays in chunks.items()}
    return Part(path, cells, places, len(malformed), "without a JSON object")


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield line numbers and objects; None for a line without an object, an empty object for an empty line."""
    # Numbers stay as written: float64 would drop digits of long ids and of nanoseconds.
    decoder = json.JSONDecoder(
        parse_int=str, parse_float=lambda text: text.removesuffix(".0"), parse_constant=NOT_FINITE.__getitem__
    )
    try:
        with open_bytes(path) as raw:
            for number, line in enumerate(io.TextIOWrapper(raw, encoding="utf-8-sig", newline="\n"), start=1):
                text = line.strip()
                try:
                    row, end = decoder.raw_decode(text) if text else ({}, 0)
                except (ValueError, RecursionError):
                    row, end = None, 0
                whole = isinstance(row, dict) and end == len(text) and (row or not text)
                yield number, row if whole else None
    except UnicodeDecodeError:
        check_utf8(path)
        raise


def _text(value: Any, name: str, where: str) -> str:
    """Turn a decoded value into a cell; numbers are already text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    held = "lists" if isinstance(value, list) else "objects"
    raise InputError(f"{where}: {name!r} holds {held}; expected one value per row; flatten it.")


def _open_parquet(path: Path) -> parquet.ParquetFile:
    try:
        return parquet.ParquetFile(path, page_checksum_verification=True)
    except pa.ArrowInvalid as error:
        message = f"not a Parquet file, or a damaged one ({first_line(error)})"
        raise InputError(f"{path}: {message}; write it again, or correct the ending of its name.") from None
