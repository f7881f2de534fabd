"""What is known of items: their text vectors, and the table that policies read."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxrec.config.schema import Config
from jaxrec.data import Log
from jaxrec.encoder import Encoder, embed_texts, open_encoder
from jaxrec.supervised.simple import most_popular


def embed(config: Config, texts: Sequence[str], enc: Encoder | None = None) -> np.ndarray:
    """Vectors [N, E] of texts by the recipe's encoder, open already or not, from the cache where they are known."""
    enc = enc or open_encoder(config.encoder)
    cache = str(Path(config.encoder.cache_dir).expanduser()) if config.encoder.cache_dir else ""
    return embed_texts(enc, texts, batch_tokens=config.encoder.batch_tokens, cache_dir=cache)


def item_table(vectors: np.ndarray, log: Log) -> np.ndarray:
    """What policies read of an item: its text vector at unit variance, then statistics of the training log.

    [I, E] -> [I, E + 1 + F]: log interactions and, for each kind of feedback, the mean shrunk towards the average by
    ten pseudo-interactions; all standardised.
    """
    counts = most_popular(log).astype(np.float64)
    totals = np.zeros((len(counts), log.feedback.shape[1]))
    np.add.at(totals, log.item, log.feedback)
    means = (totals + 10 * log.feedback.mean(0)) / (counts[:, None] + 10)
    statistics = np.concatenate([np.log1p(counts)[:, None], means], axis=1)
    statistics = (statistics - statistics.mean(0)) / (statistics.std(0) + 1e-8)
    return np.concatenate([vectors * vectors.shape[1] ** 0.5, statistics], axis=1).astype(np.float32)
