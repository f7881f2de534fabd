"""Where a training gets what several trainings may share: the users, compiled programs, the progress bar."""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxrec.config.schema import Config
from jaxrec.evaluation.simulate import make_simulation
from jaxrec.learn.program import Program, compile_learner
from jaxrec.runs.host_loop import WATCHING, Watching
from jaxrec.runs.users.kind import Prepared
from jaxrec.runs.users.registry import user_kind
from jaxrec.serve import SavedPolicy
from jaxrec.storage.run import RunFolder
from jaxrec.types import Env


def prepare(config: Config, run: RunFolder, before: SavedPolicy | None) -> tuple[Prepared, Env]:
    """The inputs of training, made if they are missing in the run, and the users."""
    kind = user_kind(config.env.name)
    prepared = kind.prepare(config, run, before)
    return prepared, kind.make(config.env, prepared.world)


class Sources(NamedTuple):
    """Where a training gets what several trainings may share; by default each makes its own."""

    preparing: Callable[[RunFolder], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    prepare: Callable[[Config, RunFolder, SavedPolicy | None], tuple[Prepared, Env]] = prepare
    # Recipe, environment -> the function that compiles its learner, and that which compiles simulations.
    build: Callable[[Config, Env], Callable[..., Program]] = lambda config, env: compile_learner
    simulation: Callable[[Config, Env], Callable[..., Any]] = lambda config, env: make_simulation
    watching: Watching = WATCHING


OWN = Sources()
