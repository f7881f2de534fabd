"""Retrieval metrics of an encoder while it is tuned; the catalogue is tokenised only once."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np

from jaxrec.config.schema import Config
from jaxrec.encoder import Encoder
from jaxrec.encoder.embed import unit_vectors, weights_digest
from jaxrec.evaluation.retrieval import retrieval_metrics, validation_of
from jaxrec.ops.vectors import unit_rows
from jaxrec.runs.item_table import embed
from jaxrec.runs.read_log import Corpus
from jaxrec.types import Array, Params


class Judge:
    """Scores weights of one encoder, and keeps the vectors [I, E] of the untuned and of the best weights."""

    def __init__(self, config: Config, corpus: Corpus, enc: Encoder):
        """Encode the catalogue with the untuned `enc`; cached vectors are reused."""
        texts = corpus.dataset.catalogue.texts
        self._config, self._split, self._enc = config, corpus.split, enc
        self._validation = validation_of(corpus.split, config.tune.evaluate_users, config.seed)
        self._first = weights_digest(enc.params), unit_rows(embed(config, texts, enc))
        self._best, self._score = self._first, -math.inf
        self._ids = enc.tokenize([enc.prompt + text for text in texts])

    def validation(self, weights: Params) -> tuple[float, Array | None]:
        """NDCG@10 on validation rows of some users, and the catalogue's unit vectors if the loss reads them."""
        digest, vectors = self._encoded(weights)
        score = retrieval_metrics(vectors, self._validation, (10,))["ndcg@10"]
        if score > self._score:
            self._best, self._score = (digest, vectors), score
        return score, jnp.asarray(vectors) if self._config.tune.objective == "full_softmax" else None

    def test(self, weights: Params) -> dict[str, float]:
        """Ranking metrics on the test rows of all users."""
        return retrieval_metrics(self._encoded(weights)[1], self._split, self._config.evaluate.cutoffs)

    def _encoded(self, weights: Params) -> tuple[str, np.ndarray]:
        digest = weights_digest(weights)
        for known in (self._first, self._best):
            if known[0] == digest:
                return known
        enc = dataclasses.replace(self._enc, params=weights)
        return digest, unit_vectors(enc, self._ids, self._config.encoder.batch_tokens)
