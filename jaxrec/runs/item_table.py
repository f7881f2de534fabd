"""Text vectors of items, and the item table that policies read."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxrec.config.schema import Config
from jaxrec.data import Log
from jaxrec.encoder import Encoder, embed_texts, open_encoder
from jaxrec.supervised.simple import most_popular


def embed(config: Config, texts: Sequence[str], enc: Encoder | None = None) -> np.ndarray:
    """Encode texts with the recipe's encoder, or `enc` if it is open; cached vectors are reused. Returns [N, E]."""
    enc = enc or open_encoder(config.encoder)
    cache = str(Path(config.encoder.cache_dir).expanduser()) if config.encoder.cache_dir else ""
    return embed_texts(enc, texts, batch_tokens=config.encoder.batch_tokens, cache_dir=cache)


def item_table(vectors: np.ndarray, log: Log) -> np.ndarray:
    """Build the item table: text vectors at unit variance, then statistics of the training log.

    [I, E] -> [I, E + 1 + F]: the log of the number of interactions and, for each kind of feedback, the mean shrunk
    towards the average by ten pseudo-interactions. All are standardised.
    """
    counts = most_popular(log).astype(np.float64)
    totals = np.zeros((len(counts), log.feedback.shape[1]))
    np.add.at(totals, log.item, log.feedback)
    means = (totals + 10 * log.feedback.mean(0)) / (counts[:, None] + 10)
    statistics = np.concatenate([np.log1p(counts)[:, None], means], axis=1)
    statistics = (statistics - statistics.mean(0)) / (statistics.std(0) + 1e-8)
    return np.concatenate([vectors * vectors.shape[1] ** 0.5, statistics], axis=1).astype(np.float32)
