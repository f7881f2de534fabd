"""Vectors of many texts in one file: numpy, Parquet or Orbax."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from jaxrec.checks import InputError
from jaxrec.foreign import quoted
from jaxrec.storage.files import atomic_path, check_orbax_path
from jaxrec.storage.portable import save_portable

KIND = "vectors"
ENDINGS = (".npy", ".parquet", "")


def check_output(path: Path, with_ids: bool) -> None:
    """Raise InputError for an unknown file ending, and for ids that the format cannot store."""
    if path.suffix not in ENDINGS:
        raise InputError(
            f"-o: {path}: expected NAME.npy, NAME.parquet or the name of a folder (Orbax), got {quoted(path.suffix)}."
        )
    if not path.suffix:
        check_orbax_path(path)
    if with_ids and path.suffix != ".parquet":
        raise InputError(f"--ids: {path.name} cannot store ids; write NAME.parquet, or leave --ids out.")


def write_vectors(path: Path, parts: Sequence[Path], ids: pa.Array | None) -> None:
    """Join `parts`, .npy files of [n, width] float32, into `path`, all or nothing, with one part in memory at a time.

    .npy: [N, width]. .parquet: one row per text with a list `vector` and, if `ids` [N] are given, an `id`. Otherwise a
    folder with an Orbax checkpoint of `{"vectors": [N, width]}`, which is assembled in memory.
    """
    if path.suffix == ".npy":
        _write_npy(path, parts)
    elif path.suffix == ".parquet":
        _write_parquet(path, parts, ids)
    else:
        vectors = np.concatenate([np.load(part) for part in parts])
        save_portable(path, KIND, {"vectors": vectors}, {"shape": list(vectors.shape)})


def _write_npy(path: Path, parts: Sequence[Path]) -> None:
    shapes = [np.load(part, mmap_mode="r").shape for part in parts]
    shape = (sum(rows for rows, _ in shapes), shapes[0][1])
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
    with atomic_path(path) as temporary, temporary.open("wb") as file:  # a memory map would count as memory
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            np.load(part).tofile(file)


def _write_parquet(path: Path, parts: Sequence[Path], ids: pa.Array | None) -> None:
    width = np.load(parts[0], mmap_mode="r").shape[1]
    fields = [pa.field("vector", pa.list_(pa.float32(), width))]
    if ids is not None:
        fields.insert(0, pa.field("id", pa.string()))
    start = 0
    with atomic_path(path) as temporary, parquet.ParquetWriter(temporary, pa.schema(fields)) as writer:
        for part in parts:
            vectors = np.load(part)
            columns = [pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), width)]
            if ids is not None:
                columns.insert(0, ids[start : start + len(vectors)].cast(pa.string()))
            writer.write_table(pa.table(columns, schema=pa.schema(fields)))
            start += len(vectors)
