"""Ids as text: what is missing, what is the same id, and why the ids of two tables do not meet."""

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig
from jaxrec.config.files import IdRules
from jaxrec.data.cells import compute
from jaxrec.data.table import Fault
from jaxrec.foreign import quoted, shape_of

INTEGRAL = r"^([+-]?\d+)\.0+$"
PADDED = r"^0+(\d+)$"
INVISIBLE = "\ufeff\u200b\u200e\u2060\x00 "  # around an id: marks of byte order, of direction, of nothing
FORMULA = r'^="(.*)"$'  # how an id is kept from being a number in a spreadsheet
ROUND = r"^\d(\.\d{1,4})?e\+\d{2}$"  # 1e+05, as R writes an exact 100000
SCIENTIFIC = r"^[+-]?\d(\.\d+)?[eE]\+\d+$"  # 1.23457E+11, as a spreadsheet writes 123456789012
EXAMPLES = 3
SAMPLE = 10_000  # ids that are tried
REPAIRS: tuple[dict[str, Any], ...] = (  # what most often keeps ids apart
    {"strip_zeros": True},
    {"casefold": True},
    {"normalize": "NFC"},
    {"strip_zeros": True, "casefold": True, "normalize": "NFC"},
)


def clean_ids(cells: pa.Array, config: DataConfig) -> pa.DictionaryArray:
    """Turn cells [R] of ids into the text by which they are compared; empty where a word of `data.missing` is.

    A log has few ids and many rows, so each text is held once, in the order of first appearance.
    """
    encoded = cells.dictionary_encode()
    texts = normalised(blank(encoded.dictionary, config.missing), config.ids).dictionary_encode()  # some became equal
    return pa.DictionaryArray.from_arrays(texts.indices.take(encoded.indices), texts.dictionary)


def of_values(cells: pa.Array, test: Callable[[pa.Array], pa.Array]) -> np.ndarray:
    """Apply a test of texts once to each different cell; [R] bool."""
    encoded = cells.dictionary_encode()  # a dictionary stays what it is
    return test(encoded.dictionary).to_numpy(zero_copy_only=False)[encoded.indices.to_numpy()]


def normalised(texts: pa.Array, rules: IdRules) -> pa.Array:
    """Apply the rules to ids [N]; a whole number written as 318.0 or 3.18e+02 is always 318."""
    texts = compute.replace_substring_regex(compute.utf8_trim(texts, characters=INVISIBLE), FORMULA, r"\1")
    if compute.any(short := compute.match_substring_regex(texts, ROUND)).as_py():
        written = texts.filter(short).to_pylist()
        whole = [str(int(float(text))) if float(text).is_integer() else text for text in written]
        texts = compute.replace_with_mask(texts, short, pa.array(whole, pa.string()))
    texts = compute.replace_substring_regex(texts, INTEGRAL, r"\1")
    if rules.normalize:
        texts = compute.utf8_normalize(texts, form=rules.normalize)
    if rules.casefold:
        texts = pa.array([text.casefold() for text in texts.to_pylist()], pa.string())
    return compute.replace_substring_regex(texts, PADDED, r"\1") if rules.strip_zeros else texts


def one_id(text: str, config: DataConfig) -> str:
    """Apply the rules to the id that a person gives."""
    return normalised(pa.array([text.strip()], pa.string()), config.ids)[0].as_py()


def without_digits(ids: pa.Array) -> np.ndarray:
    """Find ids [R] that were rounded, such as 1.23457E+11: different ids may have become one; [R] bool."""
    return of_values(ids, lambda texts: compute.match_substring_regex(texts, SCIENTIFIC))


def rounded(column: str, rows: np.ndarray) -> Fault:
    """Give the fault of rows [R] whose ids or times are like 1.23E+11."""
    return Fault(f"scientific notation in place of all digits in {column}", column, rows, "; export them as text")


def blank(cells: pa.Array, missing: Sequence[str]) -> pa.Array:
    """Empty the cells that hold a word for a missing value."""
    if not missing:
        return cells
    return compute.if_else(compute.is_in(cells, value_set=pa.array(missing, cells.type)), "", cells)


def check_joined(
    ids: Collection[str], known: Collection[str], where: str, setting: str, rules: IdRules, *, private: bool = False
) -> None:
    """Raise InputError if none of the `ids` of the log is `known` to the table that `where` names.

    The message has examples of both sides; if they are `private`, it shows only how they are written.
    """
    if not ids or not known or not set(known).isdisjoint(ids):
        return
    show = shape_of if private else quoted
    log, table = (", ".join(show(one) for one in list(side)[:EXAMPLES]) for side in (ids, known))
    mend = repair(ids, known, rules)
    remedy = f"set {mend}" if mend else f"correct {setting}, the column of the log or the table"
    raise InputError(
        f"{where}: none of the {len(ids):,} ids of the log is in it: the log has {log}, the table has "
        f"{table}; {remedy}."
    )


def repair(ids: Collection[str], known: Collection[str], rules: IdRules) -> str:
    """Find the settings with which most ids are known, as a command line has them; empty if none helps."""
    counts, ids = [], list(ids)[:SAMPLE]
    for changes in REPAIRS:
        changed = dataclasses.replace(rules, **changes)
        sides = (set(normalised(pa.array(list(side), pa.string()), changed).to_pylist()) for side in (ids, known))
        counts.append(len(set.intersection(*sides)))
    best = REPAIRS[int(np.argmax(counts))]  # the first of several
    return " ".join(
        f"data.ids.{name}={str(value).replace('True', 'true')}" for name, value in best.items() if max(counts)
    )
