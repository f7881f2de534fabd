"""How well a fitted response model predicts what users did next, beside predictors anyone can compute."""

import numpy as np

from jaxrec.checks import check_range
from jaxrec.config.users import ResponseConfig
from jaxrec.data.log import Log
from jaxrec.supervised.calibration import auc, expected_calibration_error, sigmoid
from jaxrec.supervised.histories import running_totals
from jaxrec.supervised.response import Response
from jaxrec.supervised.response_fit import fit_response, logits_of_rows


def validity_report(
    log: Log, item_table: np.ndarray | None, config: ResponseConfig, seed: int, test_share: float = 0.2
) -> dict:
    """Fit on the earliest rows, judge on the latest `test_share` of all rows in time.

    A test row is predicted from all earlier rows of its user, test rows included, and from items as the
    training rows left them. Gives, for every kind of feedback, the AUC and calibration error of the model and
    the AUC of the comparisons (`comparison_scores`).
    """
    check_range("test_share", test_share, 0.01, 0.9)
    test = np.zeros(len(log), bool)
    test[np.argsort(log.time, kind="stable")[round(len(log) * (1 - test_share)) :]] = True
    response, fitted = fit_response(log.take(~test), item_table, config, seed)
    return {
        "test_share": test_share,
        "test_rows": int(test.sum()),
        "feedback": judge(response, log, test),
        "fit": fitted,
    }


def judge(response: Response, log: Log, test: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Figures of the rows `test` [R] bool of a log, by name of the feedback; see `validity_report`."""
    rows = np.flatnonzero(test)
    p = sigmoid(logits_of_rows(response, log, rows) * np.asarray(response.scale) + np.asarray(response.shift))
    report = {}
    for b, name in enumerate(log.feedback_names):
        labels = log.feedback[rows, b]
        report[name] = {
            "base_rate": float(labels.mean()),
            "mean_probability": float(p[:, b].mean()),
            "auc": auc(labels, p[:, b]),
            "ece": expected_calibration_error(labels, p[:, b]),
        }
        for score, values in comparison_scores(log, test, b).items():
            report[name][f"auc_{score}"] = auc(labels, values[rows])
    return report


def comparison_scores(log: Log, test: np.ndarray, kind: int, strength: float = 5.0) -> dict[str, np.ndarray]:
    """Scores [R] that need no model; means are drawn to the training mean by `strength` rows.

    item_count and item_mean come from the training rows; running_means is the sum of the user's and the
    item's means over everything before the row, test rows included: strong, since it follows both in time.
    """
    values, train = log.feedback[:, kind], ~test
    mean = values[train].mean()
    count = np.bincount(log.item[train], minlength=log.num_items)
    total = np.bincount(log.item[train], values[train], log.num_items)
    running = []
    for group in (log.user, log.item):
        before, totals = running_totals(log, group)
        running.append((totals[:, kind] + strength * mean) / (before + strength))
    return {
        "item_count": count[log.item].astype(np.float64),
        "item_mean": ((total + strength * mean) / (count + strength))[log.item],
        "running_means": running[0] + running[1],
    }
