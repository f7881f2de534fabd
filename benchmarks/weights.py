"""What do fewer bits cost an encoder? Size, texts a second and retrieval by float32, bfloat16 and int8 weights.

    python benchmarks/weights.py CONFIG [section.key=value ...]

Encodes the catalogue of the recipe in each form and ranks the test rows as `jaxrec tune` does: a user is the mean of
the history's vectors. One JSON line a form; compiling is part of the first seconds, so a bucket's program is built
before the clock starts.
"""

import dataclasses
import json
import sys
import time
from typing import Any

import jax

from jaxrec.cli import experiment, runtime
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.encoder import embed_texts, open_encoder
from jaxrec.evaluate.retrieval import retrieval_metrics

FORMS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16 products": {"dtype": "bfloat16"},
    "int8 weights": {"weights": "int8"},
}


def main(path: str, overrides: list[str]) -> None:
    """Print a line a form."""
    config = load_config(Config, path, overrides)
    runtime.prepare()
    corpus = experiment.read_corpus(config)
    texts = corpus.dataset.catalogue.texts
    for name, changes in FORMS.items():
        enc = open_encoder(dataclasses.replace(config.encoder, **changes))
        embed_texts(enc, texts[:512], config.encoder.batch_tokens)
        started = time.perf_counter()
        vectors = embed_texts(enc, texts, config.encoder.batch_tokens)
        seconds = time.perf_counter() - started
        line = {
            "weights": name,
            "megabytes": round(sum(leaf.nbytes for leaf in jax.tree.leaves(enc.params)) / 1e6, 1),
            "texts_per_s": round(len(texts) / seconds, 1),
            "ndcg@10": round(retrieval_metrics(vectors, corpus.split, (10,))["ndcg@10"], 5),
            "model": config.encoder.model,
            "texts": len(texts),
            "device": runtime.describe_devices(),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
