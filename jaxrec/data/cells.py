"""The columns of one file as cells of text, whatever types the file had."""

import dataclasses
import io
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

from jaxrec.checks import InputError
from jaxrec.data.unpacked import USUAL, Limits, open_bytes
from jaxrec.foreign import quoted

compute: Any = pyarrow.compute  # its functions are made at import, so type checkers do not see them
MOST_TEXT = 2**31 - 1  # bytes of a column: the offsets of its cells are int32
WHOLE_BITS = {16: 11, 32: 24}  # of the whole numbers that floats of so many bits have; longer ones are seen as text


class Places(NamedTuple):
    """The line numbers of the rows of a file, counted from 1."""

    good: Sequence[int]  # of the well-formed rows, as far as they are known
    malformed: Sequence[int] = ()
    unit: str = "line"  # 'row' if the file has no lines

    def of(self, row: int) -> str:
        """Give 'line N' of a well-formed row."""
        return f"{self.unit} {self.good[row]}" if row < len(self.good) else f"a later {self.unit}"


@dataclasses.dataclass(frozen=True)
class Part:
    """Columns of one file, with R well-formed rows."""

    path: Path
    cells: Mapping[str, pa.Array]  # [R] text; empty where the file has nothing
    places: Callable[[], Places]  # may read the file once more, so it is for messages only
    malformed: int = 0  # further rows, not among the R
    fault: str = ""  # what is wrong with the malformed rows: 'with the wrong number of cells'
    fix: str = ""  # a setting that may mend them: '; set ...'
    notes: tuple[str, ...] = ()  # lines for the account about how the file was read
    given: int | None = None  # R, once the table has the cells

    def __len__(self) -> int:
        return len(next(iter(self.cells.values()))) if self.given is None else self.given

    def without_cells(self) -> "Part":
        """What is needed for messages once a table has the cells, which would otherwise be held twice."""
        return dataclasses.replace(self, cells={}, given=len(self))


def first_line(error: Exception) -> str:
    """Give the first line of a library's error message, short enough for one line of ours."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")


def joined_chunks(column: pa.ChunkedArray, name: str, where: str) -> pa.Array:
    """Join the chunks of a column [R] into one array; one chunk is not copied.

    Raises InputError if they hold more text than fits an array, whose offsets are int32; `where` names the file.
    """
    if column.num_chunks == 1:
        return column.chunk(0)
    try:
        return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    except (pa.ArrowInvalid, pa.ArrowCapacityError):
        raise _too_much(name, where) from None


def _too_much(name: str, where: str) -> InputError:
    return InputError(
        f"{where}: column {quoted(name)} holds more than 2 GB of text, which is the most; read fewer rows."
    )


def check_utf8(path: Path, limits: Limits = USUAL) -> None:
    """Raise InputError that names the first line that is not UTF-8 text."""
    setting = limits.setting
    mend = f", or set {setting}.encoding to what it is (latin-1, cp1252, utf-16, ...)" if setting else ""
    with open_bytes(path, limits) as raw, io.BufferedReader(raw) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                raise InputError(f"{path} line {number}: not UTF-8 text; save the file as UTF-8{mend}.") from None


def as_text(column: pa.Array | pa.ChunkedArray, name: str, where: str, joined: bool = False) -> pa.Array:
    """Turn cells [R] of any plain type into text [R]; null and NaN become empty text.

    With `joined`, lists of plain values become 'one, two'. Whole numbers lose their '.0', so that an id is the same
    text as integer and as float. Times become ISO dates in UTC. Raises InputError for nested values; `where` names the
    file.
    """
    cells: Any = joined_chunks(column, name, where) if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if getattr(cells.type, "extension_name", "") == "arrow.uuid":
        found = cells.storage.dictionary_encode()
        words = [str(uuid.UUID(bytes=one)) for one in found.dictionary.to_pylist()]
        cells = pa.array(words, pa.string()).take(found.indices)
    kind = cells.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if joined and lists and not pa.types.is_nested(kind.value_type):
        texts = as_text(compute.list_flatten(cells), name, where)
        offsets = np.r_[0, np.cumsum(compute.fill_null(compute.list_value_length(cells), 0).to_numpy())]
        return compute.binary_join(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), texts), ", ")
    if pa.types.is_nested(kind):
        raise InputError(f"{where}: column {quoted(name)} holds {kind}; expected one value per row; flatten it.")
    if pa.types.is_floating(kind):
        cells = _floats_as_text(compute.cast(cells, pa.float64()) if kind.bit_width < 32 else cells)
    try:
        if pa.types.is_timestamp(kind):  # digits beyond microseconds are cut, as in text
            in_utc = cells.cast(pa.timestamp("us", kind.tz and "UTC"), safe=kind.unit != "ns")
            cells = in_utc.cast(pa.timestamp("us"))
        return compute.fill_null(compute.cast(cells, pa.string()), "")
    except pa.ArrowCapacityError:
        raise _too_much(name, where) from None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        if kind in (pa.large_string(), pa.large_binary()) and cells.nbytes > MOST_TEXT:
            raise _too_much(name, where) from None
        bytes_ = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
        wanted = "UTF-8 text" if any(test(kind) for test in bytes_) else "numbers, text or times"
        raise InputError(
            f"{where}: column {quoted(name)} holds {kind} that cannot be read; expected {wanted}; write it as text."
        ) from None


def check_digits(column: pa.ChunkedArray, name: str, where: str) -> None:
    """Raise InputError if short floats have whole numbers beyond those that they can tell apart."""
    if pa.types.is_floating(column.type) and column.type.bit_width in WHOLE_BITS:
        bits = WHOLE_BITS[column.type.bit_width]
        largest = compute.max(compute.abs(column.cast(pa.float64()))).as_py() or 0
        if largest > 2**bits:
            raise InputError(
                f"{where}: column {quoted(name)} holds {column.type} up to {largest:.0f}, whose last digits are lost "
                f"(beyond {2**bits:,}); write it as whole numbers or text."
            )


def _floats_as_text(cells: pa.Array) -> pa.Array:
    whole = compute.and_(compute.equal(cells, compute.floor(cells)), compute.less(compute.abs(cells), 2.0**53))
    integers = compute.cast(compute.if_else(whole, cells, None), pa.int64())
    others = compute.if_else(compute.or_(whole, compute.is_nan(cells)), None, cells)
    return compute.coalesce(compute.cast(integers, pa.string()), compute.cast(others, pa.string()))
