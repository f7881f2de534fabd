"""Rows of a log that belong together: those of a user and an item, and those of a user and a request."""

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


def times_of_requests(time: np.ndarray, request: np.ndarray, named: np.ndarray) -> np.ndarray:
    """Give rows [R] of a request the time of its first one; rows that name none (`named` [R] False) keep theirs."""
    first = np.full(int(request.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, request, time)
    return np.where(named, first[request], time)
