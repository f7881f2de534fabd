"""The rows of a log: numbers, times and feedback from cells of text. Raw user ids go no further."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from jaxrec.checks import InputError
from jaxrec.config.data import Columns, DataConfig
from jaxrec.data.choose import (
    chosen_rows,
    filter_columns,
    with_points,
    without_weight,
    word_advice,
    word_feedback,
    word_numbers,
)
from jaxrec.data.clean import RawLog
from jaxrec.data.clock import check_clock, read_times, shortened, time_advice
from jaxrec.data.context import NO_USERS, UserTable, context_columns, visit_context
from jaxrec.data.ids import blank, clean_ids, of_values, rounded, without_digits
from jaxrec.data.layout import PLAIN, Layout
from jaxrec.data.log import Log
from jaxrec.data.pairs import changed, combined, groups, times_of_requests
from jaxrec.data.pseudonyms import check_pseudonyms, pseudonymise, user_key
from jaxrec.data.table import Fault, Table, check_columns, compute, drop_faulty, header, read_table, where_in
from jaxrec.data.values import binary_feedback, feedback_numbers
from jaxrec.foreign import quoted

LOG_FORMAT = "data.files.log"


def read_log(
    path: Path,
    columns: Columns,
    config: DataConfig,
    setting: str,
    users: UserTable = NO_USERS,
    layout: Layout = PLAIN,
) -> tuple[RawLog, list[str]]:
    """Read the rows of a log in files; unreadable ones are counted or stop the run, ids become numbers.

    Also gives lines for the account about how the files were read.
    """
    wanted = log_columns(columns, config, users)
    check_columns(path, header(path, setting, layout, wanted.values()), wanted, layout)
    exact = frozenset({columns.user, columns.item, columns.time})
    table = read_table(path, wanted.values(), layout._replace(exact=exact))
    table = dataclasses.replace(table, pseudonymous=config.pseudonyms)
    return log_rows(table, columns, config, users, layout), table.notes


def log_columns(columns: Columns, config: DataConfig, users: UserTable = NO_USERS) -> dict[str, str]:
    """Columns that a log must have, by the setting that asks for each; `users` has some of the context."""
    wanted = {f"data.columns.{key}": name for key in ("user", "item", "time") if (name := getattr(columns, key))}
    for name, kind in config.feedback.items():
        for option in ("column", "over"):
            if getattr(kind, option) is not None:
                _check_feedback(f"data.feedback.{name}.{option}", getattr(kind, option), wanted)
                wanted[f"data.feedback.{name}.{option}"] = getattr(kind, option)
    wanted |= {f"data.columns.{key}": name for key in ("request", "review") if (name := getattr(columns, key))}
    wanted |= filter_columns(config.where, "data.where")
    return wanted | {k: name for k, name in context_columns(config, columns).items() if name not in users.cells}


def _check_feedback(setting: str, column: str, taken: Mapping[str, str]) -> None:
    """Raise InputError if a column of feedback has the ids of the users or the items."""
    for other in ("data.columns.user", "data.columns.item"):
        if taken.get(other) == column:
            raise InputError(f"{setting}: {quoted(column)} is the column of {other}; name the column of the feedback.")


def log_rows(
    table: Table, columns: Columns, config: DataConfig, users: UserTable = NO_USERS, layout: Layout = PLAIN
) -> RawLog:
    """Take the readable rows of a table that has `log_columns`; the others are counted or stop the run.

    Raw user ids go no further: the result holds pseudonyms and, in the rows, numbers by first appearance. Raises
    InputError if too many rows or all of them cannot be read, or if times or the user table cannot be what they seem.
    """
    table = dataclasses.replace(_with_points(table, columns, config, layout), private=columns.user)
    chosen, account = chosen_rows(config.where, table.cells, table.path.name)
    ids = {columns.item: clean_ids(table.cells[columns.item], config)}
    user_cells = table.cells[columns.user]
    ids[columns.user] = user_cells.dictionary_encode() if table.pseudonymous else clean_ids(user_cells, config)
    time, time_fault = _times(table, columns, config, layout)
    numeric, faults = _numbers(table, config, layout)
    numeric |= word_numbers(config.feedback, table.cells)
    faults = [
        *(missing_id(c, table.cells[c], ids[c], config) for c in (columns.user, columns.item)),
        *(rounded(c, without_digits(ids[c])) for c in (columns.user, columns.item)),
        *time_fault,
        *faults,
    ]
    keep, lines = drop_faulty(table, faults, config.allow_bad_rows, chosen)
    lines += without_weight(config.feedback, table.cells, keep, table.path.name)
    if not keep.any():
        raise InputError(f"{table.path}: no row can be read; fix the rows (columns: {', '.join(table.cells)}).")
    feedback, combining = _feedback(table, config, numeric, keep, (ids[columns.user], ids[columns.item]))
    lines += combining
    if columns.time:
        in_words = functools.partial(_time_in_words, table, columns.time)
        check_clock(time, keep, in_words, config.time_format)
    named_cells = {columns.request, columns.review, *context_columns(config, columns).values()}
    kept = {name: cells for name, cells in table.cells.items() if name in named_cells} | ids
    kept, time, feedback = _kept(keep, kept, time, feedback)
    if columns.request:
        time = _times_of_requests(time, kept[columns.user], kept[columns.request], config)
    user, user_ids = _numbered(kept[columns.user])
    item, item_ids = _numbered(kept[columns.item])
    if config.pseudonyms:
        check_pseudonyms(user_ids, table.path)
    key = user_key(config)
    pseudonyms = tuple(user_ids) if table.pseudonymous else pseudonymise(user_ids, key.secret)
    hashed = "user ids: are pseudonyms already (data.pseudonyms)" if config.pseudonyms else key.account
    joined = users.check(pseudonyms, user_ids, config)
    known = {name: blank(cells, config.missing) for name, cells in kept.items() if name not in ids}
    context, context_names = visit_context(config, time, known | users.of_rows(pseudonyms, user))
    log = Log(
        user=user,
        item=item,
        time=time,
        feedback=feedback,
        feedback_names=tuple(config.feedback),
        num_users=len(pseudonyms),
        num_items=len(item_ids),
        context=context,
        context_names=context_names,
        review=np.array(known[columns.review].to_pylist(), object) if columns.review else None,
    )
    return RawLog(log, pseudonyms, tuple(item_ids), (table.read("row"), *account, *lines, hashed, *joined))


def _kept(
    keep: np.ndarray, cells: dict[str, pa.Array], time: np.ndarray, feedback: np.ndarray
) -> tuple[dict[str, pa.Array], np.ndarray, np.ndarray]:
    """Take the rows [R] bool to `keep` of cells, times and feedback; nothing is copied if these are all."""
    if keep.all():
        return cells, time, feedback
    chosen = pa.array(keep)
    return {name: some.filter(chosen) for name, some in cells.items()}, time[keep], feedback[keep]


def _times_of_requests(time: np.ndarray, user: pa.Array, request: pa.Array, config: DataConfig) -> np.ndarray:
    """Give the rows [R] of a user and a request the time of the first of them; rows without a request keep theirs."""
    request = blank(request, config.missing)
    named = compute.not_equal(request, "").to_numpy(zero_copy_only=False)
    return times_of_requests(time, groups(user, request), named)


def _feedback(
    table: Table, config: DataConfig, numeric: dict[str, np.ndarray], keep: np.ndarray, ids: tuple[pa.Array, pa.Array]
) -> tuple[np.ndarray, list[str]]:
    """Feedback [R, F] of all rows, from their numbers and words; and what it changed to combine those of a pair."""
    words = word_feedback(config.feedback, table.cells, keep)
    of_rows = functools.partial(binary_feedback, config.feedback)
    feedback = of_rows(numeric, keep, lambda row: where_in(table, row), words)
    if config.repeats not in ("mean", "sum"):
        return feedback, []
    pair, alone = groups(*ids), feedback
    numeric = {c: combined(values, pair, keep, config.repeats) for c, values in numeric.items()}
    of = f"the {config.repeats} of "
    feedback = of_rows(numeric, keep, lambda row: where_in(table, row), words, of)
    change = changed(tuple(config.feedback), alone[keep], feedback[keep], pair[keep])
    return feedback, [f"{table.path.name}: {of}the numbers of (user, item) pairs {change}"] if change else []


def missing_id(column: str, cells: pa.Array, ids: pa.Array, config: DataConfig) -> Fault:
    """Give the fault of rows [R] whose `cells` give no id."""
    rows = no_id(ids)
    words = compute.is_in(cells.filter(pa.array(rows)), pa.array(config.missing, pa.string()))
    fix = "; set data.missing=[] if such words are ids" if compute.any(words).as_py() else ""
    return Fault(f"a missing or broken {column}", column, rows, fix)


def no_id(cells: pa.Array) -> np.ndarray:
    """Find cells that are empty, or hold a line break because a quote was never closed; [R] bool."""
    return of_values(cells, lambda texts: compute.or_(compute.equal(texts, ""), compute.match_substring(texts, "\n")))


def _with_points(table: Table, columns: Columns, config: DataConfig, layout: Layout) -> Table:
    """Write the numbers of a table with points, if it has decimal commas."""
    if not layout.format.decimal_comma:
        return table
    named = {columns.time, *(one.column for one in config.where)}
    named |= {name for kind in config.feedback.values() for name in (kind.column, kind.over)}
    cells = {c: with_points(cells) if c in named else cells for c, cells in table.cells.items()}
    return dataclasses.replace(table, cells=cells)


def _times(table: Table, columns: Columns, config: DataConfig, layout: Layout) -> tuple[np.ndarray, list[Fault]]:
    """Read the times [R] of a table; rows without a column of times have their place as time."""
    if not columns.time:
        return np.arange(len(table)), []
    cells = blank(table.cells[columns.time], config.missing)
    time, bad = read_times(cells, config.time_format)
    wanted = f"time of the format {quoted(config.time_format)}" if config.time_format else "number or ISO date"
    fix, present = "", compute.not_equal(cells, "").to_numpy(False)
    if (bad & present).any():
        fix = time_advice(cells.filter(pa.array(present)), bad[present], config.time_format, layout.setting)
    return time, [
        Fault(f"no {wanted} in {columns.time}", columns.time, bad, fix),
        rounded(columns.time, shortened(cells)),
    ]


def _time_in_words(table: Table, column: str, row: int) -> str:
    return f"{where_in(table, row)}: {table.quote(column, int(row))}"


def _numbers(table: Table, config: DataConfig, layout: Layout) -> tuple[dict[str, np.ndarray], list[Fault]]:
    """Read the columns of feedback that are numbers, by name, and find the rows where they are none."""
    kinds = {name: kind for name, kind in config.feedback.items() if not kind.words and not kind.weights}
    owner = {c: name for name, kind in reversed(kinds.items()) for c in (kind.column, kind.over) if c}
    order = [c for kind in kinds.values() for c in (kind.column, kind.over) if c]
    values = {c: feedback_numbers(blank(table.cells[c], config.missing)) for c in dict.fromkeys(order)}
    faults = []
    for c, numbers in values.items():
        bad = np.isnan(numbers)
        fix = word_advice(table.cells[c].filter(pa.array(bad)), owner[c], layout.setting) if bad.any() else ""
        faults.append(Fault(f"no finite number in {c}", c, bad, fix if bad.mean() > 0.5 or "comma" in fix else ""))
    divisors = dict.fromkeys(kind.over for kind in kinds.values() if kind.over)
    faults += [Fault(f"0 in {c}, which is a divisor", c, values[c] == 0) for c in divisors]
    return values, faults


def _numbered(cells: pa.DictionaryArray) -> tuple[np.ndarray, list[str]]:
    """Number ids [R] by first appearance: [R] int32, and the ids in this order; of a dictionary, only those in rows."""
    codes, texts = cells.indices.to_numpy(), cells.dictionary
    first = np.full(len(texts), len(codes))
    first[codes[::-1]] = np.arange(len(codes))[::-1]  # the last assignment stays
    order = np.argsort(first, kind="stable")[: np.count_nonzero(first < len(codes))]
    number = np.zeros(len(texts), np.int32)
    number[order] = np.arange(len(order))
    return number[codes], texts.take(pa.array(order)).to_pylist()
