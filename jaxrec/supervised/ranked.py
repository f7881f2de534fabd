"""How well tastes rank what users chose next, for kinds of feedback that are 1 in every row.

Such a log confirms ranks alone: a held-out row should be predicted higher than items that its user does not have.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrec.data.log import Log
from jaxrec.nets.tastes import Drawing, Tastes, probabilities
from jaxrec.sharding.compile import compiled
from jaxrec.supervised.calibration import auc
from jaxrec.supervised.contrast import draw_items
from jaxrec.supervised.taste_link import logits_on
from jaxrec.supervised.taste_path import follow

DRAWN = 8  # items next to each judged row, all with the same chance
MOST_ROWS = 20_000  # longer parts of a log are sampled: a belief takes F D^2 numbers for each row


def judge_ranks(
    report: dict[str, Any], fits: Sequence[Tastes], log: Log, test: np.ndarray, ones: np.ndarray, rare: np.ndarray
) -> None:
    """Replace what a validity report says about the kinds `ones` [F] bool by ranks, on rows `test` [R] bool.

    `fits` are the tastes and, if there are such, those without texts. `rare` are the test rows on rare items. Every row
    is predicted from the earlier rows of its user, and so are the items drawn for it.
    """
    rows = np.flatnonzero(test)
    if len(rows) > MOST_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST_ROWS, replace=False))
    count = np.bincount(log.item[~test], minlength=log.num_items)
    constant = jnp.where(jnp.arange(log.num_items) < log.num_touched, 1 / log.num_touched, 0.0)
    drawing = Drawing(constant, jnp.asarray(ones, jnp.float32), jnp.zeros((log.num_items, len(ones))), DRAWN)
    items = draw_items(drawing, log.take(rows), 1, log)
    real, uncommon = items >= 0, np.isin(rows, rare)
    predicted = [predict(tastes, log, rows, items) for tastes in fits]
    for b in np.flatnonzero(ones):
        name = log.feedback_names[b]
        own, drawn = predicted[0]
        report["feedback"][name] = {
            "assumed": report["fit"]["assumed"][name],
            "base_rate": 1.0,
            "mean_probability": float(own[:, b].mean()),
            "auc": above(own[:, b], drawn[..., b], real),
            "ece": None,
            "auc_item_count": above(count[log.item[rows]], count[items], real),
            "auc_item_mean": None,
            "auc_running_means": None,
            "reliability": None,
        }
        for key, (own, drawn) in zip(("auc", "auc_without_text"), predicted, strict=False):
            report["rare_items"][key][name] = above(own[uncommon, b], drawn[uncommon][..., b], real[uncommon])


def predict(tastes: Tastes, log: Log, rows: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P of rows [N] and of items [N, n] drawn for them, from what was known before the rows: [N, F], [N, n, F]."""
    followed = follow(tastes, log, rows, beliefs=True)
    beliefs = followed.beliefs
    if beliefs is None:  # no rows
        return followed.probabilities, np.zeros((*items.shape, len(tastes.feedback_names)))
    logits = logits_on(tastes, beliefs.mean, beliefs.covariance, np.arange(len(rows)), items)
    p = compiled(probabilities)(tastes, logits.mean, logits.variance)
    return followed.probabilities, np.asarray(p)


def above(own: np.ndarray, drawn: np.ndarray, real: np.ndarray) -> float | None:
    """AUC of scores [N] of rows against scores [N, n] of drawn items, where there are such, [N, n] bool."""
    others = drawn[real]
    labels = np.concatenate([np.ones(len(own)), np.zeros(len(others))])
    return auc(labels, np.concatenate([own, others]))
