"""Read the log of a recipe as `train` would, and describe it before anything is encoded or fitted."""

import dataclasses
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.config.data import DataConfig
from jaxrec.config.load import Overrides
from jaxrec.data import Catalogue, Log
from jaxrec.data.sessions import ticks_per_second
from jaxrec.progress import quiet
from jaxrec.runs.check_columns import check_tables, join_of
from jaxrec.runs.check_warnings import data_warnings, refusals
from jaxrec.runs.read_log import Corpus, read_corpus
from jaxrec.runs.recipe import Recipe, log_config, read_recipe

EXAMPLES = 10
MONTHS = 36  # with more of them, rates are those of years
QUANTILES = {"min": 0.0, "10%": 0.1, "25%": 0.25, "median": 0.5, "75%": 0.75, "90%": 0.9, "99%": 0.99, "max": 1.0}


def check_data(recipe: Recipe, overrides: Overrides = ()) -> dict[str, Any]:
    """Describe the log of a recipe as plain values; raises InputError where reading it in `train` would.

    Nothing is encoded or fitted. `warnings` are findings to think about, and `stops` are what would stop `train`. The
    description has no user ids: users are numbers.
    """
    started = time.perf_counter()
    config = read_recipe(recipe, overrides)
    data = log_config(config)
    # Components of own texts come from the encoder, which is not run here.
    unencoded = dataclasses.replace(config, data=dataclasses.replace(data, own_texts=0))
    with quiet():
        corpus = read_corpus(unencoded)
    log, catalogue = corpus.dataset.log, corpus.dataset.catalogue
    touched = log.num_items - log.untouched
    seconds = seconds_of(log, data)
    span = _span(log, seconds)
    tables, table_ids = check_tables(data, span)  # after the log, so that faults are reported as in `train`
    stops = refusals(unencoded, corpus)
    test = corpus.split.test
    return {
        "recipe": str(recipe) if isinstance(recipe, str | Path) else "",
        "account": list(corpus.dataset.account),
        "rows": len(log),
        "users": log.num_users,
        "items": touched,
        "untouched_items": log.untouched,
        "examples": examples(log, catalogue, seconds),
        "tables": tables,
        "join": join_of(catalogue.ids[:touched], table_ids["items"]) if "items" in table_ids else None,
        "time": span,
        "feedback": {"overall": _rates(log), **rates_by_period(log, seconds)},
        "rows_per_user": quantiles(np.bincount(log.user, minlength=log.num_users)),
        "rows_per_item": quantiles(np.bincount(log.item, minlength=touched)),
        "moments": moments(log),
        "split": {
            "train_rows": len(corpus.split.train),
            "validation_rows": len(corpus.split.validation),
            "test_rows": len(test),
            "test_successes": float(test.positive.mean()),
            "success": log.feedback_names[0],
            "recommendable_items": _recommendable(corpus, data),
        },
        "warnings": data_warnings(data, corpus, seconds),
        "stops": stops,
        "seconds": round(time.perf_counter() - started, 2),
        "next": next_command("check-data" if stops else "train", recipe, overrides),
    }


def next_command(command: str, recipe: Recipe, overrides: Overrides) -> str:
    """Write the command that follows; empty for a recipe that is not a file."""
    if not isinstance(recipe, str | Path):
        return ""
    words = [f"{k}={v}" for k, v in overrides.items()] if isinstance(overrides, Mapping) else overrides
    return shlex.join(["jaxrec", command, str(recipe), *words])


def seconds_of(log: Log, config: DataConfig) -> np.ndarray | None:
    """Times [R] in seconds since 1970, float64; None if their unit is unknown."""
    if not config.columns.time:
        return None
    if config.time_format not in ("", "ns"):
        return log.time / 10**6
    ticks = ticks_per_second(log.time)
    return None if ticks is None else log.time / ticks


def date_of(second: float) -> str:
    """Write seconds since 1970 as '2024-01-31 13:45', UTC."""
    return str(np.datetime64(int(second), "s").astype("datetime64[m]")).replace("T", " ")


