"""From readable rows to a log: repetitions, order and k-core, each with a line of account."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig
from jaxrec.data.log import counted


@dataclasses.dataclass(frozen=True)
class RawLog:
    """Rows as a reader leaves them, in the order of the file; user ids are already numbers."""

    user: np.ndarray  # [R] int64, numbered by first appearance
    item: np.ndarray  # [R] int64, rows of item_ids
    time: np.ndarray  # [R] int64
    feedback: np.ndarray  # [R, F] float32
    feedback_names: tuple[str, ...]
    item_ids: tuple[str, ...]  # by first appearance
    account: tuple[str, ...]  # what the reader read and dropped

    def take(self, rows: np.ndarray) -> "RawLog":
        """Keep rows, in the order given."""
        return dataclasses.replace(
            self,
            user=self.user[rows],
            item=self.item[rows],
            time=self.time[rows],
            feedback=self.feedback[rows],
        )


def clean(raw: RawLog, config: DataConfig) -> RawLog:
    """Each (user, item) pair once, rows by (user, time, order of the file), k-core.

    Raises InputError when the k-core is empty.
    """
    account = list(raw.account)
    kept = raw.take(_last_of_each((*raw.feedback.T, raw.time, raw.item, raw.user)))
    if len(kept.user) < len(raw.user):
        account.append(f"dropped {counted(len(raw.user) - len(kept.user), 'exact repetition')} of a row")
    ordered = kept.take(np.lexsort((kept.time, kept.user)))
    single = ordered.take(_last_of_each((ordered.item, ordered.user)))
    if len(single.user) < len(ordered.user):
        dropped = counted(len(ordered.user) - len(single.user), "earlier row")
        account.append(f"dropped {dropped} of (user, item) pairs that repeat; the last one stays")
    core, lines = _k_core(single, config.min_user_rows, config.min_item_rows)
    account += lines
    users, items = len(np.unique(core.user)), len(np.unique(core.item))
    kept_rows = f"{counted(len(core.user), 'row')} of {counted(users, 'user')} and {counted(items, 'item')}"
    account.append(f"kept {kept_rows}")
    return dataclasses.replace(core, account=tuple(account))


def _last_of_each(keys: Sequence[np.ndarray]) -> np.ndarray:
    """Rows, in increasing order, that are the last of all rows with the same keys."""
    order = np.lexsort(keys)
    last = np.ones(len(order), bool)
    last[:-1] = np.any([key[order][:-1] != key[order][1:] for key in keys], axis=0)
    return np.sort(order[last])


def _k_core(raw: RawLog, min_user_rows: int, min_item_rows: int) -> tuple[RawLog, list[str]]:
    """Drop users and items with too few rows until none is left."""
    core, rounds = raw, 0
    while len(core.user):
        enough = np.bincount(core.user)[core.user] >= min_user_rows
        enough &= np.bincount(core.item)[core.item] >= min_item_rows
        if enough.all():
            break
        core, rounds = core.take(np.flatnonzero(enough)), rounds + 1
    if not len(core.user):
        raise InputError(
            f"data: the k-core of {counted(len(raw.user), 'row')} is empty "
            f"(data.min_user_rows={min_user_rows}, data.min_item_rows={min_item_rows}); lower them."
        )
    if not rounds:
        return core, []
    dropped = counted(len(raw.user) - len(core.user), "row")
    line = f"dropped {dropped} outside the k-core in {counted(rounds, 'round')}"
    return core, [f"{line} (users of at least {min_user_rows} rows, items of at least {min_item_rows})"]
