"""Sessions of a log: consecutive rows of a user without a long pause."""

import numpy as np

from jaxrec.data.log import Log


def ticks_per_second(time: np.ndarray) -> int | None:
    """1 for seconds since 1970, 1000 for milliseconds and so on; None if times [R] fit no such unit."""
    middle = float(np.median(time))
    return next((ticks for ticks in (1, 10**3, 10**6, 10**9) if 1e8 <= middle / ticks < 1e10), None)  # 1973 to 2286


def session_begins(log: Log, pause: int) -> np.ndarray:
    """Find the first row of each session; a pause longer than `pause`, in the log's units of time, begins a new one."""
    longer = np.diff(log.time, prepend=log.time[:1]) > pause
    return np.flatnonzero(longer | (np.diff(log.user, prepend=-1) != 0))
