"""Findings about the columns of a log and its tables: types, missing cells, distinct values."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from jaxrec.config.data import DataConfig
from jaxrec.data.cells import compute
from jaxrec.data.choose import with_points
from jaxrec.data.clock import read_times
from jaxrec.data.ids import blank, clean_ids
from jaxrec.data.raw_tables import RawTable, raw_tables
from jaxrec.data.table import Table
from jaxrec.data.values import numbers

FEW_VALUES = 8  # a column with at most so many distinct values is shown with all of them
MOSTLY = 0.9  # share of numbers in a column that most likely should hold numbers only
DATES = 1000  # distinct cells that are tried as dates


def check_tables(config: DataConfig, span: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, set[str]]]:
    """Findings about each table of a recipe, and the item ids of its item table, if it has one.

    `span` has the first and last time of the log, and whether they are dates.
    Each table is read, described and dropped, so that memory holds one at a time.
    """
    found, ids = [], {}
    for raw in raw_tables(config):
        table = raw.read()
        found.append(
            {"table": raw.kind, "file": raw.name, "rows": len(table), "columns": _columns(raw, table, config, span)}
            | {"unused": list(raw.unused)}
        )
        if raw.kind == "items":
            ids["items"] = set(clean_ids(table.cells[raw.id_columns["item"]], config).unique().to_pylist()) - {""}
    return found, ids


def join_of(log_ids: tuple[str, ...], table_ids: set[str]) -> dict[str, Any]:
    """How many ids of the log the item table has, and the other way round."""
    both = len(table_ids.intersection(log_ids))
    return {
        "items_of_log": len(log_ids),
        "of_them_in_table": both,
        "items_of_table": len(table_ids),
        "of_them_in_log": both,
    }


def _columns(raw: RawTable, table: Table, config: DataConfig, span: Mapping[str, Any]) -> list[dict[str, Any]]:
    settings: dict[str, list[str]] = {}
    for setting, column in raw.uses.items():
        settings.setdefault(column, []).append(setting.removeprefix("data.").partition("[")[0])
    found = []
    for name, used_as in settings.items():
        cells = table.cells[name]
        is_id = name in raw.id_columns.values()
        finding = column_finding(
            clean_ids(cells, config).dictionary_decode() if is_id else cells, config.missing, raw.decimal_comma
        )
        if is_id:
            # Ids are names: their range says nothing, and those of users are never shown.
            finding = {key: value for key, value in finding.items() if key not in ("values", "least", "greatest")}
        if any(use in ("columns.request", "columns.review") for use in used_as):
            finding.pop("values", None)
        if "columns.time" in used_as:
            finding = {**finding, "type": _time_type(cells, config, finding["type"])}
            if span["dates"]:
                finding |= {"first": span["first"], "last": span["last"]}
        found.append({"column": name, "used_as": used_as, **finding})
    return found


def column_finding(cells: pa.Array, missing: tuple[str, ...] = (), decimal_comma: bool = False) -> dict[str, Any]:
    """Type, share of missing cells and number of distinct values of cells [R] of text.

    Numbers have a range. A column with few distinct values has the number of rows of each, most frequent first.
    """
    encoded = cells.dictionary_encode()
    words = blank(encoded.dictionary, missing)
    counts = np.bincount(encoded.indices.to_numpy(), minlength=len(words))
    present = compute.not_equal(words, "").to_numpy(zero_copy_only=False)
    words, counts = words.filter(pa.array(present)), counts[present]
    found: dict[str, Any] = {"missing": 1 - int(counts.sum()) / max(len(cells), 1), "distinct": len(words)}
    values = numbers(with_points(words) if decimal_comma else words)
    found = {"type": _type(words, counts, values), **found}
    if len(words) and "number" in found["type"]:
        found |= {"least": float(np.nanmin(values)), "greatest": float(np.nanmax(values))}
    if 0 < len(words) <= FEW_VALUES:
        order = np.argsort(-counts, kind="stable")
        found["values"] = {words[int(n)].as_py(): int(counts[n]) for n in order}
    return found


def _type(words: pa.Array, counts: np.ndarray, values: np.ndarray) -> str:
    """Say what distinct words [N], of which `values` [N] are the numbers, most likely are."""
    if not len(words):
        return "empty"
    bad = np.isnan(values)
    if not bad.any():
        return "whole number" if (values == np.floor(values)).all() else "number"
    share = counts[~bad].sum() / counts.sum()
    if share >= MOSTLY:
        return f"number in {share:.1%} of the cells, else text"
    if set(compute.utf8_lower(words.slice(0, 10)).to_pylist()) <= {"true", "false", "0", "1"}:
        return "true or false"
    return "text" if read_times(words.slice(0, DATES), "")[1].any() else "date"


def _time_type(cells: pa.Array, config: DataConfig, otherwise: str) -> str:
    """Say how times are read: by the format of the recipe, or as what they look like."""
    form: Mapping[str, str] = {"excel": "days of a spreadsheet", "epoch": "numbers since 1970 of any unit"}
    if not config.time_format:
        return otherwise
    share = read_times(cells, config.time_format)[1].mean()
    name = form.get(config.time_format, f"time as {config.time_format}")
    return f"{name}, not read in {share:.1%} of the cells" if share else name
