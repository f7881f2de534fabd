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
    """Keep each (user, item) pair once, sort rows by (user, time, order of the file), and take the k-core.

    Raises InputError if the k-core is empty.
    """
    log, account = raw.log, list(raw.account)
    kept = log.take(_last_of_each((*log.feedback.T, log.time, log.item, log.user)))
    if len(kept) < len(log):
        account.append(f"dropped {counted(len(log) - len(kept), 'exact duplicate')} of a row")
    ordered = kept.take(np.lexsort((kept.time, kept.user)))
    single = ordered.take(_last_of_each((ordered.item, ordered.user)))
    if len(single) < len(ordered):
        dropped = counted(len(ordered) - len(single), "earlier row")
        account.append(f"dropped {dropped} of repeated (user, item) pairs; the last row is kept")
    core, lines = _k_core(single, config.min_user_rows, config.min_item_rows)
    account += lines
    users, items = len(np.unique(core.user)), len(np.unique(core.item))
    account.append(f"kept {counted(len(core), 'row')} of {counted(users, 'user')} and {counted(items, 'item')}")
    return dataclasses.replace(raw, log=core, account=tuple(account))


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
