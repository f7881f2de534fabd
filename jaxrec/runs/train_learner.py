"""Train a learner with simulated users, in the host loop."""

import math
from collections.abc import Callable
from typing import Any

import jax

from jaxrec.config.schema import TrainConfig
from jaxrec.learn.program import Program, compile_learner, trained
from jaxrec.learn.rollout import NAN_AT_FIRST
from jaxrec.processes import from_first, local
from jaxrec.runs.divergence import Limits, value_limits
from jaxrec.runs.host_loop import (
    NOTHING_FURTHER,
    WATCHING,
    Further,
    Outcome,
    Schedule,
    Training,
    Watching,
    Wording,
    run_training,
)
from jaxrec.storage.checkpoint import Checkpoints
from jaxrec.storage.run import RunFolder
from jaxrec.types import Array, Learner, Params, World

USUAL_LIMITS = value_limits(gamma=0.99, reward_scale=1.0)
SCORE = "evaluation_return"  # in rows whose parameters were evaluated


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
    policy_is_whole: Callable[[], bool] = lambda: True,
    initial: Params | None = None,
    judge_start: bool = False,
    further: Further = NOTHING_FURTHER,
    limits: Limits = USUAL_LIMITS,
    build: Callable[[Learner, World, TrainConfig, int], Program] = compile_learner,
    watching: Watching = WATCHING,
) -> Outcome:
    """Train to `config.updates`, from the newest checkpoint of `run` if there is one, else from `initial`.

    With `judge_start`, the first parameters compete with those of checkpoints.
    `evaluate(params, step)` gives the return that ranks checkpoints, and `further` measures parameters in other ways.
    `save_policy(params, step)` is called for every new best, and when a run goes on unless `policy_is_whole()`. On
    SIGINT or SIGTERM the current call ends, a checkpoint is written, and `interrupted` is set. Metrics beyond `limits`
    end the training with an InputError. `build` gives the program of the learner, which several trainings may share.
    """
    program = build(learner, world, config, num_shards)
    evaluate, measure, write = _by_the_first(evaluate, further, save_policy)
    training = Training(
        start=lambda: program.init(key, program.world, local(initial)),
        restore=lambda checkpoints, step: restore(checkpoints, step, program, config),
        saved=lambda state: _saved(state, config),
        update_many=program.update_many,
        arguments=(program.world,),
        evaluate=lambda state, step: (state, evaluate(state.params, step)),
        further=measure.of(lambda state: state.params),
        new_best=lambda state, step: write(state.params, step),
        best_is_kept=lambda: from_first(policy_is_whole),
        size=steps_per_update,
        may_be_nan=NAN_AT_FIRST,
        trained=trained,
        limits=limits,
        watching=watching,
        wording=Wording(
            title="training",
            update="update",
            score=SCORE,
            rate="user_steps_per_s",
            note=_note,
            advice="Lower learner.learning_rate or learner.reward_scale in another run.",
        ),
    )
    return run_training(training, run, _schedule(config, judge_start))[1]


def _schedule(config: TrainConfig, judge_start: bool) -> Schedule:
    return Schedule(
        updates=config.updates,
        updates_per_call=config.updates_per_call,
        evaluate_every=config.checkpoint_every,
        keep_latest=config.keep_latest,
        evaluate_start=judge_start,
        tensorboard=config.tensorboard,
        grace_seconds=config.grace_seconds,
    )


def _by_the_first(
    evaluate: Callable[[Params, int], float], further: Further, save_policy: Callable[[Params, int], None]
) -> tuple[Callable[[Params, int], float], Further, Callable[[Params, int], None]]:
    """The same functions, run by the first of several processes; the others get the figures."""

    def measure(params: Params, step: int) -> tuple[dict[str, float], bool]:
        figures, allowed = from_first(lambda: further.measure(local(params), step))
        return figures, allowed

    return (
        lambda params, step: from_first(lambda: evaluate(local(params), step)),
        Further(further.names, measure),
        lambda params, step: from_first(lambda: save_policy(local(params), step)),
    )


def _saved(state: Any, config: TrainConfig) -> Any:
    """The part of the state that a checkpoint holds: all of it, or all but the replay."""
    return state if config.save_replay or not hasattr(state, "replay") else state.replace(replay=None)


def restore(checkpoints: Checkpoints, step: int, program: Program, config: TrainConfig) -> Any:
    """Read the state of `step`; a replay that was not saved starts empty and is refilled before learning continues."""
    wanted = _saved(program.abstract, config)
    state = checkpoints.restore(step, wanted)
    if wanted is not program.abstract:
        state = state.replace(replay=program.init(jax.random.key(0), program.world).replay)
    return state


def _note(row: dict[str, Any], speed: float, score: float) -> str:
    judged = "" if math.isnan(score) else f", evaluated {score:.2f}"
    return f"{speed:,.0f} user steps/s, return {row.get('episode_return', math.nan):.2f}{judged}"
