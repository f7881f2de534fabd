"""Items whose training rows are left out, to measure how a generator ranks items that nobody has interacted with."""

import dataclasses

import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.schema import Config
from jaxrec.data import Log
from jaxrec.runs.read_log import Corpus


def cold_items(config: Config, corpus: Corpus) -> np.ndarray:
    """The share `generative.cold` of the items with training rows, drawn with the seed: [N] int32, increasing."""
    share = config.generative.cold
    if not share:
        return np.zeros(0, np.int32)
    items = np.unique(corpus.split.train.item)
    count = round(share * len(items))
    if not 0 < count < len(items):
        raise InputError(
            f"generative.cold: {share} of {len(items)} items leaves none cold or none known; set another share."
        )
    return np.sort(np.random.default_rng((config.seed, 1)).permutation(items)[:count]).astype(np.int32)


def without_rows(corpus: Corpus, items: np.ndarray) -> Corpus:
    """The corpus without training and validation rows of `items`; test rows stay."""

    def apart(log: Log) -> Log:
        return log.take(~np.isin(log.item, items))

    split = dataclasses.replace(
        corpus.split, train=apart(corpus.split.train), validation=apart(corpus.split.validation)
    )
    return dataclasses.replace(corpus, split=split, train=apart(corpus.train), judge=apart(corpus.judge))
