"""Logs from TensorFlow Datasets: any prepared data set whose features the recipe names, read without TensorFlow.

TFDS prepares a data set once, as array_record files. Preparing shuffles the rows, so they are sorted by time here.
Decoded columns are cached as Parquet, with pseudonyms in place of user ids.
"""

import hashlib
import hmac
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig
from jaxrec.config.files import IdRules
from jaxrec.data.cells import Part, Places, as_text, compute, first_line, joined_chunks
from jaxrec.data.clock import read_times
from jaxrec.data.ids import clean_ids
from jaxrec.data.log import Dataset
from jaxrec.data.pseudonyms import pseudonymise, user_key
from jaxrec.data.readers import assemble, derived_columns, item_columns, item_rows, no_items
from jaxrec.data.rows import log_columns, log_rows
from jaxrec.data.table import Table, check_columns, make_table
from jaxrec.foreign import quoted
from jaxrec.home import expanded
from jaxrec.progress import track
from jaxrec.storage.digests import Damaged, check_file, sealed_file

CACHE = Path("~/.cache/jaxrec/tfds")  # next to the compiled programs
CACHE_VERSION = "1"  # increase it when cells are made differently
CHUNK = 2**14  # rows decoded at a time
REMEDY = 'pip install "jaxrec[tfds-prepare]", then tfds build {} --file_format=array_record'


class Prepared(NamedTuple):
    """A data set as TFDS prepared it."""

    path: Path  # its full name, as in messages
    builder: Any
    split: str

    @property
    def features(self) -> dict[str, Any]:
        """Features of a row by name."""
        return dict(self.builder.info.features.items())

    @property
    def identity(self) -> list[Any]:
        """Plain values that differ between data sets, and after a data set is prepared again."""
        files = sorted(file for file in Path(self.builder.data_path).iterdir() if file.is_file())
        stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        return [self.builder.info.full_name, self.split, stats]


def read_tfds(config: DataConfig, seed: int) -> Dataset:
    """Read the data set that `data.tfds` names and, with `item_name`, its item texts; `seed` is not used.

    Rows are ordered by time. A label is read as its word, or as its number in a feedback column. A list of labels in
    the item table becomes 'word, word'.
    """
    del seed
    raw = log_rows(_log_of(config), config.columns, config)
    if not config.tfds.item_name:
        return assemble(raw, no_items(config), config, [])
    items, lines = item_rows(_items_of(config), config.columns, config)
    return assemble(raw, items, config, lines)


def read_tables(config: DataConfig) -> tuple[Table, Table | None]:
    """Read the log and, with `data.tfds.item_name`, the item table as cells of text; the log has pseudonyms."""
    return _log_of(config), _items_of(config) if config.tfds.item_name else None


def _log_of(config: DataConfig) -> Table:
    source = find_prepared(config.tfds.name, config, "data.tfds.name")
    wanted = log_columns(config.columns, config)
    check_columns(source.path, list(source.features), wanted)
    return _log_table(source, list(wanted.values()), config)


def _items_of(config: DataConfig) -> Table:
    source = find_prepared(config.tfds.item_name, config, "data.tfds.item_name")
    columns = item_columns(source.path, list(source.features), config.columns, config, derived_columns(config))
    return _item_table(source, columns)


def find_prepared(name: str, config: DataConfig, setting: str) -> Prepared:
    """Find the data set that `setting` names, as prepared on this machine; InputError says how to prepare it."""
    import tensorflow_datasets as tfds  # imported late: it takes 0.3 s and 100 modules

    folder, data_dir = expanded(name), str(expanded(config.tfds.data_dir))
    where = f" --data_dir={data_dir}" if config.tfds.data_dir else ""
    remedy = REMEDY.format(name) + where
    try:
        if (folder / "dataset_info.json").is_file():
            builder = tfds.builder_from_directory(folder)
        else:
            builder = tfds.builder(name, data_dir=data_dir if where else None)
    except (ValueError, KeyError, ImportError, OSError, AssertionError) as error:
        said = first_line(error)
        raise InputError(f"{setting}: {quoted(name)} is not prepared on this machine ({said}); {remedy}.") from None
    if not builder.info.splits:
        looked = Path(builder.data_path)
        raise InputError(f"{setting}: {quoted(name)} is not prepared on this machine (nothing in {looked}); {remedy}.")
    kind = builder.info.file_format.value if builder.info.file_format else "an unknown format"
    if kind != "array_record":
        raise InputError(
            f"{setting}: {quoted(name)} is prepared as {kind}, expected array_record; prepare it again: {remedy}."
        )
    try:
        rows = builder.info.splits[config.tfds.split].num_examples  # also of slices such as train[:10%]
    except (ValueError, KeyError, AssertionError):
        known = ", ".join(builder.info.splits)
        raise InputError(
            f"data.tfds.split: no split {quoted(config.tfds.split)} in {quoted(name)} (known: {known})."
        ) from None
    if not rows:
        raise InputError(
            f"data.tfds.split: {quoted(config.tfds.split)} of {quoted(name)} has no rows; choose another split."
        )
    return Prepared(Path(builder.info.full_name.replace("/", "-")), builder, config.tfds.split)


