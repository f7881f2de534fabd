"""Fit the simple recommenders that a recipe names, for the held-out log or for simulated users."""

from typing import NamedTuple

import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.schema import Config
from jaxrec.data import Log
from jaxrec.evaluation.ensemble import ensemble, fit_weights
from jaxrec.evaluation.scorers import WEIGHT_USERS, Scorer, fit_simple, simple_scorer, validation_split
from jaxrec.progress import note
from jaxrec.runs.read_log import Corpus
from jaxrec.supervised.simple import SIMPLE_RECOMMENDERS
from jaxrec.types import World

ENSEMBLE = "ensemble"


class Rows(NamedTuple):
    """What recommenders are fitted to, and what they are for."""

    log: Log
    validation: Log  # later rows of the same users, which choose settings and weights
    purpose: str  # in the lines that are printed


def held_out_rows(corpus: Corpus) -> Rows:
    """All users' training rows, for the held-out log."""
    return Rows(corpus.split.train, corpus.split.validation, "the held-out log")


def simulated_rows(corpus: Corpus) -> Rows:
    """Rows of the users whom the training simulator is fitted to: nothing here knows those who judge."""
    validation = corpus.split.validation
    own = np.isin(validation.user, np.unique(corpus.train.user))
    return Rows(corpus.train, validation.take(own), "simulated users")


def fit_baselines(
    config: Config, rows: Rows, vectors: np.ndarray | None, world: World, others: dict[str, Scorer] | None = None
) -> dict[str, Scorer]:
    """Scorers by name: those of `evaluate.baselines`, and the ensemble if there is one.

    `others` are scorers from other stages that the recipe may name too. A recommender that cannot be fitted is left
    out, with one line that says why.
    """
    names, members = config.evaluate.baselines, config.evaluate.ensemble
    scorers, fitted = dict(others or {}), {}
    for name in dict.fromkeys([*names, *members]):
        if name in scorers:
            continue
        simple = SIMPLE_RECOMMENDERS[name]
        same = simple.fit, str(simple.grid)  # some share what they are fitted to
        try:
            if same not in fitted:
                fitted[same] = fit_simple(simple, rows.log, rows.validation, vectors)
        except InputError as error:
            note(f"  {name} is left out of {rows.purpose}: {error}")
            continue
        arrays, setting = fitted[same]
        scorers[name] = simple_scorer(simple, arrays)
        if setting:
            chosen = ", ".join(f"{key} {value:g}" for key, value in setting.items())
            note(f"  {name} for {rows.purpose}: {chosen} (best on validation rows)")
    found = {name: scorers[name] for name in names if name in scorers}
    if members:
        try:
            found[ENSEMBLE] = _ensemble(members, scorers, rows, world)
        except InputError as error:
            note(f"  the ensemble is left out of {rows.purpose}: {error}")
    return found


def _ensemble(members: tuple[str, ...], scorers: dict[str, Scorer], rows: Rows, world: World) -> Scorer:
    absent = [name for name in members if name not in scorers]
    if absent:
        raise InputError(f"evaluate.ensemble: {', '.join(absent)} could not be fitted; name others.")
    if not len(rows.validation):
        raise InputError("evaluate.ensemble: the log has no validation rows; leave it empty.")
    chosen = [scorers[name] for name in members]
    weights = fit_weights(chosen, validation_split(rows.log, rows.validation, WEIGHT_USERS), world.recommendable)
    terms = (f"{weight:+.2f} {name}" for name, weight in zip(members, weights, strict=True))
    note(f"  ensemble for {rows.purpose}: {' '.join(terms)}")
    return ensemble(chosen, weights, world.recommendable)
