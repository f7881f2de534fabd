"""Features of items besides their texts: numbers, categories and vectors, each encoded as a block of columns.

What a block's columns mean is fixed on one catalogue (`fit_encoding`) and kept with everything that was trained on it,
so that new items and other catalogues get the same columns (`encode`):

    number    standardised value | missing
    category  the most frequent values | other values | missing
    vector    the vector at unit length | missing

A block's rows have the root mean square length `weight` (1: that of the text vectors) over the first catalogue.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jaxrec.checks import InputError, suggest
from jaxrec.config.data import DataConfig
from jaxrec.config.item_features import ItemFeature
from jaxrec.config.load import build_section, to_dict
from jaxrec.data.item_text import ItemTable
from jaxrec.data.item_vectors import aligned, read_item_vectors
from jaxrec.data.log import counted
from jaxrec.data.values import comma_advice, numbers
from jaxrec.foreign import quoted

LARGEST = 5.0  # standard deviations, where numbers are cut: one outlier must not drown the rest of its item's row


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureEncoding:
    """How one feature becomes columns; plain data, so that it can be kept as JSON."""

    kind: str
    scale: float = 1.0  # of the whole block
    mean: float = 0.0  # number
    deviation: float = 1.0  # number
    values: tuple[str, ...] = ()  # category: those with a column
    size: int = 0  # vector: D
    # Whether an item of the first catalogue had these. If none had, the column stays 0, since its weights were never
    # trained.
    other: bool = False
    missing: bool = False

    @property
    def width(self) -> int:
        """Columns of the block."""
        return {"number": 2, "category": len(self.values) + 2, "vector": self.size + 1}[self.kind]


Encodings = Mapping[str, FeatureEncoding]  # by name of the feature, in the order of the blocks


@dataclasses.dataclass(frozen=True)
class FeatureBlocks:
    """The encoded features of a catalogue."""

    encodings: Encodings = dataclasses.field(default_factory=dict)
    blocks: tuple[np.ndarray, ...] = ()  # [I, width] float32 each

    @property
    def width(self) -> int:
        """Columns of all blocks."""
        return sum(encoding.width for encoding in self.encodings.values())


def feature_columns(config: DataConfig) -> dict[str, str]:
    """Columns of the item table that numbers and categories need, by the setting that asks for each."""
    features = config.item_features.items()
    return {f"data.item_features.{n}.column": f.column or n for n, f in features if f.kind != "vector"}


def read_features(ids: Sequence[str], items: ItemTable, config: DataConfig) -> dict[str, np.ndarray]:
    """Values of every feature for the catalogue `ids`, by name.

    [I] float64 for a number, NaN where it is missing. [I] of tuples of text for a category. [I, D] for a vector, NaN
    where it is missing. Raises InputError for what cannot be read, and for a feature that all items lack.
    """
    row = {item: n for n, item in reversed(list(enumerate(items.ids)))}
    features = {}
    for name, feature in config.item_features.items():
        setting = f"data.item_features.{name}"
        if feature.kind == "vector":
            values = aligned(read_item_vectors(name, feature, config), ids, setting)
            missing = np.isnan(values).all(1)
        else:
            column = _column(items, feature.column or name, f"{setting}.column")
            cells = [column[row[item]].strip() if item in row else "" for item in ids]
            missing = np.array([not cell for cell in cells])
            values = _numbers(cells, ids, f"{items.name}: {setting}", config) if feature.kind == "number" else None
            values = _split(cells, feature.separator) if values is None else values
        if missing.all():
            raise InputError(f"{setting}: missing for all {len(ids):,} items of the log; correct or remove it.")
        features[name] = values
    return features


def fit_encoding(features: Mapping[str, np.ndarray], config: DataConfig) -> dict[str, FeatureEncoding]:
    """Fix the columns of every feature on the values of one catalogue."""
    return {name: _fit(values, config.item_features[name]) for name, values in features.items()}


def encode(features: Mapping[str, np.ndarray], encodings: Encodings) -> FeatureBlocks:
    """Encode the values of a catalogue; raises InputError if the features are not those of the encodings."""
    if features.keys() != encodings.keys():
        before, now = (", ".join(sorted(names)) or "none" for names in (encodings, features))
        raise InputError(f"data.item_features: the earlier run had {before}, this recipe has {now}; use the same.")
    for name, one in encodings.items():
        was, now = _described(one.kind, one.size), _described(_kind(features[name]), features[name].shape[-1])
        if was != now:
            raise InputError(f"data.item_features.{name}: the earlier run had a {was}, now it is a {now}; keep it.")
    blocks = (_unscaled(features[name], one) * np.float32(one.scale) for name, one in encodings.items())
    return FeatureBlocks(dict(encodings), tuple(blocks))


def encodings_as_json(encodings: Encodings) -> dict[str, Any]:
    """Plain data for a JSON file."""
    return to_dict(encodings)


def encodings_from_json(values: Mapping[str, Any], where: Path | str) -> dict[str, FeatureEncoding]:
    """Invert `encodings_as_json`; raises InputError that names the file `where` if it is damaged."""
    return {name: build_section(FeatureEncoding, value, name, str(where)) for name, value in values.items()}


def _fit(values: np.ndarray, feature: ItemFeature) -> FeatureEncoding:
    first = FeatureEncoding(kind=feature.kind, other=True, missing=True)
    if feature.kind == "number":
        present = values[~np.isnan(values)]
        first = dataclasses.replace(first, mean=float(present.mean()), deviation=float(present.std()) or 1.0)
    elif feature.kind == "vector":
        first = dataclasses.replace(first, size=values.shape[1])
    else:
        counts = collections.Counter(value for some in values for value in some)
        frequent = sorted(counts, key=lambda value: (-counts[value], value))[: feature.values]
        first = dataclasses.replace(first, values=tuple(frequent))
    block = _unscaled(values, first).astype(np.float64)
    length = float(np.sqrt((block**2).sum(1).mean()))
    other = feature.kind == "category" and bool(block[:, -2].any())
    scale = feature.weight / max(length, 1e-8)
    return dataclasses.replace(first, scale=scale, other=other, missing=bool(block[:, -1].any()))


def _unscaled(values: np.ndarray, encoding: FeatureEncoding) -> np.ndarray:
    """The block before it is scaled, [I, width] float32."""
    block = np.zeros((len(values), encoding.width), np.float32)
    if encoding.kind == "category":
        place = {value: n for n, value in enumerate(encoding.values)}
        for n, some in enumerate(values):
            block[n, [place.get(value, len(place)) for value in some]] = 1.0
        block[:, -2] *= encoding.other
        missing = np.array([not some for some in values])
    elif encoding.kind == "number":
        missing = np.asarray(np.isnan(values))
        block[:, 0] = np.clip(np.where(missing, 0.0, (values - encoding.mean) / encoding.deviation), -LARGEST, LARGEST)
    else:
        missing = np.asarray(np.isnan(values).all(1))
        rows = np.where(missing[:, None], 0.0, values).astype(np.float64)
        block[:, :-1] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
    block[:, -1] = missing & encoding.missing
    return block


def _kind(values: np.ndarray) -> str:
    return "vector" if values.ndim == 2 else "category" if values.dtype == object else "number"


def _described(kind: str, size: int) -> str:
    return f"vector of {size} numbers" if kind == "vector" else kind


def _column(items: ItemTable, column: str, setting: str) -> Sequence[str]:
    columns = {**items.columns, **items.as_read}
    if column not in columns:
        raise InputError(
            f"{setting}: no column {quoted(column)} in {items.name}{suggest(column, columns)}; correct it "
            f"(columns: {', '.join(columns)})."
        )
    return columns[column]


def _numbers(cells: Sequence[str], ids: Sequence[str], where: str, config: DataConfig) -> np.ndarray:
    values = numbers(pa.array(cells, pa.string()))
    wrong = [n for n, cell in enumerate(cells) if cell and np.isnan(values[n])]
    if wrong:
        setting = "" if config.source == "tfds" else "data.files.items"
        mend = comma_advice(pa.array([cells[n] for n in wrong], pa.string()), setting)
        mend = mend or "; correct the column, or set its kind to category"
        raise InputError(
            f"{where}: {quoted(cells[wrong[0]])} of item {quoted(ids[wrong[0]])} is not a finite number "
            f"({counted(len(wrong), 'such item')}){mend}."
        )
    return values


def _split(cells: Sequence[str], separator: str) -> np.ndarray:
    """The values of each cell, each once: [I] of tuples."""
    values = np.empty(len(cells), object)
    for n, cell in enumerate(cells):
        parts = cell.split(separator) if separator else [cell]
        values[n] = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    return values
