"""Read Parquet and JSON: typed columns become the text that a CSV of the same log would hold."""

import ast
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as parquet

from jaxrec.bounded import check_depth
from jaxrec.checks import InputError
from jaxrec.data.cells import Part, Places, as_text, check_digits, first_line, joined_chunks
from jaxrec.data.layout import Layout, check_encoding, mark_in_words, utf8_bytes
from jaxrec.data.log import counted
from jaxrec.data.unpacked import ARRAY, check_parquet, check_repeated
from jaxrec.foreign import quoted

NAMING_LINES = 1000  # lines searched for keys, since a line may leave out a key without a value
CHUNK = 2**16  # rows of Python objects at a time
NOT_FINITE = {"NaN": "", "Infinity": "inf", "-Infinity": "-inf"}


def parquet_names(path: Path, layout: Layout, wanted: Sequence[str]) -> list[str]:
    """Read the column names of a Parquet file."""
    del layout, wanted  # the file says it all
    return _open_parquet(path).schema_arrow.names


def read_parquet(path: Path, wanted: list[str], layout: Layout) -> Part:
    """Read the wanted columns of a Parquet file, as text."""
    file = _open_parquet(path)
    check_parquet(path, file, wanted, layout.limits)
    texts = [name for name in wanted if _is_text(file.schema_arrow.field(name).type)]
    file, cells, rows = _open_parquet(path, texts), {}, file.metadata.num_rows
    for name in wanted:  # one after the other: the typed columns are not held together
        try:
            column = file.read(columns=[name]).column(name)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(f"{path}: not a readable Parquet file: {first_line(error)}; write it again.") from None
        check_repeated(path, name, column, layout.limits)
        if name in layout.exact:
            check_digits(column, name, str(path))
        cells[name] = as_text(column, name, str(path), name in layout.joined)
    return Part(path, cells, lambda: Places(range(1, rows + 1), unit="row"))


def json_names(path: Path, layout: Layout, wanted: Sequence[str]) -> list[str]:
    """Read the keys of the objects of a file: of the first ones, and of later ones until all `wanted` are found."""
    array = _is_array(path, layout)
    if not array and _begins_array(path, layout):
        raise InputError(f"{path} line 1: an array of JSON; expected one object per line; let its name end in .json.")
    names, number = {}, 0
    for number, row in _objects(path, layout):
        names |= dict.fromkeys(row or ())
        if number >= NAMING_LINES and (not names or all(name in names for name in wanted)):
            break
    if not names:
        if array:
            raise InputError(f"{path}: an array without objects; expected one object per row, with columns as keys.")
        raise InputError(
            f"{path}: no JSON object in its first {counted(number, 'line')}; expected one object per line, "
            "whole and with nothing after it."
        )
    return list(names)


def read_json(path: Path, wanted: list[str], layout: Layout) -> Part:
    """Read the wanted keys of a file of JSON objects, as text; lines without an object are malformed.

    The file has one object per line, or one array of objects.
    """
    chunks: dict[str, list[pa.Array]] = {name: [] for name in wanted}
    rows, numbers, malformed, blank, number = [], [], [], [], 0
    array = _is_array(path, layout)

    def flush() -> None:
        for name in wanted:
            values = [row.get(name, "") for row in rows]
            if set(map(type, values)) != {str}:
                nested = dict if name in layout.joined else (dict, list)
                found = next((n for n, value in enumerate(values) if isinstance(value, nested)), None)
                if found is not None:
                    _refuse_nested(values[found], name, f"{path} {'entry' if array else 'line'} {numbers[found]}")
                values = [_text(value, name, str(path), name in layout.joined) for value in values]
            try:
                chunks[name].append(pa.array(values, pa.string()))
            except UnicodeEncodeError:
                raise InputError(
                    f"{path}: {quoted(name)} holds half of an escaped character; write it as UTF-8."
                ) from None
        rows.clear()
        numbers.clear()

    for number, row in _objects(path, layout):
        if row:
            rows.append(row)
            numbers.append(number)
        else:
            (malformed if row is None else blank).append(number)
        if len(rows) == CHUNK:
            flush()
    flush()

    def places() -> Places:
        skipped = {*malformed, *blank}
        numbers = [line for line in range(1, number + 1) if line not in skipped]
        return Places(numbers, malformed, "entry" if array else "line")

    cells = {name: joined_chunks(pa.chunked_array(arrays), name, str(path)) for name, arrays in chunks.items()}
    notes = tuple(mark_in_words(path, layout))
    return Part(path, cells, places, len(malformed), "without a JSON object", notes=notes)


