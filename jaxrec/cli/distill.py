"""`jaxrec distill`: a smaller encoder that gives the vectors of the recipe's encoder."""

import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxrec
from jaxrec.checks import InputError
from jaxrec.cli import experiment, runtime
from jaxrec.cli.distill_judge import AGREEMENT, Judge, Row
from jaxrec.cli.encoder_fit import begin, token_variants
from jaxrec.config.schema import Config
from jaxrec.encoder import Encoder, open_encoder, save_encoder
from jaxrec.encoder.encode_ids import unit_rows
from jaxrec.encoder.importance import prune
from jaxrec.progress import track
from jaxrec.storage.files import write_json
from jaxrec.storage.run import DistillFolder
from jaxrec.supervised.distill import DistillData, make_distillation
from jaxrec.supervised.encoder_loop import Evaluation, Fitted, Job, train_encoder
from jaxrec.supervised.item_texts import lay_out_texts


def distill(config_path: str, overrides: list[str], run_path: str | None, resume: bool) -> int:
    """Prune and distil to the end of the recipe; a stopped command goes on from its latest evaluation."""
    started = time.perf_counter()
    config, run, mesh, corpus = begin(DistillFolder, "distill", config_path, overrides, run_path, resume)
    texts = corpus.dataset.catalogue.texts
    teacher = open_encoder(config.encoder)
    student = open_student(config, run, teacher, texts)
    fit = make_distillation(student, teacher.width, config.distill, mesh)
    judge = Judge(config, corpus, student, unit_rows(experiment.embed(config, texts)))
    items = np.delete(np.arange(len(texts), dtype=np.int32), judge.held_out)
    data = DistillData(lay_out_texts(token_variants(config, "distill", corpus, student)), judge.targets, items)  # type: ignore[arg-type]
    before = judge.account(student.params)
    print(f"  {len(items):,} texts to learn from, {len(judge.held_out):,} to judge by")
    job = Job(fit, data, Evaluation(AGREEMENT, judge.validation), "distilling")
    fitted = train_encoder(job, run, config.distill, experiment.stream(config, "distill"), config.train.devices)
    result = dataclasses.replace(student, params=jax.tree.map(np.asarray, fitted.weights))
    save_encoder(result, run.encoder)
    rows = {"teacher": judge.teacher(teacher), "student before": before, "student": judge.account(result.params)}
    seconds = time.perf_counter() - started
    write_json(run.account, describe(rows, fitted, seconds))
    report(rows)
    print(
        f"done in {seconds:.0f} s: best step {fitted.best} of {fitted.step}\n"
        f"  encoder  {run.encoder}\n"
        f"  account  {run.account}\n"
        f"next: jaxrec train {config_path} encoder.model={run.encoder}"
    )
    return 0


def open_student(config: Config, run: DistillFolder, teacher: Encoder, texts: list[str]) -> Encoder:
    """The student of the recipe; one that is pruned is kept in the run, and read from there when resumed."""
    model = config.distill.student
    if not model:
        if not run.pruned.exists():
            save_encoder(prune_on(teacher, config, texts), run.pruned)
        model = str(run.pruned)
    return open_encoder(dataclasses.replace(config.encoder, model=model))


def prune_on(enc: Encoder, config: Config, texts: list[str]) -> Encoder:
    """The encoder without what some texts of the catalogue depend on least."""
    key_texts, key_gates = jax.random.split(experiment.stream(config, "prune"))
    count = min(config.distill.probe_texts, len(texts))
    chosen = np.asarray(jax.random.choice(key_texts, len(texts), (count,), replace=False))
    laid = lay_out_texts([enc.tokenize([enc.prompt + texts[n] for n in chosen])])
    ids, lengths = np.asarray(laid.ids[0]), np.asarray(laid.lengths[0])
    mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int32)
    sizes = {name: getattr(config.distill, name) for name in ("layers", "heads", "channels")}
    layers, kept = enc.config.num_hidden_layers, sizes["layers"] or enc.config.num_hidden_layers
    with track("pruning", sum(range(kept + 1, layers + 1))) as advance:
        try:
            return prune(enc, jnp.asarray(ids), jnp.asarray(mask), key_gates, advance=advance, **sizes)
        except InputError as error:
            raise InputError(f"distill.{error}") from None


def describe(rows: dict[str, Row], fitted: Fitted, seconds: float) -> dict[str, Any]:
    """The account of a distillation as plain data."""
    return {
        "format": "jaxrec.distillation.1",
        "jaxrec": jaxrec.__version__,
        "devices": runtime.describe_devices(),
        **{name.replace(" ", "_"): row._asdict() for name, row in rows.items()},
        "steps": {"last": fitted.step, "best": fitted.best, AGREEMENT: fitted.score},
        "seconds": round(seconds, 1),
    }


def report(rows: dict[str, Row]) -> None:
    """Print what each encoder is worth."""
    metrics = [name for name in rows["teacher"].test if name.startswith("ndcg")]
    print(f"{'':16}{'parameters':>12}  layers  heads  channels  {AGREEMENT}" + "".join(f"{m:>10}" for m in metrics))
    for name, row in rows.items():
        sizes = f"{row.parameters:12,}  {row.layers:6}  {row.heads:5}  {row.channels:8}  {row.agreement:9.4f}"
        print(f"{name:16}{sizes}" + "".join(f"{row.test[m]:10.4f}" for m in metrics))
