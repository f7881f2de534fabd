"""Rows in parts of equal size, or of few sizes, so that compiled programs serve many of them."""

from collections.abc import Iterator

import numpy as np

FINEST = 8192  # rows by which the sizes of large data differ at most


def equal_parts(count: int, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Places 0 to `count` - 1 in order, in parts [size], and how many places of a part are not repeated.

    The last part is filled up by repeating its own places from the first.
    """
    for start in range(0, count, size):
        own = np.arange(start, min(start + size, count))
        yield np.resize(own, size), len(own)


def next_power(n: np.ndarray | int) -> np.ndarray:
    """The least power of two that is at least `n`, elementwise."""
    return 2 ** np.ceil(np.log2(n)).astype(int)


def rounded_up(count: int) -> int:
    """Give one of few sizes, four from each power of two to the next, that is at least `count`.

    Data of similar sizes that are filled up to it share a compiled program. At most a quarter is added, and at most
    8,192 rows.
    """
    step = min(1 << max(count.bit_length() - 3, 0), FINEST)
    return -(-count // step) * step
