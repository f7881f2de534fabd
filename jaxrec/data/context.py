"""Context of a visit: the clock, and columns of the log or of a table of users."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from jaxrec.checks import InputError
from jaxrec.config.data import Columns, DataConfig
from jaxrec.data.ids import blank, check_joined, clean_ids, repair, rounded, without_digits
from jaxrec.data.layout import Layout
from jaxrec.data.log import Log, counted
from jaxrec.data.pseudonyms import pseudonymise, user_key
from jaxrec.data.table import check_columns, compute, drop_faulty, header, read_table
from jaxrec.foreign import quoted

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAY_S, FIRST_DAY = 86_400, 3  # 1970-01-01 was a Thursday
PER_SECOND = (1, 10**3, 10**6, 10**9)  # units of time: seconds to nanoseconds
SECONDS = 1e8, 1e10  # since 1970, from 1973 to 2286; in this range the units do not overlap


@dataclasses.dataclass(frozen=True)
class UserTable:
    """Columns of the table of users that `data.context` names."""

    row: Mapping[str, int]  # by pseudonym
    cells: Mapping[str, pa.Array]  # text, one cell per user
    ids: Sequence[str] = ()  # as in the file, for messages that are never saved
    name: str = ""  # of the file

    def check(self, pseudonyms: Sequence[str], ids: Sequence[str], config: DataConfig) -> list[str]:
        """Count the users of the log that the table lacks, for the account; InputError if it lacks all of them.

        `ids` are the users of the log as the log has them.
        """
        missing = [n for n, pseudonym in enumerate(pseudonyms) if pseudonym not in self.row]
        if not self.row or not missing:
            return []
        if len(missing) == len(pseudonyms):
            where = f"{self.name}: data.columns.user_id"
            check_joined(ids, self.ids, where, "data.columns.user_id", config.ids, private=True)
        mend = repair([ids[n] for n in missing], set(self.ids) - set(ids), config.ids)
        advice = f"; {mend} finds some of them" if mend else ""
        absent = f"{len(missing):,} of {counted(len(pseudonyms), 'user')}"
        return [f"{self.name}: {absent} of the log missing; their columns are empty{advice}"]

    def of_rows(self, pseudonyms: Sequence[str], user: np.ndarray) -> dict[str, pa.Array]:
        """Columns for R rows of a log, null where the table lacks the user; `user` [R] indexes `pseudonyms`."""
        place = pa.array([self.row.get(pseudonym) for pseudonym in pseudonyms], pa.int64()).take(pa.array(user))
        return {name: cells.take(place) for name, cells in self.cells.items()}


NO_USERS = UserTable({}, {})


def context_columns(config: DataConfig, columns: Columns) -> dict[str, str]:
    """Columns that `data.context` names, except the clock, by the setting that asks for each.

    Raises InputError for columns that cannot be context: ids, times, texts and the feedback that is to be predicted.
    """
    taken = {"data.columns": (columns.user, columns.item, columns.time, columns.review, columns.user_id)}
    taken |= {f"data.feedback.{name}": (kind.column,) for name, kind in config.feedback.items() if kind.column}
    named = {f"data.context[{n}]": column for n, column in enumerate(config.context) if column not in CLOCK}
    for setting, column in named.items():
        for use, others in taken.items():
            if column in others:
                raise InputError(
                    f"{setting}: column {quoted(column)} cannot be context, since {use} uses it; remove it."
                )
    return named


def read_users(path: Path, config: DataConfig) -> tuple[UserTable, list[str]]:
    """Read from the table of users the columns that `data.context` names; also gives lines for the account."""
    columns, layout = config.columns, Layout(config.files.users, "data.files.users")
    names = header(path, "data.user_file", layout, [columns.user_id])
    check_columns(path, names, {"data.columns.user_id": columns.user_id}, layout)
    wanted = [column for column in context_columns(config, columns).values() if column in names]
    table = read_table(path, [columns.user_id, *wanted], layout._replace(exact=frozenset({columns.user_id})))
    table = dataclasses.replace(table, private=columns.user_id)
    cleaned = clean_ids(table.cells[columns.user_id], config)
    ids = cleaned.to_pylist()
    row: dict[str, int] = {}
    for number, pseudonym in enumerate(pseudonymise(ids, user_key(config).secret)):
        if ids[number]:
            row.setdefault(pseudonym, number)
    _, dropped = drop_faulty(table, [rounded(columns.user_id, without_digits(cleaned))], config.allow_bad_rows)
    lines = [f"{path.name}: read {counted(len(table) + table.malformed, 'user')}", *dropped, *table.notes]
    empty = ids.count("")
    if empty == len(ids):
        raise InputError(f"{path}: no row has an id in {columns.user_id}; correct data.columns.user_id or the table.")
    if empty:
        lines.append(f"{path.name}: left out {counted(empty, 'row')} without an id")
    if len(row) < len(table) - empty:
        repeated = counted(len(table) - empty - len(row), "repeated id")
        lines.append(f"{path.name}: {repeated}, the first row of each is kept")
    cells = {column: blank(table.cells[column], config.missing) for column in wanted}
    return UserTable(row, cells, [user for user in ids if user], path.name), lines


def visit_context(
    config: DataConfig, time: np.ndarray, cells: Mapping[str, pa.Array]
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Build the context [R, C] float32 of R rows that `data.context` asks for, and the names of its columns.

    Gives None if `data.context` is empty. `time` [R] has the units of the file, `cells` [R] are the text columns that
    `data.context` names.
    """
    if not config.context:
        return None, ()
    blocks, names = [], []
    for name in config.context:
        block, labels = CLOCK[name](time) if name in CLOCK else _frequent(name, cells[name], config.context_values)
        blocks.append(block)
        names += labels
    return np.concatenate(blocks, axis=1).astype(np.float32), tuple(names)


