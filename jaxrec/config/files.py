"""Sections about files as they are: separators, encodings, rows to keep, and how ids are compared."""

import codecs
import datetime
import re
from typing import Literal

from jaxrec.checks import InputError, check_name, check_range
from jaxrec.config.section import section
from jaxrec.foreign import quoted

SEPARATORS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
MISSING = (
    r"\N",
    *[
        "nan",
        "NaN",
        "NAN",
        "null",
        "NULL",
        "Null",
        "none",
        "None",
        "NONE",
        "NA",
        "N/A",
        "n/a",
        "#N/A",
        "<NA>",
        "NaT",
        "undefined",
    ],
)
TIME_UNITS = ("s", "ms", "us", "ns", "epoch", "excel")


@section
class TableFormat:
    """How one table is written, where the ending of its name and its first bytes do not say it."""

    separator: str = ""  # between cells: ";", "|", "::", tab, space; empty: by the ending of the name
    columns: tuple[str, ...] = ()  # names of the columns of a file without a header line, in order
    quoting: bool | None = None  # double quotes enclose cells; None: in CSV, or where the header line is quoted
    encoding: str = ""  # latin-1, cp1252, utf-16; empty: UTF-8, or what a byte order mark says
    decimal: Literal[".", ",", "point", "comma"] = "."
    shape: str = ""  # of a public file that is no table: a name in jaxrec/data/shapes.py
    plain_text: bool = False  # item texts: strip HTML, and join lists that are written as text
    max_line: float = 16.0  # MB of one line; a longer one is no row, and would be read into memory whole
    max_unpacked: float = 100.0  # times its size that a compressed or Parquet file may become; 128 MB are always fine

    def check(self, name: str) -> None:
        """Raise InputError for values that no file can have; `name` is the section."""
        twice = sorted({column for column in self.columns if self.columns.count(column) > 1})
        if twice:
            raise InputError(
                f"{name}.columns: {quoted(twice[0])} is given twice; expected one name per column of the file."
            )
        if any(letter in self.delimiter for letter in '"\r\n'):
            raise InputError(
                f"{name}.separator: {quoted(self.separator)} cannot separate cells; expected ';', '|', tab, ..."
            )
        if self.quoting and len(self.delimiter.encode()) > 1:
            raise InputError(
                f"{name}.quoting: only read with separators of one character, got {quoted(self.separator)}; remove it."
            )
        for limit in ("max_line", "max_unpacked"):
            check_range(f"{name}.{limit}", getattr(self, limit), 0, open_low=True)
        try:
            known = not self.encoding or codecs.lookup(self.encoding)._is_text_encoding  # type: ignore[attr-defined]
        except (LookupError, ValueError):
            known = False
        if not known:
            raise InputError(
                f"{name}.encoding: no encoding {quoted(self.encoding)}; expected one such as "
                "latin-1, cp1252, utf-16, gbk."
            )

    @property
    def decimal_comma(self) -> bool:
        """Whether 4,5 is a number."""
        return self.decimal in (",", "comma")

    @property
    def delimiter(self) -> str:
        """The separator itself, if it was given by name."""
        return SEPARATORS.get(self.separator, self.separator)


@section
class FileFormats:
    """How the tables of `data.source: files` are written."""

    log: TableFormat = TableFormat()
    items: TableFormat = TableFormat()
    users: TableFormat = TableFormat()

    def __post_init__(self):
        for name in ("log", "items", "users"):
            getattr(self, name).check(f"data.files.{name}")


@section
class RowFilter:
    """Rows of a table that are kept: those whose cell in `column` fulfils all that is set."""

    column: str
    equals: str | None = None  # text, or the same number
    in_: tuple[str, ...] = ()  # written `in`
    not_in: tuple[str, ...] = ()
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self):
        if not (self.in_ or self.not_in) and {self.equals, self.at_least, self.at_most} == {None}:
            raise InputError(
                f"data.where: column {quoted(self.column)} has no condition; set equals, in, not_in, at_least or "
                "at_most (also in data.item_where)."
            )


@section
class IdRules:
    """What ids of users and items have to have in common to be the same. 318.0 is always 318."""

    strip_zeros: bool = False  # 00318 is 318
    casefold: bool = False  # B00X is b00x
    normalize: Literal["", "NFC", "NFD", "NFKC", "NFKD"] = ""  # forms of one letter in Unicode


def check_time_format(value: str) -> None:
    """Raise InputError unless `data.time_format` is empty, a unit or a pattern."""
    try:
        datetime.datetime.strptime("", value)
    except ValueError as error:
        if "bad directive" in str(error) or "stray" in str(error):
            raise InputError(f"data.time_format: {error}; see the table of strptime in Python's docs.") from None
    except re.error:
        raise InputError(f"data.time_format: {quoted(value)} has a part twice; remove one of them.") from None
    if value and "%" not in value:
        check_name("data.time_format (or a pattern such as %d/%m/%Y)", value, TIME_UNITS)
