"""Vectors of items that another model made, such as embeddings of images, from .npy and Parquet files, by item id."""

import collections
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig
from jaxrec.config.item_features import NPY, ItemFeature
from jaxrec.data.cells import as_text, compute, first_line
from jaxrec.data.ids import normalised
from jaxrec.data.log import counted
from jaxrec.data.paths import files_of
from jaxrec.data.table import check_columns, header
from jaxrec.data.unpacked import USUAL, check_parquet
from jaxrec.foreign import quoted
from jaxrec.home import expanded


class FileVectors(NamedTuple):
    """The vectors of one file or column; row n belongs to item ids[n]."""

    where: str  # file or column, for messages
    ids: Sequence[str]
    rows: np.ndarray  # [N, D] float32; NaN in the whole row if the item has no vector


def read_item_vectors(name: str, feature: ItemFeature, config: DataConfig) -> FileVectors:
    """Read what `data.item_features.NAME` of kind vector asks for.

    A row of zeros has no direction and counts as missing. Raises InputError for ids that occur twice, for rows of
    different lengths and for numbers that are not finite. In the item table the first row of an id counts, as usual.
    """
    setting, folder = f"data.item_features.{name}", expanded(config.path)
    if feature.file.endswith(NPY):
        found = _read_npy(folder / feature.file, folder / feature.ids, setting)
    else:
        table = folder / (feature.file or config.item_file)
        wanted = {f"{setting}.column": feature.column or name}
        wanted |= {f"{setting}.ids": feature.ids} if feature.file else {"data.columns.item_id": config.columns.item_id}
        check_columns(table, header(table, f"{setting}.file" if feature.file else "data.item_file"), wanted)
        found = _read_parquet(table, *wanted.values())
    found = found._replace(ids=normalised(pa.array(found.ids, pa.string()), config.ids).to_pylist())
    if feature.file:
        item, count = collections.Counter(found.ids).most_common(1)[0]
        if count > 1:
            raise InputError(
                f"{found.where}: {counted(count, 'row')} for item {quoted(item)}, expected one per item; "
                "remove the others."
            )
    wrong = np.flatnonzero(~np.isfinite(found.rows).all(1) & ~np.isnan(found.rows).all(1))
    if len(wrong):
        raise InputError(
            f"{found.where}: NaN or infinity in the vector of item {quoted(found.ids[wrong[0]])} "
            f"({counted(len(wrong), 'vector')} in all); expected finite numbers; make these vectors again."
        )
    found.rows[~found.rows.any(1)] = np.nan
    return found


def aligned(vectors: FileVectors, ids: Sequence[str], setting: str) -> np.ndarray:
    """Put the vectors into the order of the catalogue `ids`: [I, D], NaN without a vector.

    Raises InputError if no item of the catalogue has one.
    """
    row = {item: n for n, item in reversed(list(enumerate(vectors.ids)))}
    place = np.array([row.get(item, -1) for item in ids])
    if (place < 0).all():
        raise InputError(
            f"{setting}: no id of {vectors.where} is among the {len(ids):,} items of the log (the first ids are "
            f"{quoted(vectors.ids[0])} and {quoted(ids[0])}); correct the ids."
        )
    return np.where((place >= 0)[:, None], vectors.rows[place], np.float32(np.nan))


def _read_npy(path: Path, ids_path: Path, setting: str) -> FileVectors:
    for file, option in ((path, "file"), (ids_path, "ids")):
        if not file.is_file():
            raise InputError(f"{file}: no such file; correct {setting}.{option} or add the file.")
    try:
        rows = np.load(path, allow_pickle=False, mmap_mode="r")  # which believes no header
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a readable .npy file ({first_line(error)}); write it again.") from None
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "fiu" or rows.ndim != 2 or 0 in rows.shape:
        got = f"{rows.dtype} of shape {rows.shape}" if isinstance(rows, np.ndarray) else "an archive of arrays"
        raise InputError(f"{path}: expected numbers of shape [items, columns], got {got}; write it again.")
    try:
        ids = [line.strip() for line in ids_path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{ids_path}: cannot be read as UTF-8 text ({first_line(error)}); write it again.") from None
    if len(ids) != len(rows):
        raise InputError(
            f"{path}: {counted(len(rows), 'vector')}, but {ids_path.name} has {counted(len(ids), 'line')}; expected "
            "one id per vector, in the same order."
        )
    if "" in ids:
        raise InputError(f"{ids_path} line {ids.index('') + 1}: no id; expected one item id per line.")
    # A whole row of NaN would mean "no vector" from here on, and in a file without gaps it is a mistake.
    gone = np.flatnonzero(np.isnan(rows).all(1))
    if len(gone):
        raise InputError(f"{path}: the vector of item {quoted(ids[gone[0]])} is NaN; leave out items that have none.")
    return FileVectors(path.name, ids, _single(rows))


def _read_parquet(path: Path, column: str, id_column: str) -> FileVectors:
    """Read a column of lists; a null has no vector."""
    ids, parts, where = [], [], f"{path}: column {quoted(column)}"
    for file in files_of(path):
        try:
            opened = parquet.ParquetFile(file)
            check_parquet(file, opened, [id_column, column], USUAL)
            table = opened.read(columns=[id_column, column])
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{file}: not a readable Parquet file ({first_line(error)}); write it again.") from None
        ids += compute.utf8_trim_whitespace(as_text(table.column(id_column), id_column, str(file))).to_pylist()
        parts.append(_lists(table.column(column).combine_chunks(), where))
    widths = {part.shape[1] for part in parts if part.shape[1]}
    if len(widths) != 1:
        got = "vectors of different lengths" if widths else "no vector at all"
        raise InputError(f"{where}: {got}; expected lists of one length.")
    (width,) = widths
    empty = [part if part.shape[1] else np.full((len(part), width), np.nan, np.float32) for part in parts]
    return FileVectors(where, ids, np.concatenate(empty))


def _lists(cells: pa.Array, where: str) -> np.ndarray:
    """Lists [N] of numbers to [N, D] float32, NaN for a null; D = 0 without any list."""
    kind = cells.type
    if not pa.types.is_list(kind) and not pa.types.is_large_list(kind) and not pa.types.is_fixed_size_list(kind):
        raise InputError(f"{where} holds {kind}; expected lists of numbers.")
    inner = kind.value_type
    if not pa.types.is_floating(inner) and not pa.types.is_integer(inner):
        raise InputError(f"{where} holds lists of {inner}; expected lists of numbers.")
    present = cells.is_valid().to_numpy(zero_copy_only=False)
    lengths = compute.list_value_length(cells.drop_null()).to_numpy(zero_copy_only=False)
    if len(set(lengths.tolist())) > 1:
        raise InputError(f"{where}: vectors of {lengths.min()} to {lengths.max()} numbers; expected one length.")
    width = int(lengths[0]) if len(lengths) else 0
    rows = np.full((len(cells), width), np.nan, np.float32)
    numbers = compute.list_flatten(cells.drop_null()).cast(pa.float64())
    values = _single(numbers.to_numpy(zero_copy_only=False).reshape(-1, width) if width else np.zeros((0, 0)))
    gone = np.flatnonzero(np.isnan(values).all(1)) if width else []
    if len(gone):
        raise InputError(f"{where}: row {np.flatnonzero(present)[gone[0]] + 1} holds only NaN; write a null instead.")
    rows[present] = values
    return rows


def _single(rows: np.ndarray) -> np.ndarray:
    """A copy as float32; what is too large for it becomes infinite, and is refused as such."""
    with np.errstate(over="ignore"):
        return np.array(rows, np.float32)