def in_columns(log: Log, names: Sequence[str]) -> Log:
    """Arrange the context of a log in the columns `names` of an earlier log: missing ones are 0, new ones are dropped.

    The frequent values change with the rows, but a policy keeps reading the columns that it was trained with. Raises
    InputError if the two logs' contexts come from different columns.
    """
    before, now = ({name.partition("=")[0] for name in of} for of in (names, log.context_names))
    if before != now:
        sides = " and ".join(", ".join(sorted(of)) or "nothing" for of in (before, now))
        raise InputError(f"data.context: the earlier run and this recipe differ ({sides}); use the earlier run's.")
    if log.context is None:
        return log
    columns = dict(zip(log.context_names, log.context.T, strict=True))
    context = np.stack([columns.get(name, np.zeros(len(log), np.float32)) for name in names], axis=1)
    return dataclasses.replace(log, context=context, context_names=tuple(names))


def seconds(time: np.ndarray) -> np.ndarray:
    """Convert times [R] to seconds since 1970, float64; the size of the median tells their unit.

    About 1e9 means seconds, 1e12 milliseconds, 1e15 microseconds (dates), 1e18 nanoseconds.
    """
    middle = float(np.median(time))
    for unit in PER_SECOND:
        if SECONDS[0] <= middle / unit < SECONDS[1]:
            return time / unit
    raise InputError(
        f"data.context: hour and weekday need dates, or times in seconds (about 1e9), milliseconds, microseconds or "
        f"nanoseconds since 1970; the median time {middle:.6g} is none of these; remove hour and weekday."
    )


def _hour(time: np.ndarray) -> tuple[np.ndarray, list[str]]:
    angle = 2 * np.pi * (seconds(time) % DAY_S) / DAY_S
    return np.stack([np.sin(angle), np.cos(angle)], axis=1), ["hour_sin", "hour_cos"]


def _weekday(time: np.ndarray) -> tuple[np.ndarray, list[str]]:
    day = (seconds(time) // DAY_S).astype(np.int64) + FIRST_DAY
    return np.eye(7)[day % 7], [f"weekday={name}" for name in DAYS]


def _frequent(name: str, cells: pa.Array, most: int) -> tuple[np.ndarray, list[str]]:
    """One-hot columns [R, at most `most`] of the most frequent values; other and missing values are zeros."""
    found = {str(pair["values"]): pair["counts"] for pair in compute.value_counts(cells).to_pylist() if pair["values"]}
    if not found:
        raise InputError(f"data.context: column {quoted(name)} is empty in every row; remove it.")
    values = sorted(found, key=lambda value: (-found[value], value))[:most]
    place = compute.index_in(cells, pa.array(values)).fill_null(len(values)).to_numpy(zero_copy_only=False)
    return np.eye(len(values) + 1)[place, :-1], [f"{name}={value}" for value in values]


CLOCK = {"hour": _hour, "weekday": _weekday}  # UTC
