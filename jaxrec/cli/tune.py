"""`jaxrec tune`: the encoder of a recipe, fitted to what users liked one after the other."""

import dataclasses
import hashlib
import time
from typing import Any

import jax
import numpy as np

import jaxrec
from jaxrec.checks import check_name
from jaxrec.cli import experiment, runtime
from jaxrec.cli.encoder_fit import begin, check_sources, size_of, token_variants
from jaxrec.cli.tune_judge import Judge
from jaxrec.config.schema import Config
from jaxrec.data import Log
from jaxrec.encoder import Encoder, open_encoder, save_encoder
from jaxrec.encoder.adapt import save_adapters
from jaxrec.encoder.embed import texts_digest, weights_digest
from jaxrec.runs.train_encoder import Evaluation, Fitted, Job, train_encoder
from jaxrec.storage.files import write_json
from jaxrec.storage.run import TuneFolder
from jaxrec.supervised.pairs import PairData, co_liked, make_pair_data
from jaxrec.supervised.tune import make_tuning


def tune(config_path: str, overrides: list[str], run_path: str | None, resume: bool) -> int:
    """Tune to the end of the recipe; a stopped command goes on from its latest evaluation with --resume."""
    started = time.perf_counter()
    config, run, mesh, corpus = begin(TuneFolder, "tune", config_path, overrides, run_path, resume, texts=2)
    enc = open_encoder(config.encoder)
    pairs = make_pairs(config, corpus, enc)
    digests = {"weights": weights_digest(enc.params), "texts": texts_digest(corpus.dataset.catalogue.texts)}
    check_sources(run, **digests, pairs=hashlib.sha256(np.asarray(pairs.pairs).tobytes()).hexdigest())
    judge = Judge(config, corpus, enc)
    before = judge.test(enc.params)
    tuning = make_tuning(enc, config.tune, mesh)
    sizes = {"trained": size_of(jax.eval_shape(tuning.init, jax.random.key(0)).trained), "all": size_of(enc.params)}
    print(f"  {len(pairs.pairs):,} pairs; {sizes['trained']:,} of {sizes['all']:,} parameters are tuned")
    key = experiment.stream(config, "tune")
    job = Job(tuning, pairs, Evaluation("validation_ndcg@10", judge.validation), "tuning", texts=2)
    tuned = train_encoder(job, run, config.tune, key, config.train.devices)
    if tuned.interrupted:
        print(f"stopped at step {tuned.step}; continue with: jaxrec tune {run.config} --run {run.path} --resume")
        return 130
    result = dataclasses.replace(enc, params=jax.tree.map(np.asarray, tuned.weights))
    save_encoder(result, run.encoder)
    if config.tune.mode == "lora":
        save_adapters(enc, tuned.trained, config.tune.rank, config.tune.alpha, run.adapters)
    after = judge.test(result.params)
    seconds = time.perf_counter() - started
    write_json(run.account, describe(tuned, sizes, len(pairs.pairs), (enc, result), (before, after), seconds))
    report(before, after)
    print(
        f"done in {seconds:.0f} s: best step {tuned.best} of {tuned.step}, validation NDCG@10 {tuned.score:.4f}\n"
        f"  encoder  {run.encoder}\n"
        f"  account  {run.account}\n"
        f"next: jaxrec train {config_path} encoder.model={run.encoder}"
    )
    return 0


def make_pairs(config: Config, corpus: experiment.Corpus, enc: Encoder) -> PairData:
    """Pairs of the training rows, and the catalogue's texts as token ids, whole and without each of their fields."""
    log: Log = corpus.split.train if config.tune.users == "all" else corpus.train
    kinds = log.feedback_names
    if config.tune.feedback:
        check_name("tune.feedback", config.tune.feedback, kinds)
    pairs = co_liked(log, kinds.index(config.tune.feedback) if config.tune.feedback else 0)
    return make_pair_data(pairs, token_variants(config, "tune", corpus, enc))


def describe(
    tuned: Fitted,
    sizes: dict[str, int],
    pairs: int,
    encoders: tuple[Encoder, Encoder],
    test: tuple[dict[str, float], dict[str, float]],
    seconds: float,
) -> dict[str, Any]:
    """The account of a tuning as plain data; encoders and metrics are those before and after."""
    old, new = (weights_digest(enc.params) for enc in encoders)
    return {
        "format": "jaxrec.tuning.1",
        "jaxrec": jaxrec.__version__,
        "devices": runtime.describe_devices(),
        "parameters": sizes,
        "pairs": pairs,
        "steps": {"last": tuned.step, "best": tuned.best, "validation_ndcg@10": tuned.score},
        "test": {"before": test[0], "after": test[1]},
        "weights": {"before": old, "after": new},
        "seconds": round(seconds, 1),
    }


def report(before: dict[str, float], after: dict[str, float]) -> None:
    """Print what the encoder alone retrieved, before and after."""
    print(f"encoder alone, mean of the history's vectors, test rows of {before['users']:,.0f} users:")
    for name, value in before.items():
        if name.startswith(("ndcg", "recall")):
            print(f"  {name:10} {value:.4f} -> {after[name]:.4f}")
