"""Many rows in parts of one size: one shape is one compiled program."""

from collections.abc import Iterator

import numpy as np


def equal_parts(count: int, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Places 0 to `count` - 1 in order, in parts [size], and how many places of a part are its own.

    The last part is filled up by repeating its own places from their beginning.
    """
    for start in range(0, count, size):
        own = np.arange(start, min(start + size, count))
        yield np.resize(own, size), len(own)
