"""Files that are small and become large: compressed ones, and Parquet and NumPy files that announce too much.

Each reader asks before it makes room, so that memory follows what a file may hold and not what it says.
"""

import io
import lzma
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as parquet

from jaxrec.checks import InputError
from jaxrec.foreign import quoted

compute: Any = pyarrow.compute  # its functions are made at import, so type checkers do not see them
COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".xz": None}  # pyarrow's name; None: it cannot read it
ALWAYS = 128 * 2**20  # bytes that any file may become
ARRAY = 256 * 2**20  # bytes of one JSON array, which is read whole
CELLS = 2**24  # cells that any Parquet file may have
CHUNK = 2**20
XZ_MEMORY = 256 * 2**20  # bytes of the dictionary that a .xz file asks for; `xz -9` asks for 65 MB


class Limits(NamedTuple):
    """How long a line may be, and how many times its size a file may become."""

    line: float = 16 * 2**20  # bytes
    ratio: float = 100.0
    setting: str = ""  # the section of the recipe that has them; empty: no setting changes them

    def most(self, path: Path) -> float:
        """Bytes that a file may become."""
        return max(ALWAYS, self.ratio * path.stat().st_size)

    def advice(self, name: str, otherwise: str) -> str:
        """Give '; if that is right, set data.files.log.NAME higher', or another way."""
        return f"; if that is right, set {self.setting}.{name} higher" if self.setting else f"; {otherwise}"


USUAL = Limits()


def open_bytes(path: Path, limits: Limits = USUAL) -> Any:
    """Open a file for reading bytes, within limits; a compressed one (COMPRESSED) is unpacked while it is read."""
    suffix = path.suffix.lower()
    if suffix == ".xz":
        return Limited(Xz(path), path, limits)
    return Limited(pa.input_stream(str(path), compression=COMPRESSED.get(suffix)), path, limits)


class Xz:
    """The content of a .xz file, read with bounded memory: Python's own reader has no bound."""

    def __init__(self, path: Path):
        self.path, self.file = path, path.open("rb")
        self.decoder = lzma.LZMADecompressor(memlimit=XZ_MEMORY)

    def read(self, size: int) -> bytes:
        """Give the next bytes, at most `size`; none at the end. Raises EOFError or LZMAError if it is damaged."""
        while True:
            data = b""
            if self.decoder.eof:  # another stream may follow, after a padding of zeros
                data = self.decoder.unused_data.lstrip(b"\0")
                while not data:
                    if not (more := self.file.read(CHUNK)):
                        return b""
                    data = more.lstrip(b"\0")
                self.decoder = lzma.LZMADecompressor(memlimit=XZ_MEMORY)
            elif self.decoder.needs_input and not (data := self.file.read(CHUNK)):
                raise EOFError("it ends in the middle")
            if chunk := self._decompress(data, size):
                return chunk

    def _decompress(self, data: bytes, size: int) -> bytes:
        try:
            return self.decoder.decompress(data, size)
        except lzma.LZMAError as error:
            if "emory" not in str(error):
                raise
            raise InputError(
                f"{self.path}: needs more than {XZ_MEMORY / 2**20:.0f} MB of memory to be unpacked; unpack it first, "
                "or pack it again with `xz -9` or less."
            ) from None

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class Limited(io.RawIOBase):
    """A file of which reading raises InputError when a line, or all of it, becomes longer than the limits."""

    def __init__(self, file: Any, path: Path, limits: Limits):
        self.file, self.path, self.limits = file, path, limits
        self.most = limits.most(path) if path.suffix.lower() in COMPRESSED else float("inf")
        self.total, self.line = 0, 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with the next bytes."""
        chunk = self._next(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def read(self, size: int = -1) -> bytes:
        """Give the next bytes, or all of them."""
        return self._next(size) if size >= 0 else b"".join(iter(lambda: self._next(CHUNK), b""))

    def _next(self, size: int) -> bytes:
        chunk = self.file.read(size)
        self.total += len(chunk)
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
        # Lines within the chunk are in memory already. What counts is one that goes on from chunk to chunk.
        self.line = self.line + len(chunk) if end < 0 else len(chunk) - end - 1
        if self.total > self.most:
            raise InputError(
                f"{self.path}: becomes more than {self.most / 2**20:,.0f} MB when it is unpacked, "
                f"{self.most / self.path.stat().st_size:,.0f} times its size"
                f"{self.limits.advice('max_unpacked', 'if that is right, unpack it first')}."
            )
        if self.line > self.limits.line:
            raise InputError(
                f"{self.path}: a line of more than {self.limits.line / 2**20:,.0f} MB; expected one row per line"
                f"{self.limits.advice('max_line', 'write it again')}."
            )
        return chunk

    def close(self) -> None:
        """Close the file."""
        self.file.close()
        super().close()


def check_parquet(path: Path, file: parquet.ParquetFile, wanted: list[str], limits: Limits) -> None:
    """Raise InputError if a Parquet file has more cells than its size allows: a few bytes can repeat one forever."""
    groups = (file.metadata.row_group(number) for number in range(file.num_row_groups))
    columns = (group.column(number) for group in groups for number in range(group.num_columns))
    cells = sum(column.num_values for column in columns if column.path_in_schema.partition(".")[0] in wanted)
    if max(cells, file.metadata.num_rows) > max(CELLS, limits.ratio * path.stat().st_size):
        raise InputError(
            f"{path}: {cells:,} cells in {path.stat().st_size:,} bytes"
            f"{limits.advice('max_unpacked', 'write it again')}."
        )


def check_repeated(path: Path, name: str, column: pa.ChunkedArray, limits: Limits) -> None:
    """Raise InputError if cells that repeat long texts would take more memory than the file's size allows."""
    most, total = limits.most(path), 0
    for chunk in column.chunks:
        if pa.types.is_dictionary(chunk.type) and len(chunk.dictionary):
            lengths = np.asarray(compute.binary_length(chunk.dictionary).fill_null(0))
            rows = np.bincount(np.asarray(chunk.indices.drop_null()), minlength=len(lengths))
            total += int(lengths.astype(np.int64) @ rows)
    if total > most:
        raise InputError(
            f"{path}: column {quoted(name)} becomes {total / 2**20:,.0f} MB of text"
            f"{limits.advice('max_unpacked', 'write it again')}."
        )


def check_npz(path: Path) -> None:
    """Raise InputError if a .npz file unpacks to more than its size allows, or announces more than it holds.

    Raises OSError, ValueError or BadZipFile if it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        total, most = sum(entry.file_size for entry in entries), USUAL.most(path)
        if total > most:
            raise InputError(f"{path}: becomes {total / 2**20:,.0f} MB when it is unpacked; save it uncompressed.")
        for entry in entries:
            with archive.open(entry) as file:
                announced = _announced(file)
            if announced > entry.file_size:
                raise InputError(
                    f"{path}: {quoted(entry.filename)} announces {announced:,} bytes and has {entry.file_size:,}; "
                    "write it again."
                )


def _announced(file: Any) -> int:
    """Bytes that the header of a .npy file announces; 0 for a file of another kind."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except ValueError:
        return 0
    size = dtype.itemsize
    for length in shape:  # in whole numbers of any size
        size *= int(length)
    return abs(size)
