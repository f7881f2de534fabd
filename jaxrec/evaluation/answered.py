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
from jaxrec.types import PADDING

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
    picks: int = 5  # K
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


def order_answers(score: Score, asked: Asked) -> Ordered:
    """Compare scores of the test rows with the answers, user by user.

    `score(obs) -> [B, I]` sees the latest rows of each history. Rows count whose items may be recommended and are not
    in the history. Picks are the K items with the highest scores among those that a person answered later, as if the
    slate had to be chosen from them.
    """
    split, liked = asked.split, asked.split.test.positive
    found: list[tuple[int, float]] = []
    picked: list[tuple[int, list[float]]] = []
    rows = 0
    for batch in batches(split, asked.history_length):
        items = np.maximum(batch.targets, 0)
        own = np.take_along_axis(np.asarray(score(batch.obs)), items, axis=-1)
        expected = np.zeros_like(own)
        if asked.expected is not None:
            expected = np.take_along_axis(np.asarray(asked.expected(batch.obs)), items, axis=-1)
        seen = np.take_along_axis(batch.masked, items, axis=-1)
        counts = (batch.targets != PADDING) & asked.recommendable[items] & ~seen
        for user in range(batch.users):
            there = counts[user]
            value = auc(liked[batch.rows[user]][there], own[user][there])
            if value is not None:
                found.append((batch.who[user], value))
                rows += int(there.sum())
            if there.sum() >= MORE * asked.picks:
                best = np.flatnonzero(there)[np.argsort(-own[user][there], kind="stable")[: asked.picks]]
                reward, hoped = asked.reward[batch.rows[user]], expected[user]
                means = [float(x[part].mean()) for part in (best, there) for x in (reward, hoped)]
                picked.append((batch.who[user], means))
    shares = np.array([means for _, means in sorted(picked)]).reshape(-1, 4).T
    promised, promised_chance = (None, None) if asked.expected is None else (shares[1], shares[3])
    aucs = np.array([value for _, value in sorted(found)])
    return Ordered(aucs, rows, shares[0], promised, shares[2], promised_chance)


def answers_section(ordered: Mapping[str, Ordered], policy: str, picks: int = 5) -> dict[str, Any]:
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
