"""What a log needs before users can be fitted to it."""

import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig, FeedbackKind
from jaxrec.config.every_item import AllItemsConfig
from jaxrec.config.logged import LoggedConfig
from jaxrec.config.policy import PolicyConfig
from jaxrec.config.schema import Config
from jaxrec.data import Log
from jaxrec.runs.users.log_checks import check_kinds

KINDS = {"clicked": FeedbackKind(column="click"), "long": FeedbackKind(column="seconds", at_least=30)}


def log_of(feedback: list[list[int]]) -> Log:
    """One row per entry, at its own time; users 0 and 1 in turn."""
    rows = len(feedback)
    user, order = np.arange(rows) % 2, np.argsort(np.arange(rows) % 2, kind="stable")
    columns = user[order].astype(np.int32), order.astype(np.int32), order
    return Log(*columns, np.array(feedback, np.float32)[order], tuple(KINDS), 2, rows)


def check(log: Log, response: str = "tastes", *, belief: bool = False) -> None:
    sides = {"train": log.take(log.user == 0), "judge": log.take(log.user == 1)}
    env = LoggedConfig(response=response)  # type: ignore[arg-type]
    config = Config(
        data=DataConfig(feedback=KINDS), env=env, learner=AllItemsConfig(policy=PolicyConfig(belief=belief))
    )
    check_kinds(config, SimpleNamespace(dataset=SimpleNamespace(log=log), **sides))  # type: ignore[arg-type]


MIXED = [[0, 1], [1, 0], [1, 0], [0, 1], [1, 1], [0, 0], [0, 1], [1, 0], [1, 0], [0, 1]]


def test_a_log_that_differs_everywhere_is_taken() -> None:
    check(log_of(MIXED))


EVERY, EVEN, ODD, EARLY = slice(None), slice(0, None, 2), slice(1, None, 2), slice(0, 8)


@pytest.mark.parametrize(
    ("rows", "kind", "value", "where"),
    [
        (EVERY, "clicked", 0, "every row of the log, and 1 in 0 rows of 10"),
        (EVEN, "long", 0, "every row of the users who train"),
        (ODD, "long", 1, "every row of the users who judge"),
        (EARLY, "long", 0, "every earlier row"),
    ],
)
def test_a_kind_with_one_value_is_refused_by_the_rows_that_lack_the_other(
    rows: slice, kind: str, value: int, where: str
) -> None:
    feedback = np.array(MIXED)
    feedback[rows, list(KINDS).index(kind)] = value
    with pytest.raises(InputError, match=re.escape(f"data.feedback.{kind}: {value} in {where}")) as error:
        check(log_of(feedback.tolist()))
    assert ("threshold" in str(error.value)) == (kind == "long")


def test_all_kinds_with_one_value_are_named_in_one_line() -> None:
    feedback = np.array(MIXED)
    feedback[:, 0], feedback[ODD, 1] = 0, 1
    with pytest.raises(InputError) as error:
        check(log_of(feedback.tolist()))
    assert str(error.value) == (
        "data.feedback: users can be fitted only to feedback that differs, but 'clicked' is 0 in every row of the log, "
        "and 1 in 0 rows of 10; 'long' is 1 in every row of the users who judge (evaluate.judge_share), and 1 in "
        f"{feedback[:, 1].sum()} rows of 10; choose other thresholds or columns, or remove these kinds, or give a "
        "longer log."
    )


def test_successes_alone_are_for_tastes() -> None:
    log = log_of(MIXED)
    ones = dataclasses.replace(log, feedback=np.ones_like(log.feedback))
    check(ones)
    with pytest.raises(InputError, match=r"set env\.response to tastes"):
        check(ones, "last_rows")


def test_a_policy_with_belief_needs_answers_that_differ() -> None:
    ones = [[1, row[1]] for row in MIXED]
    check(log_of(ones))
    with pytest.raises(InputError, match=r"learner.policy.belief: 'clicked' is 1 in every row"):
        check(log_of(ones), belief=True)
