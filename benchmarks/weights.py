"""What does a smaller encoder lose? Size, texts per second and retrieval with fewer bits, layers, heads or channels.

    python benchmarks/weights.py CONFIG [section.key=value ...] [--models FOLDER ...] [--timed 2000] [--rounds 3]

This encodes the catalogue of the recipe with its encoder in float32, with bfloat16 products and with int8 weights, and
with each further model in float32. It ranks the test rows as `jaxrec tune` does: a user is the mean of the history's
vectors. `agreement` is the correlation of cosines between texts with those of the recipe's encoder. Then all encode the
same `--timed` texts in turn, `--rounds` times after one round without a clock. It prints one JSON line per form.
"""

import argparse
import dataclasses
import json
import random
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.cli.runtime import prepare
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.encoder import embed_texts, open_encoder
from jaxrec.evaluation.retrieval import retrieval_metrics
from jaxrec.ops.distillation import agreement
from jaxrec.ops.vectors import unit_rows
from jaxrec.runs.devices import describe_devices
from jaxrec.runs.read_log import read_corpus

FORMS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16 products": {"dtype": "bfloat16"},
    "int8 weights": {"weights": "int8"},
}


def main() -> None:
    """Measure and print one JSON line per form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--models", nargs="*", default=[])
    parser.add_argument("--timed", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_intermixed_args()
    config = load_config(Config, options.config, options.overrides)
    prepare()
    corpus = read_corpus(config)
    texts, tokens = corpus.dataset.catalogue.texts, config.encoder.batch_tokens
    forms = FORMS | {model: {"model": model} for model in options.models}
    encoders = {name: open_encoder(dataclasses.replace(config.encoder, **changes)) for name, changes in forms.items()}
    timed = random.Random(0).sample(list(texts), min(options.timed, len(texts)))
    sample = slice(None, None, max(1, len(texts) // 1000))
    lines, first = {}, None
    for name, enc in encoders.items():
        vectors = unit_rows(embed_texts(enc, texts, tokens))
        first = vectors if first is None else first
        lines[name] = {
            "benchmark": "weights",
            "encoder": name,
            "layers": enc.config.num_hidden_layers,
            "heads": enc.config.num_attention_heads,
            "channels": enc.config.intermediate_size,
            "megabytes": round(sum(leaf.nbytes for leaf in jax.tree.leaves(enc.params)) / 1e6, 1),
            "agreement": round(float(agreement(jnp.asarray(vectors[sample]), jnp.asarray(first[sample]))), 4),
            "ndcg@10": round(retrieval_metrics(vectors, corpus.split, (10,))["ndcg@10"], 5),
        }
    rates = {name: [] for name in encoders}
    for number in range(options.rounds + 1):
        for name, enc in encoders.items():
            started = time.perf_counter()
            embed_texts(enc, timed, tokens)
            if number:
                rates[name].append(len(timed) / (time.perf_counter() - started))
    for name, line in lines.items():
        line |= {"texts_per_s": round(statistics.median(rates[name]), 1)}
        line |= {"lowest": round(min(rates[name]), 1), "highest": round(max(rates[name]), 1)}
        line |= {"of": config.encoder.model, "texts": len(texts), "timed": len(timed), "rounds": options.rounds}
        print(json.dumps(line | {"device": describe_devices()}), flush=True)


if __name__ == "__main__":
    main()