def _log_table(source: Prepared, wanted: Sequence[str], config: DataConfig) -> Table:
    key = user_key(config).secret
    columns = config.columns
    numeric = {name for kind in config.feedback.values() for name in (kind.column, kind.over)}

    def read() -> dict[str, pa.Array]:
        cells = _decoded(source, wanted, numeric)
        order = pa.array(np.argsort(read_times(cells[columns.time], config.time_format)[0], kind="stable"))
        cells[columns.user] = _pseudonyms(clean_ids(cells[columns.user], config).dictionary_decode(), key)
        return {name: column.take(order) for name, column in cells.items()}

    fingerprint = hmac.digest(key, b"jaxrec cache of TFDS rows", "sha256").hex()
    changes = [text for text in (str(config.ids), config.time_format) if text != str(IdRules())]
    settings = [*wanted, columns.user, columns.time, *sorted(filter(None, numeric)), *changes, fingerprint]
    cells = _cached(source, settings, read)
    return _table(source, cells, pseudonymous=True)


def _item_table(source: Prepared, wanted: Sequence[str]) -> Table:
    return _table(source, _cached(source, wanted, lambda: _decoded(source, wanted, set(), lists=True)))


def _table(source: Prepared, cells: Mapping[str, pa.Array], pseudonymous: bool = False) -> Table:
    rows = len(next(iter(cells.values())))
    part = Part(source.path, cells, lambda: Places(range(1, rows + 1), unit="row"))
    return make_table(source.path, [part], pseudonymous)


def _decoded(
    source: Prepared, wanted: Sequence[str], numeric: set[str | None], lists: bool = False
) -> dict[str, pa.Array]:
    """Decode the wanted features to cells [R] of text, in the order of TFDS."""
    import tensorflow_datasets as tfds

    features: dict[str, Any] = {name: source.features[name] for name in dict.fromkeys(wanted)}
    convert = {name: _converter(feature, name, source, name in numeric, lists) for name, feature in features.items()}
    # Read bytes and decode only the wanted features: twice as fast as rows of all features.
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    records = source.builder.as_data_source(split=source.split, deserialize_method=raw)
    decoder, chunks = tfds.features.FeaturesDict(features), {name: [] for name in features}
    with track(f"reading {source.path}", len(records)) as advance:
        for start in range(0, len(records), CHUNK):
            stop = min(start + CHUNK, len(records))
            rows: list[Any] = [
                decoder.deserialize_example_np(record) for record in records.__getitems__(list(range(start, stop)))
            ]
            for name, cells in chunks.items():
                cells.append(convert[name]([row[name] for row in rows]))
            advance(len(rows))
    return {name: joined_chunks(pa.chunked_array(cells), name, str(source.path)) for name, cells in chunks.items()}


def _converter(
    feature: Any, name: str, source: Prepared, numeric: bool, lists: bool
) -> Callable[[list[Any]], pa.Array]:
    """Give a function from decoded values of one feature to cells; InputError if a row has several values."""
    import tensorflow_datasets as tfds

    kinds: Any = tfds.features
    if lists and isinstance(feature, kinds.Sequence) and feature.feature.shape == ():
        inner = _converter(feature.feature, name, source, numeric, lists=False)
        return lambda rows: pa.array([", ".join(inner(list(row)).to_pylist()) for row in rows], pa.string())
    if isinstance(feature, kinds.FeaturesDict | kinds.Sequence) or feature.shape != ():
        raise InputError(
            f"{source.path}: feature {quoted(name)} holds {feature}; expected one value per row; name another feature."
        )
    if isinstance(feature, kinds.ClassLabel) and not numeric:
        return lambda rows: pa.array([feature.names[row] if row >= 0 else "" for row in rows], pa.string())
    if isinstance(feature, kinds.Text):
        return lambda rows: as_text(pa.array(rows, pa.binary()), name, str(source.path))
    return lambda rows: as_text(pa.array(np.array(rows, feature.np_dtype)), name, str(source.path))


def _pseudonyms(cells: pa.Array, key: bytes) -> pa.Array:
    """Replace user ids [R] by pseudonyms; empty cells stay empty and are reported as missing later."""
    encoded = compute.utf8_trim_whitespace(cells).dictionary_encode()
    ids = encoded.dictionary.to_pylist()
    hidden = [pseudonym if user else "" for user, pseudonym in zip(ids, pseudonymise(ids, key), strict=True)]
    return pa.array(hidden, pa.string()).take(encoded.indices)


def _cached(
    source: Prepared, settings: Sequence[str], read: Callable[[], dict[str, pa.Array]]
) -> Mapping[str, pa.Array]:
    """Load columns that the same settings read from the same files earlier; else read and cache them."""
    digest = hashlib.sha256(json.dumps([CACHE_VERSION, source.identity, list(settings)]).encode()).hexdigest()
    path = expanded(CACHE) / f"{source.path}-{digest[:24]}.parquet"
    try:
        check_file(path, "it is read again", must=False)
        table = parquet.ParquetFile(path, page_checksum_verification=True).read()
        return {name: table.column(name).combine_chunks() for name in table.column_names}
    except (OSError, pa.ArrowException, Damaged):  # missing or damaged
        cells = read()
    try:
        with sealed_file(path) as temporary:
            parquet.write_table(pa.table(cells), temporary, compression="zstd", write_page_checksum=True)
    except OSError as error:  # the rows are good, so a full disk must not lose them
        warnings.warn(f"{path}: rows were not cached ({error.strerror}).", stacklevel=2)
    return cells
