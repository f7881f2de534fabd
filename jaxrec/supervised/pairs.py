"""What an encoder is tuned on: pairs of items that a user liked one after the other, and their token ids."""

from collections.abc import Sequence

import numpy as np
from flax import struct

from jaxrec.checks import InputError
from jaxrec.data import Log
from jaxrec.supervised.item_texts import ItemTexts, lay_out_texts
from jaxrec.types import Array


class PairData(struct.PyTreeNode):
    """Everything that a step draws from, on the device."""

    texts: ItemTexts
    pairs: Array  # [N, 2] int32 items
    log_share: Array  # [2, I] log of an item's share of the first and of the second places, -inf for none


def co_liked(log: Log, feedback: int) -> np.ndarray:
    """Neighbours among the rows of a user whose `feedback` is positive: [N, 2] int32, two different items each."""
    liked = log.feedback[:, feedback] > 0
    user, item = log.user[liked], log.item[liked]
    pairs = np.stack([item[:-1], item[1:]], axis=1)[user[:-1] == user[1:]]
    pairs = pairs[pairs[:, 0] != pairs[:, 1]].astype(np.int32)
    if not len(pairs):
        raise InputError(
            f"tune.feedback: no user has two different items with {log.feedback_names[feedback]} in the training "
            "rows, so there is nothing to learn from; choose another kind, or a longer log."
        )
    return pairs


def make_pair_data(pairs: np.ndarray, variants: Sequence[Sequence[Sequence[int]]]) -> PairData:
    """Lay out pairs [N, 2] and the token ids of each variant of every item's text."""
    counts = np.stack([np.bincount(side, minlength=len(variants[0])) for side in pairs.T])
    with np.errstate(divide="ignore"):
        log_share = np.log(counts / len(pairs)).astype(np.float32)
    return PairData(texts=lay_out_texts(variants), pairs=pairs, log_share=log_share)  # type: ignore[arg-type]
