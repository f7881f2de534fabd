"""The host loop: many updates a compiled call; metrics, checkpoints and signals between calls."""

import contextlib
import dataclasses
import math
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.schema import TrainConfig
from jaxrec.progress import track
from jaxrec.sharding.compile import compiled
from jaxrec.sharding.mesh import make_mesh, replicated, state_shardings
from jaxrec.storage.checkpoint import Checkpoints, abstract_like
from jaxrec.storage.events import event_file
from jaxrec.storage.run import RunFolder
from jaxrec.types import Array, Learner, Params, World

SHARDED_FIELDS = ("users", "replay")  # of a learner's state: leaves [S, ...], but for counters []
SCORE = "evaluation_return"  # of the rows whose parameters were judged


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """A learner compiled for a mesh."""

    init: Callable[..., Any]  # the learner's, state born with its shardings
    update_many: Callable[[Any, World], tuple[Any, dict[str, Array]]]  # metrics [updates_per_call]
    abstract: Any  # the state's shapes, types and shardings
    world: World  # on every device


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How training ended."""

    step: int
    best_score: float
    interrupted: bool


def compile_learner(learner: Learner, world: World, config: TrainConfig, num_shards: int) -> Program:
    """Lay the state over the mesh and build the two programs; nothing runs yet."""
    mesh = make_mesh(config.devices)
    world = jax.device_put(world, replicated(mesh))
    abstract = jax.eval_shape(learner.init, jax.random.key(0), world)
    shardings = state_shardings(mesh, abstract, SHARDED_FIELDS, num_shards)

    def update_many(state: Any, world: World) -> tuple[Any, dict[str, Array]]:
        return jax.lax.scan(lambda s, _: learner.update(s, world), state, None, length=config.updates_per_call)

    return Program(
        init=compiled(learner.init, out_shardings=shardings),
        # Outputs are pinned: normalised shardings of the first result would otherwise compile a second program.
        update_many=compiled(update_many, donate=0, out_shardings=(shardings, replicated(mesh))),
        abstract=abstract_like(abstract, shardings),
        world=world,
    )


def train(
    learner: Learner,
    world: World,
    run: RunFolder,
    config: TrainConfig,
    *,
    key: Array,
    num_shards: int,
    steps_per_update: int,
    evaluate: Callable[[Params, int], float],
    save_policy: Callable[[Params, int], None],
    initial: Params | None = None,
) -> Outcome:
    """Train to `config.updates`, from the newest checkpoint of `run` where there is one, else from `initial`.

    `evaluate(params, step)` gives the return that ranks checkpoints; `save_policy(params, step)` is called with every
    new best. SIGINT and SIGTERM end the call under way, write a checkpoint and return with `interrupted`.
    """
    program = compile_learner(learner, world, config, num_shards)
    with Checkpoints(run.checkpoints, config.keep_latest) as checkpoints, _stop_on_signals() as stop:
        step, best = checkpoints.latest or 0, checkpoints.best_score
        state = _restore(checkpoints, step, program, config) if step else program.init(key, program.world, initial)
        _cut_back(run, step, config)
        update_many = _compile_call(program, state, run, step)
        bar = track("training", config.updates // config.updates_per_call)
        with bar as advance, event_file(run.path, step, config.tensorboard) as write_events:
            advance(step // config.updates_per_call)
            score = float("nan")
            while step < config.updates and not stop:
                started = time.perf_counter()
                state, metrics = update_many(state, program.world)
                rows = _rows(metrics, step)
                seconds = time.perf_counter() - started
                _check_finite(rows, checkpoints.latest)
                step += config.updates_per_call
                rate = steps_per_update * config.updates_per_call / seconds
                due = step % config.checkpoint_every == 0 or step == config.updates
                if due:
                    score = evaluate(state.params, step)
                    rows[-1][SCORE] = score
                run.append_metrics(rows)
                write_events([*rows, {"step": step, "user_steps_per_s": rate}])
                run.append_timing({"step": step, "seconds": round(seconds, 4), "user_steps_per_s": round(rate)})
                if due:
                    # The policy first: a kill in between repeats this step, and the policy is written again.
                    if score > best:
                        best = score
                        save_policy(state.params, step)
                    checkpoints.save(step, _saved(state, config), score)
                judged = "" if math.isnan(score) else f", evaluated {score:.2f}"
                advance(1, f"{rate:,.0f} user steps/s, return {_current_return(rows):.2f}{judged}")
            if stop and step and step != checkpoints.latest:
                checkpoints.save(step, _saved(state, config), float("nan"))
    return Outcome(step, best, interrupted=bool(stop) and step < config.updates)


def _cut_back(run: RunFolder, step: int, config: TrainConfig) -> None:
    """Drop metrics that going on from `step` repeats, and those that a run of this length would not have there."""
    ended_between = step % config.checkpoint_every != 0 and step < config.updates  # a shorter run's end is judged too
    run.cut_back(step, forget=SCORE if ended_between else "")


def _saved(state: Any, config: TrainConfig) -> Any:
    """What a checkpoint holds: the whole state, or all but its replay."""
    return state if config.save_replay or not hasattr(state, "replay") else state.replace(replay=None)


def _restore(checkpoints: Checkpoints, step: int, program: Program, config: TrainConfig) -> Any:
    """Read the state of `step`; a replay that was not saved begins anew, empty, and is refilled before learning."""
    wanted = _saved(program.abstract, config)
    state = checkpoints.restore(step, wanted)
    if wanted is not program.abstract:
        state = state.replace(replay=program.init(jax.random.key(0), program.world).replay)
    return state


def _compile_call(program: Program, state: Any, run: RunFolder, step: int) -> Callable[[Any, World], Any]:
    """Compile ahead of time, so that the first update is as fast as the others and the time is known."""
    started = time.perf_counter()
    call = program.update_many.lower(state, program.world).compile()  # type: ignore[attr-defined]
    run.append_timing({"step": step, "compile_seconds": round(time.perf_counter() - started, 3)})
    return call


def _rows(metrics: dict[str, Array], step: int) -> list[dict[str, Any]]:
    """Metrics [updates_per_call] as rows of plain numbers; this is where the host waits for the device."""
    columns = {name: np.asarray(values) for name, values in metrics.items()}
    length = len(next(iter(columns.values())))
    return [
        {"step": step + n + 1, **{name: float(values[n]) for name, values in sorted(columns.items())}}
        for n in range(length)
    ]


def _check_finite(rows: list[dict[str, Any]], latest: int | None) -> None:
    """A diverged learner is stopped before it is judged or saved: the ranking of NaN scores looks like a policy."""
    for row in rows:
        if not math.isfinite(row.get("loss", 0.0)):
            kept = "nothing was saved yet" if latest is None else f"checkpoint {latest} is the last good one"
            raise InputError(
                f"update {row['step']}: the loss is {row['loss']}, training diverged; {kept}. "
                "Lower learner.learning_rate or learner.reward_scale in another run."
            )


def _current_return(rows: list[dict[str, Any]]) -> float:
    return rows[-1].get("episode_return", float("nan"))


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[list[int]]:
    """Yield a list that the first SIGINT or SIGTERM fills; a second SIGINT interrupts at once."""
    received: list[int] = []

    def note(number: int, _: Any) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: the caller's business
        before = {}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
