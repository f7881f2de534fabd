"""Reviews of an item as part of its text."""

import collections

import numpy as np

from jaxrec.config.data import DataConfig
from jaxrec.data.log import Log
from jaxrec.data.split import make_split


def item_reviews(log: Log, config: DataConfig) -> list[str]:
    """Join the earliest `data.max_reviews` reviews of each item among the training rows; [I], empty if none.

    Validation and test rows are left out, so that no text reveals what a policy is evaluated on.
    """
    train = make_split(config, log).train
    assert train.review is not None
    texts: dict[int, list[str]] = collections.defaultdict(list)
    earliest_first = np.argsort(train.time, kind="stable")
    for item, review in zip(train.item[earliest_first].tolist(), train.review[earliest_first].tolist(), strict=True):
        if review and len(texts[item]) < config.max_reviews:
            texts[item].append(review)
    return [" ".join(texts[item]) for item in range(log.num_items)]
