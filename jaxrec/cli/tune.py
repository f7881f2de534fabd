"""`jaxrec tune`: the encoder of a recipe, fitted to what users liked one after the other."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxrec
from jaxrec.checks import InputError, check_name
from jaxrec.cli import experiment, runtime
from jaxrec.cli.tune_judge import Judge
from jaxrec.config.load import load_config, to_dict, to_yaml
from jaxrec.config.schema import Config
from jaxrec.data import Log
from jaxrec.data.item_text import texts_without
from jaxrec.data.pseudonyms import check_key_outside
from jaxrec.encoder import Encoder, open_encoder, save_encoder
from jaxrec.encoder.adapt import save_adapters
from jaxrec.encoder.embed import weights_digest
from jaxrec.sharding.mesh import DATA, make_mesh
from jaxrec.storage.files import write_json
from jaxrec.storage.run import TuneFolder
from jaxrec.supervised.pairs import PairData, co_liked, make_pair_data
from jaxrec.supervised.tune import make_tuning
from jaxrec.supervised.tune_loop import Tuned
from jaxrec.supervised.tune_loop import tune as run_loop
from jaxrec.types import Params

SECTIONS = ("seed", "data", "encoder", "tune")  # of a recipe, that tuning depends on


def tune(config_path: str, overrides: list[str], run_path: str | None, resume: bool) -> int:
    """Tune to the end of the recipe; a stopped command goes on from its latest evaluation with --resume."""
    config = load_config(Config, config_path, overrides)
    data = experiment.log_config(config)
    run_path = run_path or f"runs/{Path(config_path).stem}"
    check_key_outside(data, Path(run_path))
    if config.encoder.weights != "float32":
        raise InputError(f"encoder.weights: {config.encoder.weights} cannot be tuned; set it to float32 here.")
    mesh = make_mesh(config.train.devices)
    if 2 * config.tune.batch_size % mesh.shape[DATA]:
        raise InputError(f"tune.batch_size: {mesh.shape[DATA]} devices do not divide 2 x {config.tune.batch_size}.")
    run = open_run(config, run_path, resume)
    started = time.perf_counter()
    runtime.prepare()
    print(f"run {run.path} on {runtime.describe_devices()}")
    corpus = experiment.read_corpus(config)
    enc = open_encoder(config.encoder)
    pairs = make_pairs(config, corpus, enc)
    judge = Judge(config, corpus, enc)
    before = judge.test(enc.params)
    tuning = make_tuning(enc, config.tune, config.encoder.dtype, mesh if mesh.size > 1 else None)
    sizes = {"trained": _size(jax.eval_shape(tuning.init, jax.random.key(0)).trained), "all": _size(enc.params)}
    print(f"  {len(pairs.pairs):,} pairs; {sizes['trained']:,} of {sizes['all']:,} parameters are tuned")
    key = experiment.stream(config, "tune")
    tuned = run_loop(tuning, pairs, run, config.tune, key, judge.validation, config.train.devices)
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


def open_run(config: Config, path: str, resume: bool) -> TuneFolder:
    """Create the folder, or check that the one to resume was made by the same recipe."""
    if not resume:
        return TuneFolder.create(path, to_yaml(config))
    run = TuneFolder.open(path)
    before = load_config(Config, run.config)
    for name in SECTIONS:
        if to_dict(getattr(before, name)) != to_dict(getattr(config, name)):
            raise InputError(
                f"{run.config}: `{name}` was another; resume with `jaxrec tune {run.config} --run {run.path} --resume`,"
                " or begin another run with --run."
            )
    return run


def make_pairs(config: Config, corpus: experiment.Corpus, enc: Encoder) -> PairData:
    """Pairs of the training rows, and the catalogue's texts as token ids, whole and without each of their fields."""
    log: Log = corpus.split.train if config.tune.users == "all" else corpus.train
    kinds = log.feedback_names
    if config.tune.feedback:
        check_name("tune.feedback", config.tune.feedback, kinds)
    pairs = co_liked(log, kinds.index(config.tune.feedback) if config.tune.feedback else 0)
    catalogue, template = corpus.dataset.catalogue, experiment.log_config(config).text
    texts = [list(catalogue.texts)]
    if config.tune.field_dropout:
        if len(catalogue.fields) < 2:
            raise InputError(f"tune.field_dropout: {template!r} has one field, which cannot be left out; set it to 0.")
        texts += [texts_without(catalogue, template, field) for field in catalogue.fields]
    if config.tune.max_length:
        enc = open_encoder(dataclasses.replace(config.encoder, max_length=config.tune.max_length))
    return make_pair_data(pairs, [enc.tokenize([enc.prompt + text for text in some]) for some in texts])


def describe(
    tuned: Tuned,
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


def _size(params: Params) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))
