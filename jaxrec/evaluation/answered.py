"""Order what people really answered: does a recommender rank what a person liked above what they did not like?

The earlier rows of a user are the history, and the later ones are the question. People saw all these items, so nothing
is won by guessing what they were shown, as in the ranking of the next item. Nothing is simulated.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxrec.data.log import Log, Split
from jaxrec.evaluation.held_out import Score, batches
from jaxrec.evaluation.measures import mean_and_half_width
from jaxrec.supervised.calibration import auc
from jaxrec.types import PADDING


class Ordered(NamedTuple):
    """AUC within each user with answers of both kinds, by the number of the user."""

    auc: np.ndarray  # [users] P(a liked item is ranked above one that was not liked), ties counted half
    rows: int  # answers of these users


def halves(log: Log) -> Split:
    """The first half of every user's rows as history, the others as test rows.

    Rows of the same time as the middle row are test rows, because answers that were given together must not tell of
    each other.
    """
    middle = log.offsets[:-1] + np.diff(log.offsets) // 2
    early = log.time < log.time[middle[log.user]]
    return Split(train=log.take(early), validation=log.take(np.zeros(len(log), bool)), test=log.take(~early))


def order_answers(score: Score, split: Split, history_length: int, recommendable: np.ndarray) -> Ordered:
    """Compare scores of the test rows with whether they are positive, user by user.

    `score(obs) -> [B, I]` sees the latest `history_length` rows of each history. Rows count whose items may be
    recommended (`recommendable` [I] bool) and are not in the history.
    """
    liked, found, rows = split.test.positive, [], 0
    for batch in batches(split, history_length):
        items = np.maximum(batch.targets, 0)
        own = np.take_along_axis(np.asarray(score(batch.obs)), items, axis=-1)
        seen = np.take_along_axis(batch.masked, items, axis=-1)
        counts = (batch.targets != PADDING) & recommendable[items] & ~seen
        for user in range(batch.users):
            asked = counts[user]
            value = auc(liked[batch.rows[user]][asked], own[user][asked])
            if value is not None:
                found.append((batch.who[user], value))
                rows += int(asked.sum())
    return Ordered(np.array([value for _, value in sorted(found)]), rows)


def answers_section(ordered: Mapping[str, Ordered], policy: str) -> dict[str, Any]:
    """The entry `answers` of evaluation.json; empty with fewer than two users.

    Means by recommender, and the policy's lead over each other one, paired by user, with half its 95% interval.
    """
    own = ordered[policy]
    if len(own.auc) < 2:
        return {}
    return {
        "answers": {
            "users": len(own.auc),
            "rows": own.rows,
            "auc": {name: float(one.auc.mean()) for name, one in ordered.items()},
            "policy_minus": {
                name: mean_and_half_width(own.auc - one.auc) for name, one in ordered.items() if name != policy
            },
        }
    }
