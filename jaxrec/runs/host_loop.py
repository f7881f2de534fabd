"""The host loop of all training: many updates per compiled call; metrics, checkpoints and signals between calls."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxrec.checks import InputError
from jaxrec.ops.sizes import LARGEST, names
from jaxrec.processes import agreed_stop, is_first, together
from jaxrec.progress import Advance, note, track, warn
from jaxrec.runs.divergence import Limits, check_sane, supervised_limits
from jaxrec.runs.stopping import GRACE_SECONDS, stop_on_signals, stopped_by
from jaxrec.storage.checkpoint import Checkpoints
from jaxrec.storage.events import event_file
from jaxrec.storage.run import RunFolder
from jaxrec.types import Array

Rows = list[dict[str, Any]]  # of metrics.jsonl


class Schedule(NamedTuple):
    """How long to train, and how often to evaluate and save."""

    updates: int  # in all
    updates_per_call: int
    evaluate_every: int  # updates; a checkpoint follows every evaluation
    keep_latest: int  # checkpoints besides the best
    evaluate_start: bool = False  # evaluate at update 0 too
    patience: int = 0  # evaluations without a new best before training ends; 0: never
    tensorboard: bool = False
    grace_seconds: float = GRACE_SECONDS  # from SIGTERM to the end of the process


class Wording(NamedTuple):
    """The words with which a training is reported."""

    title: str  # of the progress bar
    update: str  # name of an update in messages
    score: str  # name of the evaluation in metrics.jsonl; higher is better
    rate: str  # name of the speed in timings.jsonl
    note: Callable[[dict[str, Any], float, float], str]  # latest row, speed, latest score or NaN -> note of the bar
    advice: str  # shown when training diverged


class Further(NamedTuple):
    """What an evaluation says besides the score."""

    names: tuple[str, ...] = ()  # of its figures
    # state, step -> figures for the row of metrics.jsonl, and whether the state may be the best
    measure: Callable[[Any, int], tuple[dict[str, float], bool]] = lambda state, step: ({}, True)

    def of(self, part: Callable[[Any], Any]) -> "Further":
        """The same of states whose `part` is measured."""
        return Further(self.names, lambda state, step: self.measure(part(state), step))


NOTHING_FURTHER = Further()


class Watching(NamedTuple):
    """Who shows progress and receives signals, for trainings that share both."""

    track: Callable[[str, int], contextlib.AbstractContextManager[Advance]] = track  # title, updates
    stop: Callable[[float], contextlib.AbstractContextManager[list[int]]] = stop_on_signals  # seconds of grace


WATCHING = Watching()  # a bar and signals of its own


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """A training as functions of its state."""

    start: Callable[[], Any]  # -> the state before the first update
    restore: Callable[[Checkpoints, int], Any]  # checkpoints, step -> the state
    saved: Callable[[Any], Any] = lambda state: state  # the part of it that a checkpoint holds
    update_many: Any  # compiled: state, *arguments -> state, metrics [updates_per_call]
    arguments: tuple[Any, ...]  # of every call, on the devices
    evaluate: Callable[[Any, int], tuple[Any, float]]  # state, step -> the state and its score
    further: Further = NOTHING_FURTHER
    new_best: Callable[[Any, int], None] = lambda state, step: None  # called with the state of every new best
    best_is_kept: Callable[[], bool] = lambda: True  # whether what `new_best` wrote is whole
    size: int  # of an update, in the unit of the speed
    may_be_nan: Sequence[str] = ()  # metrics that may be NaN; all others must be finite
    trained: Callable[[Any], Any] | None = None  # the part of the state that `watched` updates measure
    limits: Limits = supervised_limits  # of metrics
    wording: Wording
    watching: Watching = WATCHING

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of what evaluations add to rows of metrics.jsonl."""
        return self.wording.score, *self.further.names


class Outcome(NamedTuple):
    """How a training ended."""

    step: int
    best_step: int  # 0 if nothing was evaluated
    best_score: float  # -inf if nothing was evaluated
    interrupted: int  # the signal that ended it before the last update; 0 for none


