"""What a log needs before users can be fitted to it; checked before anything is encoded or fitted."""

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
    for kind in np.flatnonzero(~possible):
        for where, log in fitted.items():
            values = log.feedback[:, kind]
            if len(values) and values.min() != values.max():
                continue
            raise InputError(_message(config, whole, int(kind), where, float(values[0]) if len(values) else 0.0))


def _message(config: Config, whole: Log, kind: int, where: str, value: float) -> str:
    name = whole.feedback_names[kind]
    given = int(whole.feedback[:, kind].sum())
    if given in (0, len(whole)):
        where = "every row of the log"
    has_band = log_config(config).feedback[name].band is not None
    mend = "choose another threshold or column" if has_band else "choose another column, or remove this kind"
    if given == len(whole) and config.env.response != "tastes":
        mend += ", or set env.response to tastes, which can be fitted to successes alone"
    elif 0 < given < len(whole):
        mend = f"{mend}, or give a longer log"
    return (
        f"data.feedback.{name}: {value:g} in {where}, and 1 in {counted(given, 'row')} of {len(whole):,}; users can "
        f"be fitted only to feedback that differs; {mend}."
    )
