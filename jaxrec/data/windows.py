"""The window of latest items, as everything that reads histories expects it; on the host."""

import numpy as np

from jaxrec.types import PADDING


def latest_rows(
    columns: tuple[np.ndarray, np.ndarray], starts: np.ndarray, ends: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """The latest H = `length` of the rows from `starts` [B] to before `ends` [B], newest last.

    `columns` are items [R] and feedback [R, F]; gives items [B, H] int32, PADDING where there is no row, and feedback
    [B, H, F] float32, 0 there.
    """
    item, feedback = columns
    rows = ends[:, None] + np.arange(-length, 0)
    inside = rows >= starts[:, None]
    items = np.full(inside.shape, PADDING, np.int32)
    values = np.zeros((*inside.shape, feedback.shape[1]), np.float32)
    items[inside], values[inside] = item[rows[inside]], feedback[rows[inside]]
    return items, values
