"""Choose rows by their cells: words, numbers and the filters of `data.where`."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from jaxrec.checks import InputError, suggest
from jaxrec.config.data import FeedbackKind
from jaxrec.config.files import RowFilter
from jaxrec.data.cells import compute
from jaxrec.data.log import counted
from jaxrec.data.values import numbers

DECIMAL_COMMA = r"^([+-]?\d*),(\d+)$"
SHOWN = 8  # values of a column in a message


def with_points(cells: pa.Array) -> pa.Array:
    """Write numbers with a decimal comma with a point."""
    return compute.replace_substring_regex(cells, DECIMAL_COMMA, r"\1.\2")


def holds(cells: pa.Array, words: Sequence[str]) -> np.ndarray:
    """Find cells [R] that hold one of the words, or the number of one of them; [R] bool."""
    found = compute.is_in(cells, value_set=pa.array(words, cells.type)).to_numpy(zero_copy_only=False)
    sought = numbers(pa.array(words, pa.string()))
    sought = sought[~np.isnan(sought)]
    return found | np.isin(numbers(cells), sought) if len(sought) else found


def chosen_rows(filters: Sequence[RowFilter], cells: Mapping[str, pa.Array], name: str) -> tuple[np.ndarray, list[str]]:
    """Find the rows [R] that pass all filters; also gives lines for the account. InputError if none passes."""
    chosen, account = np.ones(len(next(iter(cells.values()))), bool), []
    for number, one in enumerate(filters):
        passes = _passes(one, cells[one.column])
        dropped = int((chosen & ~passes).sum())
        chosen &= passes
        account.append(f"{name}: left out {counted(dropped, 'row')} by data.where on {one.column}")
        if not chosen.any():
            raise InputError(
                f"{name}: no row passes data.where[{number}] on {one.column} (its values: "
                f"{_values(cells[one.column])}); correct it."
            )
    return chosen, account


def word_feedback(kinds: Mapping[str, FeedbackKind], cells: Mapping[str, pa.Array]) -> dict[str, np.ndarray]:
    """Find where each kind that is read from words is 1, [R] bool, by the name of the kind.

    Raises InputError for a word that no row has if it is misspelled.
    """
    found = {}
    for name, kind in kinds.items():
        if not kind.words or kind.column is None:
            continue
        column = cells[kind.column]
        found[name] = holds(column, kind.words)
        present = [] if found[name].any() else compute.unique(column.slice(0, 100_000)).to_pylist()
        for word in kind.words:
            lower = {value.lower(): value for value in present}
            near = suggest(word.lower(), lower)
            if near:
                option, near = "in" if kind.in_ else "equals", suggest(word, present) or near
                raise InputError(
                    f"data.feedback.{name}.{option}: no row has {kind.column} {word!r}{near} Correct it (values: "
                    f"{_values(column)})."
                )
    return found


def word_advice(cells: pa.Array, name: str, decimal_setting: str) -> str:
    """Say how to read a column of feedback that holds no numbers: '; set ...'."""
    if decimal_setting and compute.any(compute.match_substring_regex(cells, DECIMAL_COMMA)).as_py():
        return f"; set {decimal_setting}.decimal=comma if commas are decimal"
    share = np.isnan(numbers(cells)).mean()
    if share < 0.5:
        return ""
    return f"; set data.feedback.{name}.equals or in to the words that count as 1 (its values: {_values(cells)})"


def _passes(one: RowFilter, cells: pa.Array) -> np.ndarray:
    passes = np.ones(len(cells), bool)
    if one.equals is not None:
        passes &= holds(cells, (one.equals,))
    if one.in_:
        passes &= holds(cells, one.in_)
    if one.not_in:
        passes &= ~holds(cells, one.not_in)
    if one.at_least is not None or one.at_most is not None:
        values = numbers(cells)
        passes &= ~np.isnan(values)
        passes &= values >= (-np.inf if one.at_least is None else one.at_least)
        passes &= values <= (np.inf if one.at_most is None else one.at_most)
    return passes


def _values(cells: pa.Array) -> str:
    counts = compute.value_counts(cells.slice(0, 100_000)).to_pylist()
    often = sorted(counts, key=lambda pair: -pair["counts"])[:SHOWN]
    return ", ".join(repr((pair["values"] or "")[:30]) for pair in often)
