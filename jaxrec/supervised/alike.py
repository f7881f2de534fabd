"""Ways in which items can be alike, for short-term effects: people may tire of a subject, or of what they like.

Each way gives items directions of at most unit length, whose products say how alike two items are:

    tastes       unit taste vectors: alike is what the same people like
    features     unit features (texts and others): alike is what reads alike
    N groups     one direction for each of N groups of features (k-means): alike is what is in the same group
"""

import warnings
from typing import NamedTuple

import numpy as np

from jaxrec.data.log import Log
from jaxrec.ops.vectors import unit_rows

GROUPS = (4, 6, 8, 12, 16, 24, 32, 48, 64)
LEAST_ITEMS = 4  # in a group, on average
SAMPLE, RUNS = 5_000, 3  # items that the groups are found on, and starts of which the tightest is kept


class Alike(NamedTuple):
    """A way in which items are alike."""

    name: str
    directions: np.ndarray | None  # [I, k]; None: those of the fitted taste vectors


def ways_alike(features: np.ndarray, log: Log, seed: int) -> list[Alike]:
    """The ways that are tried on a log whose items have features [I, k]; groups are those of items with rows."""
    ways = [Alike("tastes", None)]
    if not features.shape[1] or not features.any():
        return ways
    directions = unit_rows(features)
    ways.append(Alike("features", directions))
    rng = np.random.default_rng([seed, 5])
    known = directions[: log.num_touched]
    if len(known) > SAMPLE:
        known = known[np.sort(rng.choice(len(known), SAMPLE, replace=False))]
    counts = [count for count in GROUPS if count * LEAST_ITEMS <= len(known)]
    return [*ways, *(Alike(f"{count} groups", _groups(directions, known, count, rng)) for count in counts)]


def _groups(directions: np.ndarray, known: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """One direction [count] of each item, found by k-means on the known ones."""
    from scipy.cluster.vq import kmeans2, vq  # slow to import

    runs = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty", UserWarning)  # a group without items is none
        for _ in range(RUNS):
            centres, group = kmeans2(known, count, minit="++", rng=rng)
            runs.append((float(np.square(known - centres[group]).sum()), centres))
    group = vq(directions, min(runs, key=lambda run: run[0])[1])[0]
    return np.eye(count, dtype=np.float32)[group]
