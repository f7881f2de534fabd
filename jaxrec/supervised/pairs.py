"""What an encoder is tuned on: pairs of items that a user liked one after the other, and their token ids."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrec.checks import InputError
from jaxrec.data import Log
from jaxrec.types import Array


class PairData(struct.PyTreeNode):
    """All that a step draws from, on the device; `V` ways to say an item, the first one whole."""

    ids: Array  # [V, I, T] int32, 0 behind a text's end
    lengths: Array  # [V, I] int32
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
    lengths = np.array([[len(ids) for ids in texts] for texts in variants], np.int32)
    padded = np.zeros((*lengths.shape, max(1, lengths.max())), np.int32)
    for variant, texts in enumerate(variants):
        for item, ids in enumerate(texts):
            padded[variant, item, : len(ids)] = ids
    counts = np.stack([np.bincount(side, minlength=lengths.shape[1]) for side in pairs.T])
    with np.errstate(divide="ignore"):
        log_share = np.log(counts / len(pairs)).astype(np.float32)
    return PairData(ids=padded, lengths=lengths, pairs=pairs, log_share=log_share)  # type: ignore[arg-type]


def draw_texts(
    key: Array, data: PairData, items: Array, field_dropout: float, word_dropout: float
) -> tuple[Array, Array]:
    """Token ids and mask [n, T] of items [n], with a field left out or tokens hidden by chance.

    A text's first and last token stay: what is pooled may be one of them, and no text is empty.
    """
    key_which, key_field, key_words = jax.random.split(key, 3)
    variant = jnp.zeros(items.shape, jnp.int32)
    if field_dropout and len(data.ids) > 1:
        shorter = jax.random.bernoulli(key_which, field_dropout, items.shape)
        variant = jnp.where(shorter, jax.random.randint(key_field, items.shape, 1, len(data.ids)), 0)
    ids, length = data.ids[variant, items], data.lengths[variant, items][:, None]
    place = jnp.arange(ids.shape[1])[None]
    mask = place < length
    if word_dropout:
        hidden = jax.random.bernoulli(key_words, word_dropout, ids.shape)
        mask &= ~hidden | (place == 0) | (place == length - 1)
    return ids, mask.astype(jnp.int32)
