"""Train a smaller encoder to give the vectors of the recipe's encoder."""

import dataclasses
import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.load import Overrides, to_dict
from jaxrec.config.schema import Config, EncoderConfig
from jaxrec.encoder import Encoder, open_encoder, save_encoder
from jaxrec.encoder.embed import texts_digest, weights_digest
from jaxrec.encoder.importance import prune
from jaxrec.ops.vectors import unit_rows
from jaxrec.progress import note, quiet, track
from jaxrec.runs.devices import describe_devices
from jaxrec.runs.distill_judge import AGREEMENT, Judge, Row, draw_held_out
from jaxrec.runs.fit_encoder import begin, check_sources, token_variants
from jaxrec.runs.item_table import embed
from jaxrec.runs.recipe import Recipe
from jaxrec.runs.streams import stream
from jaxrec.runs.train_encoder import Evaluation, Fitted, Job, train_encoder
from jaxrec.storage.files import write_json
from jaxrec.storage.lock import one_command
from jaxrec.storage.stage_folders import DistillFolder
from jaxrec.supervised.distill import DistillData, make_distillation
from jaxrec.supervised.item_texts import lay_out_texts
from jaxrec.version import __version__


class Distilled(NamedTuple):
    """A smaller encoder and its scores next to those of its teacher."""

    run: DistillFolder
    rows: dict[str, Row]  # teacher, student before and, unless a signal stopped the training, student
    steps: Fitted
    words: list[str]  # overrides that make a recipe use the student
    seconds: float


def distill(
    recipe: Recipe,
    run: str | Path | None = None,
    overrides: Overrides = (),
    *,
    resume: bool = False,
    silent: bool = False,
) -> Distilled:
    """Prune and distil to the end of the recipe; with `resume` a stopped run continues from its newest checkpoint."""
    with quiet(silent), one_command():
        return _distill(recipe, run, overrides, resume)


def _distill(recipe: Recipe, folder: str | Path | None, overrides: Overrides, resume: bool) -> Distilled:
    started = time.perf_counter()
    config, run, mesh, corpus = begin(DistillFolder, "distill", recipe, overrides, folder, resume)
    texts = corpus.dataset.catalogue.texts
    teacher = open_encoder(config.encoder)
    held_out = draw_held_out(config, len(texts))
    items = np.delete(np.arange(len(texts), dtype=np.int32), held_out)
    student = open_student(config, run, teacher, [texts[n] for n in items])
    fit = make_distillation(student, teacher.width, config.distill, mesh)
    variants = token_variants(config, "distill", corpus, student)
    check_sources(run, weights=weights_digest(teacher.params), texts=texts_digest(texts))
    targets = unit_rows(embed(config, texts, teacher))
    judge = Judge(config, corpus, student, targets, held_out)
    rows = {"teacher": judge.teacher(teacher), "student before": judge.account(student.params)}
    del teacher  # frees memory for the student
    note(f"  {len(items):,} training texts, {len(held_out):,} held-out texts")
    data = DistillData(lay_out_texts(variants), targets, items)  # type: ignore[arg-type]
    job = Job(fit, data, Evaluation(AGREEMENT, judge.validation), "distilling")
    key, train = stream(config, "distill"), config.train
    fitted = train_encoder(job, run, config.distill, key, train.devices, train.grace_seconds)
    if fitted.interrupted:
        return Distilled(run, rows, fitted, [], time.perf_counter() - started)
    result = dataclasses.replace(student, params=jax.tree.map(np.asarray, fitted.weights))
    save_encoder(result, run.encoder)
    rows |= {"student": judge.account(result.params)}
    seconds = time.perf_counter() - started
    write_json(run.account, describe(rows, fitted, seconds))
    return Distilled(run, rows, fitted, words_for(config, run), seconds)


def open_student(config: Config, run: DistillFolder, teacher: Encoder, texts: Sequence[str]) -> Encoder:
    """Open the student of the recipe; one pruned with `texts` is saved in the run and read from there later."""
    if not config.distill.student:
        if not run.pruned.exists():
            save_encoder(prune_on(teacher, config, texts), run.pruned)
        return open_encoder(dataclasses.replace(config.encoder, model=str(run.pruned)))
    student = open_encoder(student_config(config))
    if weights_digest(student.params) == weights_digest(teacher.params):
        raise InputError(f"distill.student: {config.distill.student} is the teacher itself; name a smaller model.")
    return student


def student_config(config: Config) -> EncoderConfig:
    """Config of a student that is another model, with its own pooling, prompt and width."""
    names = ("max_length", "batch_tokens", "dtype", "cache_dir")
    kept = {name: getattr(config.encoder, name) for name in names}
    return EncoderConfig(model=config.distill.student, **kept)


def words_for(config: Config, run: DistillFolder) -> list[str]:
    """Command-line overrides that replace the recipe's encoder by the student."""
    words = [f"encoder.model={run.encoder}"]
    if not config.distill.student:
        return words
    own, recipe = to_dict(student_config(config)), to_dict(config.encoder)
    other = (name for name in own if name != "model" and own[name] != recipe[name])
    return words + [shlex.quote(f"encoder.{name}={json.dumps(own[name])}") for name in other]


def prune_on(enc: Encoder, config: Config, texts: Sequence[str]) -> Encoder:
    """Prune the parts of the encoder that matter least for a sample of `texts`."""
    sizes = {name: getattr(config.distill, name) for name in ("layers", "heads", "channels")}
    whole = (enc.config.num_hidden_layers, enc.config.num_attention_heads, enc.config.intermediate_size)
    if all(size in (0, most) for size, most in zip(sizes.values(), whole, strict=True)):
        raise InputError(
            f"distill: nothing is pruned from {whole[0]} layers of {whole[1]} heads and {whole[2]} channels; "
            "set distill.layers, heads or channels lower, or name a student."
        )
    key_texts, key_gates = jax.random.split(stream(config, "prune"))
    count = min(config.distill.probe_texts, len(texts))
    chosen = np.asarray(jax.random.choice(key_texts, len(texts), (count,), replace=False))
    laid = lay_out_texts([enc.tokenize([enc.prompt + texts[int(n)] for n in chosen])])
    ids, lengths = laid.ids[0], laid.lengths[0]
    mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int32)
    with track("pruning", sum(range((sizes["layers"] or whole[0]) + 1, whole[0] + 1))) as advance:
        try:
            return prune(enc, jnp.asarray(ids), jnp.asarray(mask), key_gates, advance=advance, **sizes)
        except InputError as error:
            raise InputError(f"distill.{error}") from None


def describe(rows: dict[str, Row], fitted: Fitted, seconds: float) -> dict[str, Any]:
    """The report of a distillation as plain data."""
    return {
        "format": "jaxrec.distillation.1",
        "jaxrec": __version__,
        "devices": describe_devices(),
        **{name.replace(" ", "_"): row._asdict() for name, row in rows.items()},
        "steps": {"last": fitted.step, "best": fitted.best, AGREEMENT: fitted.score},
        "seconds": round(seconds, 1),
    }
