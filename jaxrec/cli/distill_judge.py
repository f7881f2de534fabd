"""What a student of `jaxrec distill` is worth beside its teacher."""

import dataclasses
from typing import NamedTuple

import numpy as np

from jaxrec.checks import InputError
from jaxrec.cli.encoder_fit import size_of
from jaxrec.cli.experiment import Corpus
from jaxrec.config.schema import Config
from jaxrec.encoder import Encoder
from jaxrec.encoder.embed import unit_vectors, weights_digest
from jaxrec.evaluate.retrieval import retrieval_metrics
from jaxrec.ops.distillation import agreement
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array, Params

AGREEMENT = "agreement"  # with the teacher, on texts that the student does not learn from
LEAST = 4  # texts: two to learn from and two to judge by


class Row(NamedTuple):
    """What an encoder is worth."""

    parameters: int
    layers: int
    heads: int
    channels: int
    agreement: float
    test: dict[str, float]  # retrieval by the mean of a history's vectors
    weights: str  # digest


class Judge:
    """Compares weights of one student with the teacher's vectors [I, D], on texts that are held out."""

    def __init__(self, config: Config, corpus: Corpus, student: Encoder, targets: np.ndarray):
        """Draw the held-out texts by the recipe's seed."""
        texts = corpus.dataset.catalogue.texts
        self.targets, self._config, self._split, self._student = targets, config, corpus.split, student
        if len(texts) < LEAST:
            raise InputError(f"data: {len(texts)} items are too few to learn from and to judge by; {LEAST} are enough.")
        count = max(2, min(config.distill.held_out, len(texts) // 10))
        self.held_out = np.sort(np.random.default_rng(config.seed).permutation(len(texts))[:count])
        self._ids = student.tokenize([student.prompt + text for text in texts])
        self._agreement = compiled(agreement)

    def validation(self, weights: Params) -> tuple[float, Array | None]:
        """Agreement with the teacher."""
        vectors = self._encode(weights, [self._ids[n] for n in self.held_out])
        return float(self._agreement(vectors, self.targets[self.held_out])), None

    def account(self, weights: Params) -> Row:
        """All about the student with these weights."""
        vectors = self._encode(weights, self._ids)
        near = float(self._agreement(vectors[self.held_out], self.targets[self.held_out]))
        return self._row(dataclasses.replace(self._student, params=weights), near, vectors)

    def teacher(self, enc: Encoder) -> Row:
        """The same of the teacher, which agrees with itself."""
        return self._row(enc, 1.0, self.targets)

    def _row(self, enc: Encoder, near: float, vectors: np.ndarray) -> Row:
        sizes = (enc.config.num_hidden_layers, enc.config.num_attention_heads, enc.config.intermediate_size)
        test = retrieval_metrics(vectors, self._split, self._config.evaluate.cutoffs)
        return Row(size_of(enc.params), *sizes, near, test, weights_digest(enc.params))

    def _encode(self, weights: Params, ids: list[list[int]]) -> np.ndarray:
        enc = dataclasses.replace(self._student, params=weights)
        return unit_vectors(enc, ids, self._config.encoder.batch_tokens)
