"""The catalogue's token ids on the device, and drawing shortened texts from them."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrec.types import Array


class ItemTexts(struct.PyTreeNode):
    """Token ids of all items; `V` texts per item, the first one complete."""

    ids: Array  # [V, I, T] int32, 0 after a text's end
    lengths: Array  # [V, I] int32


def lay_out_texts(variants: Sequence[Sequence[Sequence[int]]]) -> ItemTexts:
    """Pad the token ids of each variant of every item's text to the longest; numpy arrays."""
    lengths = np.array([[len(ids) for ids in texts] for texts in variants], np.int32)
    padded = np.zeros((*lengths.shape, max(1, lengths.max())), np.int32)
    for variant, texts in enumerate(variants):
        for item, ids in enumerate(texts):
            padded[variant, item, : len(ids)] = ids
    return ItemTexts(ids=padded, lengths=lengths)  # type: ignore[arg-type]


def draw_texts(
    key: Array, texts: ItemTexts, items: Array, field_dropout: float, word_dropout: float
) -> tuple[Array, Array]:
    """Token ids and mask [n, T] of items [n], with a field left out or tokens hidden at random.

    A text's first and last token stay: what is pooled may be one of them, and no text is empty.
    """
    key_which, key_field, key_words = jax.random.split(key, 3)
    variant = jnp.zeros(items.shape, jnp.int32)
    if field_dropout and len(texts.ids) > 1:
        shorter = jax.random.bernoulli(key_which, field_dropout, items.shape)
        variant = jnp.where(shorter, jax.random.randint(key_field, items.shape, 1, len(texts.ids)), 0)
    ids, length = texts.ids[variant, items], texts.lengths[variant, items][:, None]
    place = jnp.arange(ids.shape[1])[None]
    mask = place < length
    if word_dropout:
        hidden = jax.random.bernoulli(key_words, word_dropout, ids.shape)
        mask &= ~hidden | (place == 0) | (place == length - 1)
    return ids, mask.astype(jnp.int32)
