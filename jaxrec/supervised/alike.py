"""Ways in which items can be alike, for short-term effects: people may tire of a subject, or of what they like.

Each way gives items directions of at most unit length, whose products say how alike two items are:

    tastes       unit taste vectors: items are alike if the same people like them
    features     unit features (texts and others): items are alike if their features are
    N groups     N groups of features (k-means): items are alike if they are in the same group
"""

import warnings
from typing import NamedTuple

import numpy as np

from jaxrec.data.log import Log
from jaxrec.ops.vectors import unit_rows

GROUPS = (4, 6, 8, 12, 16, 24, 32, 48, 64)
LEAST_ITEMS = 4  # in a group, on average
SAMPLE, RUNS, STEPS = 5_000, 3, 50  # items that the groups are found on; starts, of which the tightest is kept; steps


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
    different = len(np.unique(known.round(6), axis=0))
    counts = [count for count in GROUPS if count * LEAST_ITEMS <= len(known) and count < different]
    return [*ways, *(Alike(f"{count} groups", _groups(directions, known, count, rng)) for count in counts)]


def _groups(directions: np.ndarray, known: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """One direction [count] of each item, found by k-means on the known ones."""
    from scipy.cluster.vq import kmeans2, vq  # slow to import

    runs = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty", UserWarning)  # then there are fewer groups
        for _ in range(RUNS):
            centres = kmeans2(known, count, iter=STEPS, minit="++", rng=rng)[0]
            runs.append((float(np.square(vq(known, centres)[1]).sum()), centres))
    group = vq(directions, min(runs, key=lambda run: run[0])[1])[0]
    return np.eye(count, dtype=np.float32)[group]
