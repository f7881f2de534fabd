"""Scores of a student of `jaxrec distill` next to those of its teacher."""

import dataclasses
from typing import NamedTuple

import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.schema import Config
from jaxrec.encoder import Encoder
from jaxrec.encoder.embed import unit_vectors, weights_digest
from jaxrec.evaluation.retrieval import retrieval_metrics
from jaxrec.ops.distillation import agreement
from jaxrec.runs.fit_encoder import size_of
from jaxrec.runs.read_log import Corpus
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array, Params

AGREEMENT = "agreement"  # with the teacher, on held-out texts
LEAST = 20  # texts; with fewer, cosines between the held-out ones mean nothing


def draw_held_out(config: Config, texts: int) -> np.ndarray:
    """Sorted indices of the held-out texts, drawn with the recipe's seed."""
    if texts < LEAST:
        raise InputError(f"data: {texts} items are too few to train and test on; at least {LEAST} are needed.")
    count = max(4, min(config.distill.held_out, texts // 10))
    return np.sort(np.random.default_rng(config.seed).permutation(texts)[:count])


class Row(NamedTuple):
    """Size and scores of an encoder."""

    parameters: int
    layers: int
    heads: int
    channels: int
    agreement: float
    test: dict[str, float]  # retrieval by the mean vector of the history
    weights: str  # digest


class Judge:
    """Compares weights of one student with the teacher's vectors [I, D], on texts that are held out."""

    def __init__(self, config: Config, corpus: Corpus, student: Encoder, targets: np.ndarray, held_out: np.ndarray):
        """Keep the teacher's vectors `targets`, to compare with on the texts `held_out`."""
        self._config, self._split, self._student = config, corpus.split, student
        self._targets, self._held_out = targets, held_out
        self._ids = student.tokenize([student.prompt + text for text in corpus.dataset.catalogue.texts])
        self._agreement = compiled(agreement)

    def validation(self, weights: Params) -> tuple[float, Array | None]:
        """Agreement with the teacher."""
        vectors = self._encode(weights, [self._ids[n] for n in self._held_out])
        return float(self._agreement(vectors, self._targets[self._held_out])), None

    def account(self, weights: Params) -> Row:
        """Size and scores of the student with these weights."""
        vectors = self._encode(weights, self._ids)
        near = float(self._agreement(vectors[self._held_out], self._targets[self._held_out]))
        return self._row(dataclasses.replace(self._student, params=weights), near, vectors)

    def teacher(self, enc: Encoder) -> Row:
        """The same for the teacher, whose agreement is 1."""
        return self._row(enc, 1.0, self._targets)

    def _row(self, enc: Encoder, near: float, vectors: np.ndarray) -> Row:
        sizes = (enc.config.num_hidden_layers, enc.config.num_attention_heads, enc.config.intermediate_size)
        test = retrieval_metrics(vectors, self._split, self._config.evaluate.cutoffs)
        return Row(size_of(enc.params), *sizes, near, test, weights_digest(enc.params))

    def _encode(self, weights: Params, ids: list[list[int]]) -> np.ndarray:
        enc = dataclasses.replace(self._student, params=weights)
        return unit_vectors(enc, ids, self._config.encoder.batch_tokens)