def run_training(training: Training, run: RunFolder, schedule: Schedule) -> tuple[Any, Outcome]:
    """Train to the end of `schedule`, from the newest checkpoint of `run` if there is one.

    Returns the last state. On SIGINT or SIGTERM the current call ends, a checkpoint is written, `interrupted` is set.
    """
    words, watching = training.wording, training.watching
    opened = Checkpoints(run.checkpoints, schedule.keep_latest, run.append_save)
    with watching.stop(schedule.grace_seconds) as stop, opened as checkpoints:
        state, step = _begin(training, run, schedule, checkpoints)
        best, score, allowed = checkpoints.best_score, math.nan, True
        asked, finished = stop, _finished(step, checkpoints, schedule)
        parameters = [] if training.trained is None else names(training.trained(state))
        call = None if finished else _compile_call(training, state, run, step)
        bar = watching.track(words.title, schedule.updates)
        with bar as advance, event_file(run.path, step, schedule.tensorboard and is_first()) as write_events:
            advance(step)
            while call is not None and not finished and not (asked := agreed_stop(stop)):
                started = time.perf_counter()
                state, metrics = call(state, *training.arguments)
                sizes = metrics.pop(LARGEST, None)
                rows = metric_rows(metrics, step)
                seconds = time.perf_counter() - started
                check_sane(
                    rows,
                    None if sizes is None else np.asarray(sizes),
                    parameters,
                    limits=training.limits,
                    may_be_nan=training.may_be_nan,
                    update=words.update,
                    latest=checkpoints.latest,
                    advice=words.advice,
                )
                step += schedule.updates_per_call
                speed = training.size * schedule.updates_per_call / seconds
                due = step % schedule.evaluate_every == 0 or step == schedule.updates
                if due:
                    state, score = training.evaluate(state, step)
                    figures, allowed = training.further.measure(state, step)
                    rows[-1] |= {words.score: score, **figures}
                run.append_metrics(rows)
                write_events([*rows, {"step": step, words.rate: speed}])
                run.append_timing({"step": step, "seconds": round(seconds, 4), words.rate: round(speed)})
                if due:
                    # The best comes first: after a kill in between, this step is repeated and written again.
                    if allowed and score > best:
                        best = score
                        training.new_best(state, step)
                    _save(training, run, checkpoints, state, step, score if allowed else math.nan)
                advance(schedule.updates_per_call, words.note(rows[-1], speed, score))
                finished = _finished(step, checkpoints, schedule)
            if asked and step != (checkpoints.latest or 0):
                _save(training, run, checkpoints, state, step, math.nan)
        interrupted = stopped_by(asked) if asked and not finished else 0
    return state, Outcome(step, checkpoints.best or 0, best, interrupted)


def metric_rows(metrics: dict[str, Array], step: int) -> Rows:
    """Metrics [updates_per_call] after `step` as rows of plain numbers; waits for the device."""
    columns = {name: np.asarray(values) for name, values in sorted(metrics.items())}
    length = len(next(iter(columns.values())))
    return [{"step": step + n + 1, **{name: float(x[n]) for name, x in columns.items()}} for n in range(length)]


def _begin(training: Training, run: RunFolder, schedule: Schedule, checkpoints: Checkpoints) -> tuple[Any, int]:
    """The state to start from and its step; drops later metrics, which will be computed again."""
    checkpoints.agree()
    if checkpoints.latest is not None:

        def restore(step: int) -> Any:
            return training.restore(checkpoints, step)

        # Before anything is changed: it may be of another recipe.
        best = checkpoints.best
        step, state = checkpoints.newest_sane(restore)
        lost = checkpoints.judged and (best != checkpoints.best or not training.best_is_kept())
        best, best_state = checkpoints.best_sane(lambda one: state if one == step else restore(one)) if lost else (0, 0)
        checkpoints.begin_writing()
        # The last update of a shorter run was evaluated, which a longer run would not do at this step.
        ended_between = step % schedule.evaluate_every != 0 and step < schedule.updates
        cut_back(run, checkpoints, step, training.scores)
        if ended_between:
            run.cut_back(step, forget=training.scores)
        if lost:
            note(f"  what {run.path} keeps of its best {training.wording.update} is made again from checkpoint {best}")
            training.new_best(best_state, best)
        return state, step
    _check_never_saved(run)
    checkpoints.begin_writing()
    state = training.start()
    run.cut_back(-1)
    if schedule.evaluate_start:
        state, score = training.evaluate(state, 0)
        run.append_metrics([{"step": 0, training.wording.score: score, **training.further.measure(state, 0)[0]}])
        training.new_best(state, 0)
        _save(training, run, checkpoints, state, 0, score)
    return state, 0


def _save(training: Training, run: RunFolder, checkpoints: Checkpoints, state: Any, step: int, score: float) -> None:
    run.metrics_to_disk()  # a power cut may take the rows after a checkpoint, not those before it
    checkpoints.save(step, training.saved(state), score, run.rows_digest(training.scores))


def cut_back(run: RunFolder, checkpoints: Checkpoints, step: int, scores: Collection[str]) -> None:
    """Drop the rows after `step`, and warn if those before are not the ones that the checkpoint was saved with."""
    if run.cut_back(step) and checkpoints.rows(step) not in ("", run.rows_digest(scores)):
        warn(f"{run.metrics}: rows 1 to {step} are not those of checkpoint {step}; some were changed or damaged.")


def _check_never_saved(run: RunFolder) -> None:
    """Raise InputError if a run without a whole checkpoint once had one: it would start again in silence."""
    if run.was_saved():
        raise InputError(
            f"{run.checkpoints}: no whole checkpoint, but {run.timings.name} says that one was saved; restore the "
            f"folder, or delete {run.timings} and --resume to start again from the beginning."
        )
    if run.metrics.is_file():
        note(f"  {run.path} was stopped before its first checkpoint was whole; it starts again from the beginning")


def _finished(step: int, checkpoints: Checkpoints, schedule: Schedule) -> bool:
    """True if all updates are done, or `patience` evaluations gave no new best."""
    patience = schedule.patience * schedule.evaluate_every
    return step >= schedule.updates or 0 < patience <= step - (checkpoints.best or 0)


def _compile_call(training: Training, state: Any, run: RunFolder, step: int) -> Callable[..., Any]:
    """Compile ahead of time, so that the first update is as fast as the others and compile time is measured."""
    started = time.perf_counter()
    # Together, since collectives on CPU give up after seconds of waiting for a process that still compiles.
    call = together(lambda: training.update_many.lower(state, *training.arguments).compile())
    run.append_timing({"step": step, "compile_seconds": round(time.perf_counter() - started, 3)})
    return call
