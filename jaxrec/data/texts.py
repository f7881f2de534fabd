"""One column of texts from a table or a text file, for encoding."""

import lzma
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from jaxrec.checks import InputError
from jaxrec.data.cells import check_utf8, compute, first_line
from jaxrec.data.log import counted, listed
from jaxrec.data.table import check_columns, header, read_table
from jaxrec.data.unpacked import COMPRESSED, open_bytes

TEXT = "text"  # the column that is read if none is named


class Texts(NamedTuple):
    """The N texts of a file in order, and their ids."""

    texts: pa.Array  # [N] strings; empty where the file has nothing
    ids: pa.Array | None  # [N] strings
    account: str  # what was read


def read_texts(path: Path, column: str = "", id_column: str = "") -> Texts:
    """Read `column` of a .csv, .tsv, .parquet or .jsonl table, or the lines of a .txt file; all may be compressed.

    If `column` is empty, it is the column called text, or the only one besides the ids. A pattern reads several files.
    Tables with malformed rows are refused, because a vector is identified by its row.
    """
    inner = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    if inner.suffix.lower() == ".txt":
        if column or id_column:
            raise InputError(f"{path}: a .txt file has lines and no columns; remove --column and --ids.")
        return _lines(path)
    names = header(path, "TEXTS")
    others = [name for name in names if name != id_column]
    column = column or (TEXT if TEXT in names else others[0] if len(others) == 1 else "")
    if not column:
        raise InputError(f"{path}: has {counted(len(names), 'column')} ({listed(names)}); name one with --column.")
    check_columns(path, names, {"--column": column} | ({"--ids": id_column} if id_column else {}))
    table = read_table(path, [column, *([id_column] if id_column else [])])
    if table.malformed:
        raise InputError(
            f"{path}: {counted(table.malformed, 'row')} cannot be read, and vectors are identified by their rows; fix "
            "the file."
        )
    ids = table.cells[id_column] if id_column else None
    return Texts(table.cells[column], ids, _account(table.read("row"), table.cells[column]))


def _lines(path: Path) -> Texts:
    try:
        with open_bytes(path) as file:
            content = file.read()
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        check_utf8(path)  # names the line
        raise
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)}); correct TEXTS or fix the file.") from None
    lines = [line.removesuffix("\r") for line in lines]
    if lines and not lines[-1]:
        lines.pop()  # after the last line break
    if not lines:
        raise InputError(f"{path}: the file is empty; expected one text per line.")
    texts = pa.array(lines, pa.large_string())
    return Texts(texts, None, _account(f"{path.name}: read {counted(len(lines), 'line')}", texts))


def _account(read: str, texts: pa.Array) -> str:
    empty = compute.sum(compute.equal(texts, "")).as_py() or 0
    return f"{read}, {empty:,} of them empty" if empty else read
