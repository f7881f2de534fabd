"""Order what people really answered: does a recommender rank what a person liked above what they did not like?

The earlier rows of a user are the history, and the later ones are the question. People saw all these items, so nothing
is won by guessing what they were shown, as in the ranking of the next item. Nothing is simulated.

The K items that a recommender ranks highest among a person's later answers are its picks. Their mean real reward has
the unit of a slate, and next to it stands what the training simulator promises for the same picks.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxrec.data.log import Log, Split
from jaxrec.evaluation.held_out import Score, batches
from jaxrec.evaluation.measures import mean_and_half_width
from jaxrec.supervised.calibration import auc
from jaxrec.types import PADDING, Observation

CHANCE = "random"  # a random pick, in expectation


class Ordered(NamedTuple):
    """How a recommender orders what people answered, user by user."""

    auc: np.ndarray  # [users] P(a liked item is ranked above one that was not liked), ties counted half
    rows: int  # answers of these users
    picked: np.ndarray  # [people] mean reward of the K highest items, of people with enough answers
    promised: np.ndarray | None  # [people] what the training simulator expects of them
    chance: np.ndarray  # [people] mean reward of all their answers
    promised_chance: np.ndarray | None  # [people] what the training simulator expects of all


class Asked(NamedTuple):
    """What recommenders are asked about the answers of people."""

    split: Split  # as of `halves`
    history_length: int  # latest rows that recommenders see
    recommendable: np.ndarray  # [I] bool
    reward: np.ndarray  # [test rows] reward of each answer
    picks: int  # K
    expected: Score | None = None  # reward of every item that the training simulator expects


MORE = 2  # people are asked for K items if they answered at least MORE times as many


def halves(log: Log) -> Split:
    """The first half of every user's rows as history, the others as test rows.

    Rows of the same time as the middle row are test rows, because answers that were given together must not tell of
    each other.
    """
    middle = log.offsets[:-1] + np.diff(log.offsets) // 2
    early = log.time < log.time[middle[log.user]]
    return Split(train=log.take(early), validation=log.take(np.zeros(len(log), bool)), test=log.take(~early))


class _Answers:
    """What is counted of one recommender."""

    def __init__(self) -> None:
        self.auc: list[tuple[int, float]] = []  # user, value
        self.picked: list[tuple[int, list[float]]] = []  # user, means of the picks and of all: real, promised
        self.rows = 0

    def ordered(self, promised: bool) -> Ordered:
        shares = np.array([means for _, means in sorted(self.picked)]).reshape(-1, 4).T
        aucs = np.array([value for _, value in sorted(self.auc)])
        return Ordered(
            auc=aucs,
            rows=self.rows,
            picked=shares[0],
            promised=shares[1] if promised else None,
            chance=shares[2],
            promised_chance=shares[3] if promised else None,
        )


def order_answers(scores: Mapping[str, Score], asked: Asked) -> dict[str, Ordered]:
    """Compare each recommender's scores of the test rows with the answers, user by user.

    `score(obs) -> [B, I]` sees the latest rows of each history. Rows count whose items may be recommended and are not
    in the history. Picks are the K items with the highest scores among those that a person answered later, as if the
    slate had to be chosen from them.
    """
    split, liked = asked.split, asked.split.test.positive
    found = {name: _Answers() for name in scores}
    for batch in batches(split, asked.history_length):
        items = np.maximum(batch.targets, 0)

        def of_targets(score: Score, obs: Observation = batch.obs, items: np.ndarray = items) -> np.ndarray:
            return np.take_along_axis(np.asarray(score(obs)), items, axis=-1)

        counts = (batch.targets != PADDING) & asked.recommendable[items]
        counts &= ~np.take_along_axis(batch.masked, items, axis=-1)
        expected = np.zeros(items.shape) if asked.expected is None else of_targets(asked.expected)
        for name, score in scores.items():
            own = of_targets(score)
            for user, who in enumerate(batch.who[: batch.users]):
                there, rows = counts[user], batch.rows[user]
                rows = rows[there]
                outcome = own[user][there], liked[rows], asked.reward[rows], expected[user][there]
                _count(found[name], who, *outcome, asked.picks)
    return {name: one.ordered(asked.expected is not None) for name, one in found.items()}


def _count(
    found: _Answers,
    user: int,
    scores: np.ndarray,
    liked: np.ndarray,
    reward: np.ndarray,
    expected: np.ndarray,
    picks: int,
) -> None:
    """Add one person's answers, each [n]."""
    value = auc(liked, scores)
    if value is not None:
        found.auc.append((user, value))
        found.rows += len(scores)
    if len(scores) >= MORE * picks:
        best = np.argsort(-scores, kind="stable")[:picks]
        means = [float(x.mean()) for x in (reward[best], expected[best], reward, expected)]
        found.picked.append((user, means))


def answers_section(ordered: Mapping[str, Ordered], policy: str, picks: int) -> dict[str, Any]:
    """The entry `answers` of evaluation.json; empty with fewer than two users.

    Means by recommender, and the policy's lead over each other one, paired by user, with half its 95% interval.
    """
    own = ordered[policy]
    if len(own.auc) < 2:
        return {}
    section: dict[str, Any] = {
        "users": len(own.auc),
        "rows": own.rows,
        "auc": {name: float(one.auc.mean()) for name, one in ordered.items()},
        "policy_minus": {
            name: mean_and_half_width(own.auc - one.auc) for name, one in ordered.items() if name != policy
        },
    }
    if len(own.picked) > 1:
        section["picks"] = _picks_section(ordered, policy, picks)
    return {"answers": section}


def _picks_section(ordered: Mapping[str, Ordered], policy: str, picks: int) -> dict[str, Any]:
    """Mean rewards of what recommenders picked, and the part of the policy's promised lift that was real.

    The lift is over a random pick of the same answers. Its real part is a ratio of means; the interval is that of the
    mean of (real lift - ratio x promised lift), divided by the promised lift (delta method).
    """
    own = ordered[policy]
    section: dict[str, Any] = {
        "users": len(own.picked),
        "items": picks,
        "reward": {name: float(one.picked.mean()) for name, one in ordered.items()}
        | {CHANCE: float(own.chance.mean())},
        "policy_minus": {
            name: mean_and_half_width(own.picked - one.picked) for name, one in ordered.items() if name != policy
        }
        | {CHANCE: mean_and_half_width(own.picked - own.chance)},
    }
    if own.promised is None or own.promised_chance is None:
        return section
    hoped = {name: float(one.promised.mean()) for name, one in ordered.items() if one.promised is not None}
    section["promised"] = hoped | {CHANCE: float(own.promised_chance.mean())}
    real, promised = own.picked - own.chance, own.promised - own.promised_chance
    if promised.mean() > 0:
        ratio = float(real.mean() / promised.mean())
        half_width = mean_and_half_width(real - ratio * promised)[1] / float(promised.mean())
        section |= {"lift_real": ratio, "lift_real_95": half_width}
    return section
