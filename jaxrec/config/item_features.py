"""The section about what is known of items besides their texts."""

from collections.abc import Mapping
from typing import Literal

from jaxrec.checks import InputError, check_range
from jaxrec.config.section import section
from jaxrec.foreign import quoted

NPY, PARQUET = ".npy", ".parquet"  # endings of files with vectors


@section
class ItemFeature:
    """One feature of items; it becomes a block of columns of the item table."""

    kind: Literal["number", "category", "vector"]
    column: str = ""  # of the item table, or of a .parquet `file`; empty: the name of the feature
    separator: str = ""  # category: stands between the values of one cell; empty: a cell is one value
    values: int = 32  # category: most frequent values that get a column of their own
    file: str = ""  # vector: NAME.npy or NAME.parquet in data.path, one row per item
    ids: str = ""  # vector: file with one item id per line (of .npy), or the column of item ids (of .parquet)
    weight: float = 1.0  # root mean square length of the block's rows, where the text has 1


def check_item_features(features: Mapping[str, ItemFeature], has_items: bool, typed_items: bool) -> None:
    """Raise InputError for settings that do not belong together.

    `has_items` tells whether there is an item table, `typed_items` whether a column of it may hold vectors.
    """
    for name, feature in features.items():
        where = f"data.item_features.{name}"
        check_range(f"{where}.values", feature.values, 1)
        check_range(f"{where}.weight", feature.weight, 0, open_low=True)
        for option, kind in {"separator": "category", "file": "vector", "ids": "vector"}.items():
            if getattr(feature, option) and feature.kind != kind:
                raise InputError(f"{where}.{option}: only of kind {kind}, got kind {feature.kind}; remove it.")
        if feature.file:
            _check_file(where, feature)
        elif feature.ids:
            raise InputError(f"{where}.ids: set without a file; add {where}.file, or remove it.")
        elif not has_items:
            raise InputError(f"{where}: is read from the item table, and there is none; name one, or remove it.")
        elif feature.kind == "vector" and not typed_items:
            raise InputError(
                f"{where}: only a Parquet item table (data.item_file) can hold vectors; set {where}.file instead."
            )


def _check_file(where: str, feature: ItemFeature) -> None:
    if not feature.file.endswith((NPY, PARQUET)):
        raise InputError(f"{where}.file: expected NAME{NPY} or NAME{PARQUET}, got {quoted(feature.file)}.")
    if not feature.ids:
        wanted = "the file with one item id per line" if feature.file.endswith(NPY) else "the column of item ids"
        raise InputError(f"{where}.ids: missing; set it to {wanted}.")
    if feature.column and feature.file.endswith(NPY):
        raise InputError(f"{where}.column: a {NPY} file has no columns; remove it.")
