"""Clean readable rows into a log: duplicates, order and k-core; the account has one line for each."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig
from jaxrec.data.log import Log, counted


@dataclasses.dataclass(frozen=True)
class RawLog:
    """What a reader returns: rows of numbers, and the users and items that the numbers stand for."""

    log: Log  # in the order of the file until it is cleaned
    users: tuple[str, ...]  # pseudonyms, in the order of the log's user numbers: by first appearance
    item_ids: tuple[str, ...]  # in the order of the log's item numbers: by first appearance
    account: tuple[str, ...]  # one line for each thing that was read or dropped


def clean(raw: RawLog, config: DataConfig) -> RawLog:
    """Sort rows by (user, time, order of the file), combine those of a (user, item) pair, and take the k-core.

    `data.repeats` says how pairs combine. Raises InputError if the k-core is empty.
    """
    log, account = raw.log, list(raw.account)
    ordered = log.take(np.lexsort((log.time, log.user)))
    if config.repeats not in ("mean", "sum"):  # there every row counts, and rows of a pair look alike by now
        ordered = _without_duplicates(ordered)
    if len(ordered) < len(log):
        account.append(f"dropped {counted(len(log) - len(ordered), 'exact duplicate')} of a row")
    single, combined = _combined(ordered, config.repeats)
    core, lines = _k_core(single, config.min_user_rows, config.min_item_rows)
    account += combined + lines
    users, items = len(np.unique(core.user)), len(np.unique(core.item))
    account.append(f"kept {counted(len(core), 'row')} of {counted(users, 'user')} and {counted(items, 'item')}")
    return dataclasses.replace(raw, log=core, account=tuple(account))


def _without_duplicates(log: Log) -> Log:
    """Keep the last of equal rows of a sorted log.

    Equal rows share a moment, so only rows that share one are compared.
    """
    moments, places = log.moments, np.arange(len(log))
    shared = moments < places
    shared[:-1] |= moments[1:] < places[1:]
    rows = np.flatnonzero(shared)
    last = rows[_last_of_each((*log.feedback[rows].T, log.item[rows], moments[rows]))]
    keep = ~shared
    keep[last] = True
    return log if keep.all() else log.take(keep)


def _combined(log: Log, how: str) -> tuple[Log, list[str]]:
    """Combine the rows of each (user, item) pair, and say in lines for the account what changed.

    With `mean` and `sum`, the numbers of a pair have been combined before (`jaxrec.data.pairs`). Then, and with
    `maximum`, a pair has every kind of feedback that one of its rows has. Of its rows, the last one with any feedback
    gives the time, the context and the review, or the last one of all.
    """
    pair = np.unique(log.user.astype(np.int64) * log.num_items + log.item, return_inverse=True)[1].reshape(-1)
    pairs = int(pair.max(initial=-1)) + 1
    if pairs == len(log):
        return log, []
    repeated = counted(len(log) - pairs, "row")
    if how == "keep":
        line = f"kept {repeated} of (user, item) pairs that have an earlier one (data.repeats=keep)"
        return dataclasses.replace(log, repeats=True), [line]
    last = _last_of_each((pair,))
    line = f"dropped {repeated} of repeated (user, item) pairs"
    most, latest = np.zeros((2, pairs, log.feedback.shape[1]), np.float32)
    latest[pair[last]] = log.feedback[last]
    np.maximum.at(most, pair, log.feedback)
    changed = list(zip(log.feedback_names, (most > latest).sum(axis=0), strict=True))
    if how == "last":
        losses = " and ".join(f"'{name}' from {count:,}" for name, count in changed if count)
        line += "; the last row is kept" + (f", which takes {losses} that an earlier row has" if losses else "")
        return log.take(last), [line]
    best = np.zeros(pairs, np.int64)
    np.maximum.at(best, pair, np.arange(len(log)) + len(log) * log.feedback.any(axis=1))
    place = np.sort(best % len(log))
    line += "; a pair has every kind of feedback of its rows"
    if how in ("mean", "sum"):
        line += f", with the {how} of their numbers"
    gains = [f"'{name}' to {count:,}" for name, count in changed if count]
    if gains:
        line += f", which gives {' and '.join(gains)} whose last row lacks it"
    return dataclasses.replace(log.take(place), feedback=most[pair[place]]), [line]


def _last_of_each(keys: Sequence[np.ndarray]) -> np.ndarray:
    """Find, in increasing order, the rows that are the last of all rows with the same keys."""
    order = np.lexsort(keys)
    last = np.ones(len(order), bool)
    last[:-1] = np.any([key[order][:-1] != key[order][1:] for key in keys], axis=0)
    return np.sort(order[last])


def _k_core(log: Log, min_user_rows: int, min_item_rows: int) -> tuple[Log, list[str]]:
    """Drop users and items with too few rows, until all that remain have enough."""
    core, rounds = log, 0
    while len(core):
        enough = np.bincount(core.user)[core.user] >= min_user_rows
        enough &= np.bincount(core.item)[core.item] >= min_item_rows
        if enough.all():
            break
        core, rounds = core.take(np.flatnonzero(enough)), rounds + 1
    if not len(core):
        raise InputError(
            f"data: the k-core of {counted(len(log), 'row')} is empty "
            f"(data.min_user_rows={min_user_rows}, data.min_item_rows={min_item_rows}); lower them."
        )
    if not rounds:
        return core, []
    dropped = counted(len(log) - len(core), "row")
    line = f"dropped {dropped} outside the k-core in {counted(rounds, 'round')}"
    return core, [f"{line} (users of at least {min_user_rows} rows, items of at least {min_item_rows})"]
