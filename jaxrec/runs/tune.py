"""Tune the encoder of a recipe on pairs of items that users liked one after the other."""

import dataclasses
import hashlib
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrec.checks import check_name
from jaxrec.config.load import Overrides
from jaxrec.config.schema import Config
from jaxrec.data import Log
from jaxrec.encoder import Encoder, open_encoder, save_encoder
from jaxrec.encoder.adapt import save_adapters
from jaxrec.encoder.embed import texts_digest, weights_digest
from jaxrec.progress import note, quiet
from jaxrec.runs.devices import describe_devices
from jaxrec.runs.fit_encoder import begin, check_sources, size_of, token_variants
from jaxrec.runs.read_log import Corpus
from jaxrec.runs.recipe import Recipe
from jaxrec.runs.streams import stream
from jaxrec.runs.train_encoder import Evaluation, Fitted, Job, train_encoder
from jaxrec.runs.tune_judge import Judge
from jaxrec.storage.files import write_json
from jaxrec.storage.lock import one_command
from jaxrec.storage.stage_folders import TuneFolder
from jaxrec.supervised.pairs import PairData, co_liked, make_pair_data
from jaxrec.supervised.tune import make_tuning
from jaxrec.version import __version__


class Tuned(NamedTuple):
    """A tuned encoder and its retrieval metrics, without a policy."""

    run: TuneFolder
    before: dict[str, float]  # ranking metrics of the test rows
    after: dict[str, float]  # empty if a signal stopped the training
    steps: Fitted
    seconds: float


def tune(
    recipe: Recipe,
    run: str | Path | None = None,
    overrides: Overrides = (),
    *,
    resume: bool = False,
    silent: bool = False,
) -> Tuned:
    """Tune to the end of the recipe; with `resume` a stopped run continues from its newest checkpoint."""
    with quiet(silent), one_command():
        return _tune(recipe, run, overrides, resume)


def _tune(recipe: Recipe, folder: str | Path | None, overrides: Overrides, resume: bool) -> Tuned:
    started = time.perf_counter()
    config, run, mesh, corpus = begin(TuneFolder, "tune", recipe, overrides, folder, resume, texts=2)
    enc = open_encoder(config.encoder)
    pairs = make_pairs(config, corpus, enc)
    digests = {"weights": weights_digest(enc.params), "texts": texts_digest(corpus.dataset.catalogue.texts)}
    check_sources(run, **digests, pairs=hashlib.sha256(np.asarray(pairs.pairs).tobytes()).hexdigest())
    judge = Judge(config, corpus, enc)
    before = judge.test(enc.params)
    tuning = make_tuning(enc, config.tune, mesh)
    sizes = {"trained": size_of(jax.eval_shape(tuning.init, jax.random.key(0)).trained), "all": size_of(enc.params)}
    note(f"  {len(pairs.pairs):,} pairs; {sizes['trained']:,} of {sizes['all']:,} parameters are tuned")
    key = stream(config, "tune")
    job = Job(tuning, pairs, Evaluation("validation_ndcg@10", judge.validation), "tuning", texts=2)
    tuned = train_encoder(job, run, config.tune, key, config.train.devices, config.train.grace_seconds)
    if tuned.interrupted:
        return Tuned(run, before, {}, tuned, time.perf_counter() - started)
    result = dataclasses.replace(enc, params=jax.tree.map(np.asarray, tuned.weights))
    save_encoder(result, run.encoder)
    if config.tune.mode == "lora":
        save_adapters(enc, tuned.trained, config.tune.rank, config.tune.alpha, run.adapters)
    after = judge.test(result.params)
    seconds = time.perf_counter() - started
    write_json(run.account, describe(tuned, sizes, len(pairs.pairs), (enc, result), (before, after), seconds))
    return Tuned(run, before, after, tuned, seconds)


def make_pairs(config: Config, corpus: Corpus, enc: Encoder) -> PairData:
    """Pairs of the training rows, and the catalogue's token ids, for whole texts and without each field."""
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
    """The report of a tuning as plain data; `encoders` and `test` hold the old and the new one."""
    old, new = (weights_digest(enc.params) for enc in encoders)
    return {
        "format": "jaxrec.tuning.1",
        "jaxrec": __version__,
        "devices": describe_devices(),
        "parameters": sizes,
        "pairs": pairs,
        "steps": {"last": tuned.step, "best": tuned.best, "validation_ndcg@10": tuned.score},
        "test": {"before": test[0], "after": test[1]},
        "weights": {"before": old, "after": new},
        "seconds": round(seconds, 1),
    }
