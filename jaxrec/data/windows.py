"""Windows of the latest items, in the form that all readers of histories expect; on the host."""

import numpy as np

from jaxrec.types import PADDING


def latest_rows(
    columns: tuple[np.ndarray, np.ndarray], starts: np.ndarray, ends: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Take the latest H = `length` rows between `starts` [B] and `ends` [B] (exclusive), newest last.

    `columns` are items [R] and feedback [R, F]. Gives items [B, H] int32 and feedback [B, H, F] float32; where there is
    no row, the item is PADDING and the feedback 0.
    """
    item, feedback = columns
    rows = ends[:, None] + np.arange(-length, 0)
    inside = rows >= starts[:, None]
    items = np.full(inside.shape, PADDING, np.int32)
    values = np.zeros((*inside.shape, feedback.shape[1]), np.float32)
    items[inside], values[inside] = item[rows[inside]], feedback[rows[inside]]
    return items, values