def examples(log: Log, catalogue: Catalogue, seconds: np.ndarray | None) -> list[dict[str, Any]]:
    """Rows spread over the whole log, as they are understood; users are numbers from 1."""
    rows = np.unique(np.linspace(0, len(log) - 1, EXAMPLES).astype(int))
    found = []
    for row in rows.tolist():
        item = int(log.item[row])
        given = dict(zip(log.feedback_names, log.feedback[row].astype(int).tolist(), strict=True))
        found.append(
            {
                "user": int(log.user[row]) + 1,
                "item": catalogue.ids[item],
                "title": catalogue.titles[item],
                "time": int(log.time[row]) if seconds is None else date_of(float(seconds[row])),
                "feedback": given,
                "context": _context(log, row),
            }
        )
    return found


def _context(log: Log, row: int) -> list[str]:
    """Give the context of a row: values that it has, and its hour instead of a sine and a cosine."""
    if log.context is None:
        return []
    values = dict(zip(log.context_names, log.context[row].tolist(), strict=True))
    words = [name for name, value in values.items() if "=" in name and value]
    if "hour_sin" in values:
        hour = np.arctan2(values["hour_sin"], values["hour_cos"]) * 12 / np.pi % 24
        words.append(f"hour={hour:.1f}")
    return words


def quantiles(counts: np.ndarray) -> dict[str, float]:
    """Mean and quantiles of counts [N]."""
    found = np.quantile(counts, list(QUANTILES.values()))
    return {"mean": float(counts.mean()), **dict(zip(QUANTILES, found.tolist(), strict=True))}


def moments(log: Log) -> dict[str, Any]:
    """How many rows share user and time with others, and the sizes of these moments, most frequent first."""
    sizes = np.unique(log.moments, return_counts=True)[1]
    size, count = np.unique(sizes, return_counts=True)
    order = np.argsort(-count, kind="stable")[:EXAMPLES]
    return {
        "moments": len(sizes),
        "rows_together": float(sizes[sizes > 1].sum() / len(log)),
        "rows_per_moment": quantiles(sizes),
        "sizes": {str(size[n]): int(count[n]) for n in order},
    }


def rates_by_period(log: Log, seconds: np.ndarray | None) -> dict[str, Any]:
    """Rates of each kind of feedback by month or year, or by tenths of the rows in the order of time."""
    if seconds is None:
        by, names = "tenth", [str(n + 1) for n in range(10)]
        period = np.empty(len(log), np.int64)
        period[np.argsort(log.time, kind="stable")] = np.arange(len(log)) * 10 // len(log)
    else:
        by, months = "month", seconds.astype(np.int64).astype("datetime64[s]").astype("datetime64[M]")
        labels, period = np.unique(months, return_inverse=True)
        if len(labels) > MONTHS:
            by, (labels, period) = "year", np.unique(months.astype("datetime64[Y]"), return_inverse=True)
        names = labels.astype(str).tolist()
    period = period.reshape(-1)
    rows = np.bincount(period, minlength=len(names))
    sums = [np.bincount(period, column, minlength=len(names)) for column in log.feedback.T]
    return {
        "by": by,
        "periods": [
            {by: name, "rows": int(rows[n])}
            | {kind: float(s[n] / rows[n]) for kind, s in zip(log.feedback_names, sums, strict=True)}
            for n, name in enumerate(names)
            if rows[n]
        ],
    }


def _rates(log: Log) -> dict[str, float]:
    return dict(zip(log.feedback_names, log.feedback.mean(axis=0, dtype=np.float64).tolist(), strict=True))


def _span(log: Log, seconds: np.ndarray | None) -> dict[str, Any]:
    """First and last time, as dates where the unit is known."""
    first, last = int(np.argmin(log.time)), int(np.argmax(log.time))
    if seconds is None:
        return {"dates": False, "first": int(log.time[first]), "last": int(log.time[last])}
    return {"dates": True, "first": date_of(seconds[first]), "last": date_of(seconds[last])}


def _recommendable(corpus: Corpus, config: DataConfig) -> int:
    """Number of items with enough training rows to be recommended."""
    return int((corpus.counts >= config.min_item_ratings).sum())
