"""One code per item: those of the levels, and a last one that tells items with the same codes apart; on the host."""

import numpy as np

from jaxrec.checks import InputError, check_shape


def add_last_code(codes: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Add the last code: number of the item among those with the same codes, [N, L] -> [N, L + 1] int32.

    Numbers follow the order of the rows. `known` [M, L + 1] are items that have their codes already; new ones are
    numbered after them, so no code changes.
    """
    codes = np.asarray(codes, np.int32)
    before = np.zeros((0, codes.shape[1] + 1), np.int32) if known is None else np.asarray(known, np.int32)
    check_shape("known", before, (None, codes.shape[1] + 1))
    both = np.concatenate([before[:, :-1], codes])
    group = groups(both)
    taken = np.zeros(group.max(initial=-1) + 1, np.int64)
    np.maximum.at(taken, group[: len(before)], before[:, -1] + 1)
    own = group[len(before) :]
    order = np.argsort(own, kind="stable")
    first = np.searchsorted(own[order], own[order])
    number = np.empty(len(own), np.int64)
    number[order] = np.arange(len(own)) - first + taken[own[order]]
    return np.concatenate([codes, number[:, None].astype(np.int32)], axis=1)


def groups(codes: np.ndarray) -> np.ndarray:
    """Number of the group of rows with the same codes: [N, L] -> [N], counted from 0 in the order of the codes."""
    if not len(codes):
        return np.zeros(0, np.int64)
    order = np.lexsort(codes.T[::-1])
    new = (np.diff(codes[order], axis=0) != 0).any(axis=1)
    found = np.empty(len(codes), np.int64)
    found[order] = np.concatenate([[0], np.cumsum(new)])
    return found


def vocabulary(codes: np.ndarray, size: int) -> tuple[int, ...]:
    """Sizes of the L + 1 vocabularies of codes [I, L + 1] whose levels have `size` codes.

    The last one has room for as many items with the same codes as any level has codes, so that new items fit.
    """
    return (size,) * (codes.shape[1] - 1) + (max(size, int(codes[:, -1].max(initial=0)) + 1),)


def check_codes(codes: np.ndarray, sizes: tuple[int, ...]) -> None:
    """Raise InputError unless every item has one code of its own, inside the vocabularies."""
    check_shape("codes", codes, (None, len(sizes)))
    if not len(codes) or codes.min() < 0 or (codes.max(axis=0) >= np.asarray(sizes)).any():
        raise InputError(
            f"codes: expected at least one item and codes from 0 to {[size - 1 for size in sizes]}; make the tokens "
            "again with `jaxrec tokens`."
        )
    if groups(codes).max() + 1 != len(codes):
        raise InputError("codes: two items have the same code; make the tokens again with `jaxrec tokens`.")
