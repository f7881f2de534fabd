"""What a log needs before users can be fitted to it; checked before anything is encoded or fitted."""

from typing import NamedTuple

import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.schema import Config
from jaxrec.data import Log
from jaxrec.data.log import counted
from jaxrec.runs.read_log import Corpus
from jaxrec.runs.recipe import log_config
from jaxrec.supervised.contrast import always_one
from jaxrec.supervised.validity import latest_rows_of


def check_kinds(config: Config, corpus: Corpus) -> None:
    """Raise InputError for kinds of feedback with one value in rows that users are fitted to.

    Tastes can be fitted to kinds that are 1 in every row (`jaxrec.supervised.contrast`).
    """
    whole = corpus.dataset.log
    fitted = {
        "every earlier row (the later ones judge the fit)": whole.take(~latest_rows_of(whole, 0.2)),
        "every row of the users who train (1 - evaluate.judge_share)": corpus.train,
        "every row of the users who judge (evaluate.judge_share)": corpus.judge,
    }
    possible = always_one(whole) & (config.env.response == "tastes")
    if config.learner.policy.belief and possible.any():
        name = whole.feedback_names[int(np.argmax(possible))]
        raise InputError(
            f"learner.policy.belief: '{name}' is 1 in every row, and what such rows tell of a person depends on items "
            "that are drawn at random; set it to false."
        )
    found: list[_Constant] = []
    for kind in np.flatnonzero(~possible):
        given = int(whole.feedback[:, kind].sum())
        for where, log in fitted.items():
            values = log.feedback[:, kind]
            if len(values) and values.min() != values.max():
                continue
            place = "every row of the log" if given in (0, len(whole)) else where
            found.append(_Constant(whole.feedback_names[kind], given, place, float(values[0]) if len(values) else 0.0))
            break
    if found:
        raise InputError(_message(config, whole, found))


def check_matrix_values(whole: Log) -> None:
    """Raise InputError for a log of which all entries of a matrix would be one number."""
    values, name = whole.feedback, whole.feedback_names[0]
    if values.shape[1] == 1 and len(whole) and values.min() == values.max():
        instead = ", or set env.name to logged, which can be fitted to successes alone" if values[0, 0] == 1 else ""
        raise InputError(
            f"data.feedback.{name}: {values[0, 0]:g} in every row of the log, so the matrix would be {values[0, 0]:g} "
            f"everywhere; choose another threshold or column{instead}."
        )


class _Constant(NamedTuple):
    """A kind of feedback with one value where it should differ."""

    name: str
    given: int  # rows of the whole log with it
    where: str
    value: float

    def seen_in(self, whole: Log) -> str:
        """Where it has which value, and how often it is 1."""
        return f"{self.value:g} in {self.where}, and 1 in {counted(self.given, 'row')} of {len(whole):,}"


def _message(config: Config, whole: Log, found: list[_Constant]) -> str:
    first, several = found[0], len(found) > 1
    has_band = log_config(config).feedback[first.name].band is not None
    mend = "choose another threshold or column" if has_band else "choose another column, or remove this kind"
    if several:
        mend = "choose other thresholds or columns, or remove these kinds"
    if any(one.given == len(whole) for one in found) and config.env.response != "tastes":
        mend += ", or set env.response to tastes, which can be fitted to successes alone"
    elif any(0 < one.given < len(whole) for one in found):
        mend = f"{mend}, or give a longer log"
    if several:
        seen = "; ".join(f"'{one.name}' is {one.seen_in(whole)}" for one in found)
        return f"data.feedback: users can be fitted only to feedback that differs, but {seen}; {mend}."
    seen = first.seen_in(whole)
    return f"data.feedback.{first.name}: {seen}; users can be fitted only to feedback that differs; {mend}."
