"""Choose rows by their cells: words, numbers and the filters of `data.where` and `data.item_where`."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa

from jaxrec.checks import InputError, suggest
from jaxrec.config.data import FeedbackKind
from jaxrec.config.files import RowFilter
from jaxrec.data.cells import compute
from jaxrec.data.log import counted
from jaxrec.data.values import DECIMAL_COMMA, comma_advice, number_source, numbers
from jaxrec.foreign import quoted

THOUSANDS_POINTS = r"^[+-]?\d{1,3}(\.\d{3})+(,\d+)?$"  # where commas are decimal: 1.234,5
SIGNS = r"^[^\w.+-]{1,3}\s?\d[\d.,]*$|^\d[\d.,]*\s?[^\d.,]{1,8}$"  # $5, 90%, 5 stars
MARK = "\ufeff"  # of byte order, at the start of a file
SHOWN = 8  # values of a column in a message


def with_points(cells: pa.Array) -> pa.Array:
    """Write numbers with a decimal comma with a point; points in them separate thousands."""
    grouped = compute.match_substring_regex(cells, THOUSANDS_POINTS)
    if compute.any(grouped).as_py():
        cells = compute.if_else(grouped, compute.replace_substring(cells, ".", ""), cells)
    return compute.replace_substring_regex(cells, DECIMAL_COMMA, r"\1.\2")


def holds(cells: pa.Array, words: Sequence[str]) -> np.ndarray:
    """Find cells [R] that hold one of the words, or the number of one of them; [R] bool."""
    found = compute.is_in(cells, value_set=pa.array(words, cells.type)).to_numpy(zero_copy_only=False)
    sought = numbers(pa.array(words, pa.string()))
    sought = sought[~np.isnan(sought)]
    return found | np.isin(numbers(cells), sought) if len(sought) else found


def filter_columns(filters: Sequence[RowFilter], setting: str) -> dict[str, str]:
    """Columns that the filters read, by the setting that asks for each."""
    return {f"{setting}[{n}].column": one.column for n, one in enumerate(filters)}


def chosen_rows(
    filters: Sequence[RowFilter], cells: Mapping[str, pa.Array], name: str, setting: str = "data.where"
) -> tuple[np.ndarray, list[str]]:
    """Find the rows [R] that pass all filters; also gives lines for the account. InputError if none passes."""
    chosen, account = ~_names_again(cells), []
    if again := int((~chosen).sum()):
        account.append(f"{name}: left out {counted(again, 'line')} of column names among the rows")
    for number, one in enumerate(filters):
        passes = _passes(one, cells[one.column])
        dropped = int((chosen & ~passes).sum())
        chosen &= passes
        account.append(f"{name}: left out {counted(dropped, 'row')} by {setting} on {one.column}")
        if not chosen.any():
            limits = (one.at_least, one.at_most) != (None, None) and bool(np.isnan(numbers(cells[one.column])).all())
            raise InputError(
                f"{name}: no row passes {setting}[{number}] on {one.column} (its values: "
                f"{_values(cells[one.column])}); {'at_least and at_most read numbers; ' * limits}correct it."
            )
    return chosen, account


def word_feedback(
    kinds: Mapping[str, FeedbackKind], cells: Mapping[str, pa.Array], keep: np.ndarray
) -> dict[str, np.ndarray]:
    """Find where each kind that is read from words is 1, [R] bool, by the name of the kind.

    Raises InputError for a word that no row has if it is misspelled, and for one that rows to `keep` [R] bool have in
    other capitals too.
    """
    found = {}
    for name, kind in kinds.items():
        if not kind.words or kind.column is None:
            continue
        column = cells[kind.column]
        found[name] = holds(column, kind.words)
        setting = f"data.feedback.{name}.{'in' if kind.in_ else 'equals'}"
        if not found[name].any():
            _check_spelling(kind.words, setting, kind, column)
        _check_case(kind.words, setting, column.filter(pa.array(keep & ~found[name])))
    return found


def _check_spelling(words: Collection[str], setting: str, kind: FeedbackKind, column: pa.Array) -> None:
    """Raise InputError if one of `words`, which no row has, is nearly a value that the kind does not name."""
    named = {*kind.words, *kind.weights}
    present = [word for word in compute.unique(column.slice(0, 100_000)).to_pylist() if word not in named]
    for word in words:
        near = suggest(word.lower(), {value.lower(): value for value in present})
        if near:
            near = suggest(word, present) or near
            raise InputError(
                f"{setting}: no row has {kind.column} {quoted(word)}{near} Correct it (values: {_values(column)})."
            )


def _check_case(words: Collection[str], setting: str, others: pa.Array) -> None:
    """Raise InputError if cells that hold none of the `words` differ from one only in capitals."""
    folded = {word.casefold(): word for word in words}
    for value in compute.unique(others.slice(0, 100_000)).to_pylist():
        if word := folded.get(value.casefold()):
            raise InputError(
                f"{setting}: some rows have {quoted(value)}, which is not {quoted(word)}; set "
                f"{setting.rpartition('.')[0]}.in=[{word}, {value}] if both count as 1, or "
                f"weights={{{word}: 1, {value}: 0}} in its place if not."
            )


def word_numbers(kinds: Mapping[str, FeedbackKind], cells: Mapping[str, pa.Array]) -> dict[str, np.ndarray]:
    """Numbers [R] of the kinds with weights of words, by `number_source`; words without a weight are 0.

    Raises InputError for a word that no row has if it is misspelled.
    """
    found = {}
    for name, kind in kinds.items():
        if not kind.weights or kind.column is None:
            continue
        column = cells[kind.column]
        rows = {word: holds(column, (word,)) for word in kind.weights}
        if absent := [word for word, own in rows.items() if not own.any()]:
            _check_spelling(absent, f"data.feedback.{name}.weights", kind, column)
        values = np.zeros(len(column))
        for word, own in rows.items():
            values[own] = kind.weights[word]
        found[number_source(name, kind)] = values
    return found


def without_weight(
    kinds: Mapping[str, FeedbackKind], cells: Mapping[str, pa.Array], keep: np.ndarray, name: str
) -> list[str]:
    """Say in the account which words of the rows `keep` [R] bool have no weight; InputError if none has one."""
    lines = []
    for kind_name, kind in kinds.items():
        if not kind.weights or kind.column is None:
            continue
        column = cells[kind.column]
        named = holds(column, tuple(kind.weights))
        if not (named & keep).any():
            raise InputError(
                f"data.feedback.{kind_name}.weights: no row has one of their words in {kind.column} (its values: "
                f"{_values(column)}); correct them."
            )
        rest = column.filter(pa.array(keep & ~named))
        if len(rest):
            # Few words are kinds of events. Many may be anything, and the account is saved with a run.
            words = f" ({_values(rest)})" if compute.count_distinct(rest).as_py() <= SHOWN else ""
            lines.append(
                f"{name}: {counted(len(rest), 'row')} count as 0 for '{kind_name}', since their words have no weight"
                f"{words}"
            )
    return lines


def word_advice(cells: pa.Array, name: str, decimal_setting: str) -> str:
    """Say how to read a column of feedback that holds no numbers: '; set ...'."""
    if commas := comma_advice(cells, decimal_setting):
        return commas
    if compute.all(compute.equal(cells, "")).as_py() or np.isnan(numbers(cells)).mean() < 0.5:
        return ""
    remove = compute.all(compute.match_substring_regex(cells, SIGNS)).as_py() * " remove the signs next to numbers, or"
    return (
        f";{remove} set data.feedback.{name}.equals or in to the words that count as 1 (its values: {_values(cells)})"
    )


def _names_again(cells: Mapping[str, pa.Array]) -> np.ndarray:
    """Find the rows [R] that are a line of column names again, as in files that were joined."""
    found = np.ones(len(next(iter(cells.values()))), bool)
    for name, column in cells.items():
        if found.any():
            found &= compute.is_in(column, pa.array([name, MARK + name])).to_numpy(zero_copy_only=False)
    return found


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
