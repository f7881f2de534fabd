"""Rows of a log that belong together: those of a user and an item, and those of a user and a request."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa


def groups(*columns: pa.Array) -> np.ndarray:
    """Number the rows [R] by their cells in all columns: [R] int64, the same for equal cells."""
    number = np.zeros(len(columns[0]), np.int64)
    for cells in columns:
        codes = cells.dictionary_encode().indices.to_numpy().astype(np.int64)
        number = number * (codes.max(initial=0) + 1) + codes
        number = np.unique(number, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return number


def combined(values: np.ndarray, group: np.ndarray, keep: np.ndarray, how: str) -> np.ndarray:
    """Replace values [R] by the `mean` or the `sum` of their group's rows that are kept ([R] bool)."""
    totals = np.bincount(group, np.where(keep, values, 0.0))
    if how == "mean":
        totals /= np.maximum(np.bincount(group, keep), 1)
    return np.where(keep, totals[group], values)


def changed(names: Sequence[str], alone: np.ndarray, together: np.ndarray, group: np.ndarray) -> str:
    """Say how many groups of rows gain and lose each kind of feedback when their numbers are combined.

    A group has a kind of feedback of its rows `alone` [R, F] if one of them has it; `together` [R, F] is the same in
    all rows of a group (`group` [R]). Empty if no group has several rows.
    """
    if len(np.unique(group)) == len(group):
        return ""
    before, after = np.zeros((2, int(group.max()) + 1, len(names)), bool)
    np.logical_or.at(before, group, alone > 0)
    np.logical_or.at(after, group, together > 0)
    gains, losses = (after & ~before).sum(axis=0), (before & ~after).sum(axis=0)
    parts = [f"gives '{name}' to {count:,}" for name, count in zip(names, gains, strict=True) if count]
    parts += [f"takes '{name}' from {count:,}" for name, count in zip(names, losses, strict=True) if count]
    return f"{' and '.join(parts)}, compared with their rows alone" if parts else "changes no feedback"


def times_of_requests(time: np.ndarray, request: np.ndarray, named: np.ndarray) -> np.ndarray:
    """Give rows [R] of a request the time of its first one; rows that name none (`named` [R] False) keep theirs."""
    first = np.full(int(request.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, request, time)
    return np.where(named, first[request], time)
