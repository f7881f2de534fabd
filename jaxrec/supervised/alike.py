"""Groups of items, and ways in which items can be alike.

Ways are for short-term effects: people may tire of a subject, or of what they like.

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
    ways.append(Alike("features", unit_rows(features)))
    most = most_groups(features, log)
    counts = [count for count in GROUPS if count <= most]
    return [*ways, *(Alike(f"{count} groups", groups_of(features, log, count, seed)) for count in counts)]


def most_groups(features: np.ndarray, log: Log) -> int:
    """The largest number of groups of items with features [I, k]; 0 if the features of all items are the same."""
    known = unit_rows(features)[: log.num_touched]
    different = len(np.unique(known.round(6), axis=0))
    return max(min(min(len(known), SAMPLE) // LEAST_ITEMS, different - 1), 0)


def groups_of(features: np.ndarray, log: Log, count: int, seed: int) -> np.ndarray:
    """The groups [I, count], one-hot, of items with features [I, k], found by k-means on those with rows."""
    from scipy.cluster.vq import kmeans2, vq  # slow to import

    directions, rng, runs = unit_rows(features), np.random.default_rng([seed, 5, count]), []
    known = directions[: log.num_touched]
    if len(known) > SAMPLE:
        known = known[np.sort(rng.choice(len(known), SAMPLE, replace=False))]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty", UserWarning)  # then there are fewer groups
        for _ in range(RUNS):
            centres = kmeans2(known, count, iter=STEPS, minit="++", rng=rng)[0]
            runs.append((float(np.square(vq(known, centres)[1]).sum()), centres))
    group = vq(directions, min(runs, key=lambda run: run[0])[1])[0]
    return np.eye(count, dtype=np.float32)[group]
