"""The host loop of training an encoder: many steps a compiled call; evaluations and checkpoints between calls."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.encoder_fit import EncoderFitConfig
from jaxrec.progress import track
from jaxrec.sharding.compile import compiled
from jaxrec.sharding.mesh import make_mesh, replicated
from jaxrec.storage.checkpoint import Checkpoints, abstract_like
from jaxrec.storage.run import RunFolder
from jaxrec.supervised.encoder_step import EncoderFit, EncoderState
from jaxrec.types import Array, Params


class Evaluation(NamedTuple):
    """How weights are judged between calls."""

    name: str  # of the score in metrics.jsonl; more is better
    # Weights of an encoder -> the score, and what the loss reads of this evaluation, if anything.
    judge: Callable[[Params], tuple[float, Array | None]]


class Fitted(NamedTuple):
    """How a training ended."""

    weights: Params  # of the best step, those of the encoder
    trained: Params  # of the best step, as in `EncoderState`
    step: int  # the last one
    best: int
    score: float  # of the best step


class Job(NamedTuple):
    """What is trained, on what, and how it is told about."""

    fit: EncoderFit
    data: Any
    evaluation: Evaluation
    word: str = "training"  # of the progress bar
    texts: int = 1  # of an example of the batch, for the rate


def train_encoder(job: Job, run: RunFolder, config: EncoderFitConfig, key: Array, devices: int = 0) -> Fitted:
    """Train to `config.steps`, from the newest checkpoint of `run` where there is one, and give the best weights.

    A checkpoint is written at every evaluation. Step 0 is judged like the others: an encoder that never got better is
    returned as it was.
    """
    everywhere = replicated(make_mesh(devices))
    frozen, data = jax.device_put((job.fit.frozen, job.data), everywhere)
    abstract = jax.eval_shape(job.fit.init, key)
    abstract = abstract_like(abstract, jax.tree.map(lambda _: everywhere, abstract))
    call = compiled(_many(job.fit, config.steps_per_call), donate=0, out_shardings=everywhere)

    def judge(state: EncoderState) -> tuple[float, Array | None]:
        return job.evaluation.judge(job.fit.weights(frozen, state.trained))

    with Checkpoints(run.checkpoints, keep_latest=1) as checkpoints, track(job.word, config.steps) as advance:
        if checkpoints.latest is None:
            state, step = jax.device_put(job.fit.init(key), everywhere), 0
            run.cut_back(-1)
            score, table = judge(state)
            run.append_metrics([{"step": 0, job.evaluation.name: score}])
            checkpoints.save(0, state, score)
        else:
            step = checkpoints.latest
            state = checkpoints.restore(step, abstract)
            run.cut_back(step)
            score, table = judge(state)
        advance(step)
        while step < config.steps and not _out_of_patience(step, checkpoints, config):
            started = time.perf_counter()
            state, metrics = call(state, frozen, data, table)
            rows, seconds = _rows(metrics, step), time.perf_counter() - started
            step += config.steps_per_call
            run.append_timing({"step": step, "seconds": round(seconds, 4)})
            due = step % config.evaluate_every == 0 or step == config.steps
            if due:
                score, table = judge(state)
                rows[-1][job.evaluation.name] = score
            run.append_metrics(rows)
            if due:
                checkpoints.save(step, state, score)
            rate = job.texts * config.batch_size * config.steps_per_call / seconds
            advance(config.steps_per_call, f"{rate:,.0f} texts/s, loss {rows[-1]['loss']:.3f}, validation {score:.4f}")
        best = checkpoints.best or 0
        trained = state.trained if best == step else checkpoints.restore(best, abstract).trained
        return Fitted(job.fit.weights(frozen, trained), trained, step, best, checkpoints.best_score)


def _out_of_patience(step: int, checkpoints: Checkpoints, config: EncoderFitConfig) -> bool:
    """No new best for `patience` evaluations."""
    return 0 < config.patience * config.evaluate_every <= step - (checkpoints.best or 0)


def _many(fit: EncoderFit, steps: int) -> Callable[..., Any]:
    def many(state: EncoderState, frozen: Params, data: Any, table: Array | None) -> Any:
        def one(state: EncoderState, _: None) -> Any:
            return fit.update(state, frozen, data, table)

        return jax.lax.scan(one, state, None, length=steps)

    return many


def _rows(metrics: dict[str, Array], step: int) -> list[dict[str, Any]]:
    """Metrics [steps_per_call] as rows; this is where the host waits for the device."""
    columns = {name: np.asarray(values) for name, values in sorted(metrics.items())}
    rows = [{"step": step + n + 1, **{k: float(x[n]) for k, x in columns.items()}} for n in range(len(columns["loss"]))]
    for row in rows:
        if broken := [name for name, value in row.items() if not math.isfinite(value)]:
            told = ", ".join(f"{name} {row[name]}" for name in broken)
            raise InputError(f"step {row['step']}: {told}; lower the learning rate in another run.")
    return rows