def _objects(path: Path, layout: Layout) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield numbers and objects, of lines or of an array; None without an object, an empty object for an empty line."""
    # Numbers stay as written: float64 would drop digits of long ids and of nanoseconds.
    decoder = json.JSONDecoder(parse_int=str, parse_float=_decimal, parse_constant=NOT_FINITE.__getitem__)
    try:
        if _is_array(path, layout):
            yield from enumerate(_entries(path, layout, decoder), start=1)
            return
        with utf8_bytes(path, layout) as raw:
            for number, line in enumerate(io.TextIOWrapper(raw, encoding="utf-8-sig", newline="\n"), start=1):
                text = line.strip()
                try:
                    check_depth(text)
                    row, end = decoder.raw_decode(text) if text else ({}, 0)
                except ValueError:
                    row, end = _python_object(text), len(text)
                whole = isinstance(row, dict) and end == len(text) and (row or not text)
                yield number, row if whole else None
    except UnicodeError:
        check_encoding(path, layout)
        raise


def _decimal(text: str) -> str:
    """Write a number with a fraction or an exponent as an id of the same number would be written."""
    if "e" not in text and "E" not in text:
        return text.removesuffix(".0")
    value = float(text)
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _is_array(path: Path, layout: Layout) -> bool:
    """Whether a file ending in .json begins with '[' and so holds one array."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    return ".json" in suffixes and _begins_array(path, layout)


def _begins_array(path: Path, layout: Layout) -> bool:
    with utf8_bytes(path, layout) as raw:
        return raw.read(2**12).decode("utf-8-sig", "replace").lstrip()[:1] == "["


def _entries(path: Path, layout: Layout, decoder: json.JSONDecoder) -> list[dict[str, Any] | None]:
    whole = layout.limits._replace(line=math.inf)  # an array may be one line
    with utf8_bytes(path, layout, whole) as raw:
        content = raw.read(ARRAY + 1)
    if len(content) > ARRAY:
        raise InputError(
            f"{path}: an array of more than {ARRAY / 2**20:,.0f} MB, which would be read whole; write one object per "
            "line, in a file ending in .jsonl."
        )
    text = content.decode("utf-8-sig")
    try:
        check_depth(text)
        entries = decoder.decode(text)
    except ValueError as error:
        raise InputError(f"{path}: not a JSON array of objects ({first_line(error)}); write it again.") from None
    return [entry if isinstance(entry, dict) and entry else None for entry in entries]


def _python_object(text: str) -> dict[str, Any] | None:
    """Read a line that is a dictionary of Python instead of JSON; only plain values are read, nothing is run."""
    if not text.startswith(("{'", '{"', "{u'", '{u"')):
        return None
    try:
        row = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return {str(key): _plain(value) for key, value in row.items()} if isinstance(row, dict) and row else None


def _plain(value: Any) -> Any:
    """Turn numbers into the text that JSON would hold."""
    if isinstance(value, list | tuple | set):
        return [_plain(inner) for inner in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "" if value != value else str(value).removesuffix(".0")
    return value


def _text(value: Any, name: str, where: str, joined: bool) -> str:
    """Turn a decoded value into a cell; numbers are already text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if joined and isinstance(value, list):
        return ", ".join(filter(None, (_text(one, name, where, joined) for one in value)))
    return _refuse_nested(value, name, where)


def _refuse_nested(value: Any, name: str, where: str) -> NoReturn:
    held = "lists" if isinstance(value, list) else "objects"
    mend = "flatten it"
    if isinstance(value, dict) and value and all(key.isdigit() for key in value):  # the default of pandas
        mend = "write one object per row, as to_json(orient='records', lines=True) of pandas does"
    raise InputError(f"{where}: {quoted(name)} holds {held}; expected one value per row; {mend}.")


def _is_text(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary))


def _open_parquet(path: Path, repeated: Sequence[str] = ()) -> parquet.ParquetFile:
    """Open a file; texts in the columns `repeated` stay numbers of a list of texts where the file has them so."""
    try:
        return parquet.ParquetFile(path, page_checksum_verification=True, read_dictionary=list(repeated))
    except pa.ArrowInvalid as error:
        message = f"not a Parquet file, or a damaged one ({first_line(error)})"
        raise InputError(f"{path}: {message}; write it again, or correct the ending of its name.") from None
