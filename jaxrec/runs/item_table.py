"""Vectors of items, and the item table that policies read."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxrec.config.schema import Config
from jaxrec.data import Log
from jaxrec.encoder import Encoder, open_encoder
from jaxrec.encoder.embed import embed_counted
from jaxrec.encoder.tokenize import cut_line
from jaxrec.home import expanded
from jaxrec.progress import note
from jaxrec.supervised.simple import most_popular


class ItemVectors(NamedTuple):
    """What is known of items without a log."""

    text: np.ndarray  # [I, E] vectors of the texts
    features: tuple[np.ndarray, ...] = ()  # blocks [I, width] of their other features, with rows about as long

    @property
    def joined(self) -> np.ndarray:
        """Texts, then features, side by side."""
        return np.concatenate([self.text, *self.features], axis=1) if self.features else self.text


def embed(config: Config, texts: Sequence[str], enc: Encoder | None = None, what: str = "item text") -> np.ndarray:
    """Encode texts with the recipe's encoder, or `enc` if it is open; cached vectors are reused. Returns [N, E].

    Prints how many texts were cut, if `what` names them.
    """
    enc = enc or open_encoder(config.encoder)
    cache = str(expanded(config.encoder.cache_dir)) if config.encoder.cache_dir else ""
    vectors, cut = embed_counted(enc, texts, batch_tokens=config.encoder.batch_tokens, cache_dir=cache)
    if what:
        note(cut_line(cut, len(texts), enc.max_length, "encoder.max_length", what))
    return vectors


def item_table(vectors: ItemVectors, log: Log) -> np.ndarray:
    """Build the item table: text vectors at unit variance, the blocks of features, statistics of the training log.

    -> [I, E + widths + 1 + F]. The statistics are the log of the number of interactions and, for each kind of feedback,
    the mean shrunk towards the average by ten pseudo-interactions. All are standardised over the items with rows: those
    that nobody has touched have the average, and count as rarely seen as the rarest. Features are scaled like unit text
    vectors, so that a random projection of the table gives each block the same weight.
    """
    counts = most_popular(log).astype(np.float64)
    totals = np.zeros((len(counts), log.feedback.shape[1]))
    np.add.at(totals, log.item, log.feedback)
    means = (totals + 10 * log.feedback.mean(0)) / (counts[:, None] + 10)
    statistics = np.concatenate([np.log1p(log.item_rows)[:, None], means], axis=1)
    known = statistics[: log.num_touched]
    statistics = (statistics - known.mean(0)) / (known.std(0) + 1e-8)
    return np.concatenate([vectors.joined * vectors.text.shape[1] ** 0.5, statistics], axis=1).astype(np.float32)
