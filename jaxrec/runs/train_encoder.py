"""Train an encoder in the host loop."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrec.config.encoder_fit import EncoderFitConfig
from jaxrec.ops.sizes import watched
from jaxrec.runs.host_loop import Schedule, Training, Wording, run_training
from jaxrec.runs.stopping import GRACE_SECONDS
from jaxrec.sharding.compile import compiled, repeated
from jaxrec.sharding.mesh import make_mesh, replicated
from jaxrec.storage.checkpoint import Checkpoints
from jaxrec.storage.checkpoint_arrays import abstract_like
from jaxrec.storage.run import RunFolder
from jaxrec.supervised.encoder_step import EncoderFit, EncoderState
from jaxrec.types import Array, Metrics, Params


class Evaluation(NamedTuple):
    """How weights are evaluated between calls."""

    name: str  # of the score in metrics.jsonl; higher is better
    # Weights of an encoder -> the score, and an array for the loss if it reads one.
    judge: Callable[[Params], tuple[float, Array | None]]


class Fitted(NamedTuple):
    """How a training ended."""

    weights: Params  # of the best step, those of the encoder
    trained: Params  # of the best step, as in `EncoderState`
    step: int  # the last one
    best: int
    score: float  # of the best step
    interrupted: int = 0  # the signal that ended it; a resumed run continues from `step`


class Job(NamedTuple):
    """What to train, on what data, and how to report it."""

    fit: EncoderFit
    data: Any
    evaluation: Evaluation
    word: str = "training"  # of the progress bar
    texts: int = 1  # per example of the batch, for the speed


def train_encoder(
    job: Job,
    run: RunFolder,
    config: EncoderFitConfig,
    key: Array,
    devices: int = 0,
    grace_seconds: float = GRACE_SECONDS,
) -> Fitted:
    """Train to `config.steps`, from the newest checkpoint of `run` if there is one, and return the best weights.

    A checkpoint is written at every evaluation. Step 0 is evaluated too, so an encoder that never improves is returned
    unchanged. On SIGINT or SIGTERM the current call ends, a checkpoint is written, and `interrupted` is set.
    """
    everywhere = replicated(make_mesh(devices))
    frozen, data = jax.device_put((job.fit.frozen, job.data), everywhere)
    abstract = jax.eval_shape(job.fit.init, key)
    abstract = abstract_like(abstract, jax.tree.map(lambda _: everywhere, abstract))

    def evaluate(state: EncoderState, _: int) -> tuple[EncoderState, float]:
        score, table = job.evaluation.judge(job.fit.weights(frozen, state.trained))
        # A copy, since the state is donated and the judge keeps its own.
        return state.replace(table=None if table is None else jax.device_put(jnp.array(table), everywhere)), score

    def restore(checkpoints: Checkpoints, step: int) -> EncoderState:
        table = checkpoints.arrays(step).get("table")
        wanted = None if table is None else jax.ShapeDtypeStruct(table.shape, table.dtype, sharding=everywhere)
        return checkpoints.restore(step, abstract.replace(table=wanted))

    training = Training(
        start=lambda: jax.device_put(job.fit.init(key), everywhere),
        restore=restore,
        update_many=compiled(_updates(job.fit, config.steps_per_call), donate=0, out_shardings=everywhere),
        arguments=(frozen, data),
        evaluate=evaluate,
        trained=_trained,
        size=job.texts * config.batch_size,
        wording=Wording(
            title=job.word,
            update="step",
            score=job.evaluation.name,
            rate="texts_per_s",
            note=_note,
            advice="Lower the learning rate in another run.",
        ),
    )
    state, outcome = run_training(training, run, _schedule(config, grace_seconds))
    if outcome.best_step != outcome.step:
        with Checkpoints(run.checkpoints, keep_latest=1) as checkpoints:
            state = restore(checkpoints, outcome.best_step)
    return Fitted(
        weights=job.fit.weights(frozen, state.trained),
        trained=state.trained,
        step=outcome.step,
        best=outcome.best_step,
        score=outcome.best_score,
        interrupted=outcome.interrupted,
    )


def _updates(fit: EncoderFit, steps: int) -> Callable[..., tuple[EncoderState, Metrics]]:
    """`steps` updates of a state: state, frozen weights, data -> state, metrics [steps]."""

    def update(state: EncoderState, frozen: Params, data: Any) -> tuple[EncoderState, Metrics]:
        after, metrics = fit.update(state.replace(table=None), frozen, data, state.table)
        return after.replace(table=state.table), metrics

    return repeated(watched(update, _trained), steps)


def _trained(state: EncoderState) -> Params:
    return state.trained


def _schedule(config: EncoderFitConfig, grace_seconds: float) -> Schedule:
    return Schedule(
        updates=config.steps,
        updates_per_call=config.steps_per_call,
        evaluate_every=config.evaluate_every,
        keep_latest=1,
        evaluate_start=True,
        patience=config.patience,
        grace_seconds=grace_seconds,
    )


def _note(row: dict[str, Any], speed: float, score: float) -> str:
    judged = "" if math.isnan(score) else f", validation {score:.4f}"
    return f"{speed:,.0f} texts/s, loss {row['loss']:.3f}{judged}"
