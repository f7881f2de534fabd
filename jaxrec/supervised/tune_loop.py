"""The host loop of tuning: many steps a compiled call; evaluations and checkpoints between calls."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.tune import TuneConfig
from jaxrec.progress import track
from jaxrec.sharding.compile import compiled
from jaxrec.sharding.mesh import make_mesh, replicated
from jaxrec.storage.checkpoint import Checkpoints, abstract_like
from jaxrec.storage.run import RunFolder
from jaxrec.supervised.pairs import PairData
from jaxrec.supervised.tune import TuneState, Tuning
from jaxrec.types import Array, Params

SCORE = "validation_ndcg@10"  # of the rows whose weights were judged
Evaluate = Callable[[Params], tuple[float, np.ndarray]]  # weights of an encoder -> score, unit vectors [I, E]


class Tuned(NamedTuple):
    """How tuning ended."""

    weights: Params  # of the best step, those of the encoder
    trained: Params  # of the best step, as in `TuneState`
    step: int  # the last one
    best: int
    score: float  # of the best step


def tune(
    tuning: Tuning, data: PairData, run: RunFolder, config: TuneConfig, key: Array, evaluate: Evaluate, devices: int = 0
) -> Tuned:
    """Tune to `config.steps`, from the newest checkpoint of `run` where there is one, and give the best weights.

    A checkpoint is written at every evaluation. Step 0 is judged like the others: an encoder that never got better is
    returned as it was. With `full_softmax` the table of the loss is that of the latest evaluation.
    """
    everywhere = replicated(make_mesh(devices))
    frozen, data = jax.device_put((tuning.frozen, data), everywhere)
    abstract = jax.eval_shape(tuning.init, key)
    abstract = abstract_like(abstract, jax.tree.map(lambda _: everywhere, abstract))
    call = compiled(_many(tuning, config), donate=0, out_shardings=everywhere)

    def judge(state: TuneState) -> tuple[float, Array | None]:
        score, vectors = evaluate(tuning.weights(frozen, state.trained))
        return score, jnp.asarray(vectors) if config.objective == "full_softmax" else None

    with Checkpoints(run.checkpoints, keep_latest=1) as checkpoints, track("tuning", config.steps) as advance:
        if checkpoints.latest is None:
            state, step = jax.device_put(tuning.init(key), everywhere), 0
            run.cut_back(-1)
            score, table = judge(state)
            run.append_metrics([{"step": 0, SCORE: score}])
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
                rows[-1][SCORE] = score
            run.append_metrics(rows)
            if due:
                checkpoints.save(step, state, score)
            rate = 2 * config.batch_size * config.steps_per_call / seconds
            advance(config.steps_per_call, f"{rate:,.0f} texts/s, loss {rows[-1]['loss']:.3f}, validation {score:.4f}")
        best = checkpoints.best or 0
        trained = state.trained if best == step else checkpoints.restore(best, abstract).trained
        return Tuned(tuning.weights(frozen, trained), trained, step, best, checkpoints.best_score)


def _out_of_patience(step: int, checkpoints: Checkpoints, config: TuneConfig) -> bool:
    """No new best for `patience` evaluations."""
    return 0 < config.patience * config.evaluate_every <= step - (checkpoints.best or 0)


def _many(tuning: Tuning, config: TuneConfig) -> Callable[..., Any]:
    def many(state: TuneState, frozen: Params, data: PairData, table: Array | None) -> Any:
        def one(state: TuneState, _: None) -> Any:
            return tuning.update(state, frozen, data, table)

        return jax.lax.scan(one, state, None, length=config.steps_per_call)

    return many


def _rows(metrics: dict[str, Array], step: int) -> list[dict[str, Any]]:
    """Metrics [steps_per_call] as rows; this is where the host waits for the device."""
    columns = {name: np.asarray(values) for name, values in sorted(metrics.items())}
    rows = [{"step": step + n + 1, **{k: float(x[n]) for k, x in columns.items()}} for n in range(len(columns["loss"]))]
    for row in rows:
        if not math.isfinite(row["loss"]):
            raise InputError(f"step {row['step']}: the loss is {row['loss']}; lower tune.learning_rate in another run.")
    return rows
