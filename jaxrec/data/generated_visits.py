"""Rows of generated users whose answers have a past: they tire of topics, leave when bored, and come back when content.

    P(like) = sigmoid(interest in the topic + quality - boredom sum_j keep^age(j) [topic_j = topic])
    P(leave after a slate) = sigmoid(leave - content satisfaction)
    P(comeback on a day) = comeback + return_content satisfaction

j runs over the items shown to the user before the slate, and age(j) is the number of items after j. Satisfaction is the
share of likes of the slate.
"""

import numpy as np

from jaxrec.config.data import GeneratedVisits

MINUTE_S, DAY_S = 60, 86_400
LONGEST = 10  # days until a comeback, as in the comeback model


def visits_of(
    visits: GeneratedVisits,
    topic: np.ndarray,
    interest: np.ndarray,
    quality: np.ndarray,
    order: np.ndarray,
    start: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Show the items `order` [L] to one user in slates: likes [L] bool and times [L] int64, in seconds.

    `topic` [I] and `quality` [I] are the items', `interest` [topics] is the user's. Items of a slate are shown at the
    same time. The log ends after L items, whether the user has left or not.
    """
    worn = np.zeros(len(interest))  # sum over shown items of each topic
    liked, times, now = np.zeros(len(order), bool), np.zeros(len(order), np.int64), start
    for first in range(0, len(order), visits.slate_size):
        places = slice(first, first + visits.slate_size)
        items = order[places]
        logits = interest[topic[items]] + quality[items] - visits.boredom * worn[topic[items]]
        liked[places] = rng.random(len(items)) < 1 / (1 + np.exp(-logits))
        times[places] = int(now)
        for one in topic[items]:
            worn *= visits.keep
            worn[one] += 1
        satisfaction = liked[places].mean()
        if rng.random() < 1 / (1 + np.exp(visits.content * satisfaction - visits.leave)):
            now += min(rng.geometric(comeback_chance(visits, satisfaction)), LONGEST) * DAY_S
        else:
            now += MINUTE_S
    return liked, times


def comeback_chance(visits: GeneratedVisits, satisfaction: float) -> float:
    """P of coming back on a day, after a last slate with this share of likes."""
    return float(np.clip(visits.comeback + visits.return_content * satisfaction, 0.001, 0.999))
