"""Many rows in parts of equal size, so that one compiled program serves all."""

from collections.abc import Iterator

import numpy as np


def equal_parts(count: int, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Places 0 to `count` - 1 in order, in parts [size], and how many places of a part are not repeated.

    The last part is filled up by repeating its own places from the first.
    """
    for start in range(0, count, size):
        own = np.arange(start, min(start + size, count))
        yield np.resize(own, size), len(own)
