"""The log, the catalogue and their splits, as plain numpy arrays."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np


def listed(names: Sequence[str], most: int = 40) -> str:
    """Write names for a message, the first ones if there are many."""
    more = f", and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(name[:80] for name in names[:most]) + more


def counted(count: int, noun: str) -> str:
    """Write a count with its noun: '1 row', '1,234 rows'."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


@dataclasses.dataclass(frozen=True)
class Log:
    """Interactions sorted by (user, time, order of the file); R rows. Users and items are small integers.

    Raw user ids become pseudonyms as they are read (pseudonyms.py), so no later code can write them anywhere.
    """

    user: np.ndarray  # [R] int32, non-decreasing
    item: np.ndarray  # [R] int32, rows of the catalogue
    time: np.ndarray  # [R] int64, in the units of the file
    feedback: np.ndarray  # [R, F] float32; column 0 says whether a row is a success
    feedback_names: tuple[str, ...]
    num_users: int
    num_items: int
    context: np.ndarray | None = None  # [R, C] float32, what was known about the visit and the user
    context_names: tuple[str, ...] = ()  # of the C columns
    review: np.ndarray | None = None  # [R] str objects, what the user wrote about the item; may be empty
    repeats: bool = False  # whether a user may have several rows of an item
    untouched: int = 0  # the last items of the catalogue: they have no row, in any part of the log

    def __len__(self) -> int:
        return len(self.user)

    @property
    def offsets(self) -> np.ndarray:
        """[num_users + 1] int64: rows of user u are offsets[u] to offsets[u + 1]; derived, never stored."""
        return np.searchsorted(self.user, np.arange(self.num_users + 1)).astype(np.int64)

    @property
    def num_touched(self) -> int:
        """Items with rows, in this part of the log or in another; they are the first ones of the catalogue."""
        return self.num_items - self.untouched

    @property
    def item_rows(self) -> np.ndarray:
        """[I] rows of each item; items that nobody has touched have those of the item with fewest.

        What is fitted to numbers of rows then never goes beyond what it has seen.
        """
        rows = np.bincount(self.item, minlength=self.num_items)
        if self.untouched:
            rows[self.num_touched :] = rows[: self.num_touched].min()
        return rows

    @property
    def positive(self) -> np.ndarray:
        """[R] bool: the rows that recommenders should find, those with the first kind of feedback."""
        return self.feedback[:, 0] > 0

    @property
    def moments(self) -> np.ndarray:
        """[R] int64: the first row of each row's moment. Rows of a user with the same time were shown together.

        What is known before a row are the rows of its user before this one: answers of one moment tell nothing of each
        other.
        """
        new = (np.diff(self.time, prepend=self.time[:1] - 1) != 0) | (np.diff(self.user, prepend=-1) != 0)
        return np.maximum.accumulate(np.where(new, np.arange(len(self)), 0))

    def take(self, rows: np.ndarray) -> "Log":
        """Keep rows by boolean mask or indices; user and item numbers do not change."""
        columns = {name: getattr(self, name) for name in ROW_COLUMNS}
        return dataclasses.replace(self, **{name: x if x is None else x[rows] for name, x in columns.items()})

    def merge(self, other: "Log") -> "Log":
        """Merge two logs of the same users and items, by (user, time); at equal times `self` comes first."""
        order = np.lexsort((np.r_[self.time, other.time], np.r_[self.user, other.user]))
        columns = {name: (getattr(self, name), getattr(other, name)) for name in ROW_COLUMNS}
        both = {name: None if a is None or b is None else np.concatenate([a, b]) for name, (a, b) in columns.items()}
        return dataclasses.replace(self, **both).take(order)


ROW_COLUMNS = ("user", "item", "time", "feedback", "context", "review")  # of a Log, [R, ...]


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """Items in the order of their rows; `texts` is what the encoder reads."""

    ids: tuple[str, ...]  # as in the log
    titles: tuple[str, ...]
    texts: tuple[str, ...]
    fields: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)  # columns of which texts are made
    features: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)  # see item_features.read_features

    def __len__(self) -> int:
        return len(self.ids)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A cleaned log with its catalogue; each line of `account` says one thing that cleaning did."""

    log: Log
    catalogue: Catalogue
    account: tuple[str, ...]
    users: tuple[str, ...] = ()  # pseudonyms in the order of the users' numbers; only readers see raw ids


@dataclasses.dataclass(frozen=True)
class Split:
    """Rows of one log, disjoint; at test time a user's history is its train and validation rows."""

    train: Log
    validation: Log
    test: Log
