"""How well a fitted response model predicts what users did next, compared with simple predictors."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from jaxrec.checks import check_range
from jaxrec.config.logged import ResponseConfig
from jaxrec.config.tastes import TastesConfig
from jaxrec.data.log import Log
from jaxrec.supervised.calibration import auc, expected_calibration_error, reliability, sigmoid
from jaxrec.supervised.contrast import always_one
from jaxrec.supervised.histories import running_totals
from jaxrec.supervised.ranked import judge_ranks
from jaxrec.supervised.response import Response
from jaxrec.supervised.response_fit import fit_response, logits_of_rows
from jaxrec.supervised.taste_path import follow
from jaxrec.supervised.tastes_fit import fit_tastes

RARE = 5  # training rows below which an item is rare


Predict = Callable[[np.ndarray], np.ndarray]  # rows [N] of the log, increasing -> P of every feedback [N, F]


class Validity(NamedTuple):
    """Users fitted to the earlier rows of a log, judged on the later ones."""

    fitted: Any  # Tastes, or a Response
    test: np.ndarray  # [R] bool, the rows they have not seen
    report: dict[str, Any]  # plain data


# Training rows, item vectors or None, label -> what was fitted, its report, (log) -> a predictor of rows of that log
Fit = Callable[[Log, np.ndarray | None, str], tuple[Any, dict[str, Any], Callable[[Log], Predict]]]


def validity_of_tastes(
    log: Log,
    vectors: np.ndarray | None,
    config: TastesConfig,
    seed: int,
    *,
    others: Sequence[np.ndarray] = (),
    **options: Any,
) -> Validity:
    """Report on tastes fitted with `others` (see `fit_tastes`); `options` are those of `validity_report`.

    Kinds of feedback that are always 1 are judged by ranked.py.
    """
    ones, fits = always_one(log), []

    def fit(train: Log, vectors: np.ndarray | None, label: str) -> tuple[Any, dict[str, Any], Callable[[Log], Predict]]:
        # Without texts and other features there are no groups of them.
        known = config if vectors is not None or others else dataclasses.replace(config, groups=0)
        tastes, report = fit_tastes(train, vectors, known, seed, others=others, ones=ones, label=label)
        fits.append(tastes)
        return tastes, report, lambda log: lambda rows: follow(tastes, log, rows).probabilities

    validity = validity_report(fit, log, vectors, **options)
    if ones.any():
        judge_ranks(validity.report, fits, log, validity.test, ones, rare_rows(log, validity.test))
    return validity


def validity_of_response(
    log: Log, vectors: np.ndarray | None, config: ResponseConfig, seed: int, **options: Any
) -> Validity:
    """Report on a response model; `options` are those of `validity_report`."""

    def fit(train: Log, vectors: np.ndarray | None, label: str) -> tuple[Any, dict[str, Any], Callable[[Log], Predict]]:
        response, report = fit_response(train, vectors, config, seed, label=label)
        return response, report, lambda log: partial(_predicted, response, log)

    return validity_report(fit, log, vectors, **options)


def validity_report(
    fit: Fit, log: Log, vectors: np.ndarray | None, test_share: float = 0.2, *, compare_text: bool = False
) -> Validity:
    """Fit on the earliest rows, judge on the latest `test_share` of all rows in time.

    A test row is predicted from all earlier rows of its user, test rows included, and from items as known from the
    training rows. For every kind of feedback the report has the AUC and calibration error of the predictions, the AUC
    of the comparisons (`comparison_scores`), and the AUC on rare items. `compare_text` fits once more without item
    vectors and judges that on the rare items too.
    """
    test = latest_rows_of(log, test_share)
    train = log.take(~test)
    fitted, about, predictor = fit(train, vectors, "fit for the validity report")
    rare = {"auc": rare_item_auc(predictor(log), log, test)}
    if compare_text and vectors is not None:
        textless = fit(train, None, "fit the same without texts")[2]
        rare["auc_without_text"] = rare_item_auc(textless(log), log, test)
    report = {
        "test_share": test_share,
        "train_rows": len(train),
        "test_rows": int(test.sum()),
        "feedback": judge(predictor(log), log, test),
        "rare_items": {"fewer_training_rows_than": RARE, "test_rows": len(rare_rows(log, test)), **rare},
        "fit": about,
    }
    return Validity(fitted, test, report)


def latest_rows_of(log: Log, share: float) -> np.ndarray:
    """Mark the latest `share` of all rows in time: [R] bool."""
    check_range("test_share", share, 0.01, 0.9)
    test = np.zeros(len(log), bool)
    test[np.argsort(log.time, kind="stable")[round(len(log) * (1 - share)) :]] = True
    return test


def judge(predict: Predict, log: Log, test: np.ndarray) -> dict[str, dict[str, Any]]:
    """Metrics on the rows `test` [R] bool of a log, by name of the feedback; see `validity_report`."""
    rows = np.flatnonzero(test)
    p = predict(rows)
    report: dict[str, dict[str, Any]] = {}
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
        bins = reliability(labels, p[:, b])._asdict()
        report[name]["reliability"] = {what: _plain(values) for what, values in bins.items()}
    return report


def rare_rows(log: Log, test: np.ndarray) -> np.ndarray:
    """Test rows on items with fewer than `RARE` training rows."""
    count = np.bincount(log.item[~test], minlength=log.num_items)
    return np.flatnonzero(test & (count[log.item] < RARE))


def rare_item_auc(predict: Predict, log: Log, test: np.ndarray) -> dict[str, float | None]:
    """AUC on `rare_rows`, by name of the feedback."""
    rows = rare_rows(log, test)
    p = predict(rows)
    return {name: auc(log.feedback[rows, b], p[:, b]) for b, name in enumerate(log.feedback_names)}


def _predicted(response: Response, log: Log, rows: np.ndarray) -> np.ndarray:
    """Calibrated probabilities [B, F] of rows [B]."""
    return sigmoid(logits_of_rows(response, log, rows) * np.asarray(response.scale) + np.asarray(response.shift))


def _plain(values: np.ndarray) -> list[float | None]:
    """Numbers for JSON: NaN becomes None."""
    return [None if np.isnan(value) else value for value in values.tolist()]


def comparison_scores(log: Log, test: np.ndarray, kind: int, strength: float = 5.0) -> dict[str, np.ndarray]:
    """Scores [R] that need no model; means are shrunk to the training mean by `strength` rows.

    item_count and item_mean come from the training rows; running_means is the sum of the user's and the
    item's means over everything before the row, test rows included: strong, since it follows both over time.
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
