"""Batches of texts of many lengths in few shapes, with little padding, since padding costs time."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

SHAPE_COST = 4096  # tokens that two CPU cores encode while one more shape is compiled
LINES = 8  # larger batches have a multiple of this many lines


def bucket_lengths(lengths: np.ndarray) -> np.ndarray:
    """Choose padded lengths for texts of `lengths` [B] tokens: increasing, the last one fits all.

    Minimises the padded tokens plus a fixed cost for each compiled shape, by dynamic programming over the
    lengths that occur (rounded up): best[j] = min over i < j of best[i] + texts in (i, j] * length j + cost.
    """
    edges, counts = np.unique([round_up(max(n, 1), 4) for n in lengths.tolist()], return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])
    best, start = np.zeros(len(edges) + 1), np.zeros(len(edges) + 1, np.int64)
    for end in range(1, len(edges) + 1):
        costs = best[:end] + (below[end] - below[:end]) * edges[end - 1] + SHAPE_COST
        best[end], start[end] = costs.min(), costs.argmin()
    chosen, end = [], len(edges)
    while end:
        chosen.append(edges[end - 1])
        end = start[end]
    return np.array(chosen[::-1], np.int64)


def make_batches(
    ids: Sequence[Sequence[int] | np.ndarray],
    batch_tokens: int,
    max_length: int,
    buckets: np.ndarray | None = None,
    devices: int = 1,
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield (rows, ids, mask) with ids and mask [B, T] int32, longest texts first, of at most `batch_tokens` tokens.

    `rows` are the texts of the first len(rows) lines; further lines are padding and fully masked. Every bucket
    (`bucket_lengths` of these texts where none are given) has one shape: a batch that its bucket's texts do not fill
    takes the next shorter ones. Only the last batch may have fewer lines. Lines are a multiple of `devices`.
    """
    lengths = np.array([len(row) for row in ids], np.int64)
    buckets = bucket_lengths(lengths) if buckets is None else buckets
    order, start = np.argsort(-lengths, kind="stable"), 0
    while start < len(order):
        bucket = buckets[np.searchsorted(buckets, lengths[order[start]])]
        width = min(int(bucket), max_length)
        height = min(_height(batch_tokens // width, devices), round_up(len(order) - start, math.lcm(LINES, devices)))
        rows = order[start : start + height]
        padded, mask = np.zeros((2, height, width), np.int32)
        for line, row in enumerate(rows):
            padded[line, : lengths[row]] = ids[row]
            mask[line, : lengths[row]] = 1
        yield rows, padded, mask
        start += height


def _height(most: int, devices: int) -> int:
    """Lines of a full batch, at most `most` where the devices allow it."""
    for step in (math.lcm(LINES, devices), devices):
        if most >= step:
            return most // step * step
    return devices


def round_up(n: int, least: int) -> int:
    """Round up to a multiple of `least` or of an eighth of the next power of two: few different values."""
    step = max(least, 2 ** (n - 1).bit_length() // 8)
    return math.ceil(n / step) * step
