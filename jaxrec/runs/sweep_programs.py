"""Programs that the runs of a sweep share, and how runs are put through them.

Runs whose programs are equal form a group: what differs between them are arguments (keys, numbers of the learner's
section). A group is compiled once. On CPU its runs call that program one by one, several at a time on threads: a
mapped program of many runs leaves cores idle there, since XLA computes batched products of matrices on one core. On
accelerators `Together` joins the calls of all runs in one mapped program.
"""

import dataclasses
import functools
import hashlib
import threading
from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.config.learner import LearnerConfig
from jaxrec.config.load import to_yaml
from jaxrec.config.schema import Config, TrainConfig
from jaxrec.evaluation.simulate import make_simulation
from jaxrec.learn.arguments import Arguments, numbers_of, unchecked, with_arguments
from jaxrec.learn.program import Program, compile_learner
from jaxrec.runs.train import learner_of
from jaxrec.sharding.compile import compiled
from jaxrec.types import Env, Learner, World


class Shared:
    """Programs by group; safe to use from several threads."""

    def __init__(self, swept: Collection[str], together: "Together | None"):
        """`swept` are the dotted names of the grid; with `together`, calls of a group are joined."""
        self._numbers = {name.removeprefix("learner.") for name in swept if name.startswith("learner.")}
        self._together, self._lock = together, threading.RLock()
        self._programs: dict[str, tuple[Program, Any]] = {}
        self._simulations: dict[str, Any] = {}

    @property
    def groups(self) -> int:
        """Groups of runs that were compiled."""
        return len(self._programs)

    def group_of(self, config: Config, env: Env) -> str:
        """What must be equal for two runs to share a program."""
        numbers = numbers_of(config.learner, self._numbers)
        learner = unchecked(config.learner, **dict.fromkeys(numbers, 0.0))
        # Users that were fitted with another seed differ in the world, of which their functions may hold a part.
        return f"{to_yaml(unchecked(config, learner=learner, seed=0))}{env.spec}{digest_of(env.world)}"

    def build(self, config: Config, env: Env) -> Callable[[Learner, World, TrainConfig, int], Program]:
        """How this run gets its program, as `compile_learner` would build it."""
        group, numbers = self.group_of(config, env), numbers_of(config.learner, self._numbers)

        def learner_under(section: LearnerConfig) -> Learner:
            return learner_of(unchecked(config, learner=section), env)

        def build(learner: Learner, world: World, train: TrainConfig, shards: int) -> Program:
            arrays = {name: jnp.asarray(value) for name, value in numbers.items()}
            with self._lock:
                if group not in self._programs:
                    general = with_arguments(learner_under, config.learner)
                    program = compile_learner(general, Arguments(world, arrays), train, shards)  # type: ignore[arg-type]
                    self._programs[group] = program, self._call_of(group, program)
                program, call = self._programs[group]
            arguments: Any = program.world  # on the devices already, but for the numbers
            laid = jax.tree.map(lambda x, like: jax.device_put(x, like.sharding), arrays, arguments.numbers)
            return dataclasses.replace(program, world=arguments.replace(numbers=laid), update_many=call)

        return build

    def _call_of(self, group: str, program: Program) -> Any:
        once = CompiledOnce(program.update_many)
        return once if self._together is None else Joined(functools.partial(self._together.call, group, program))

    def simulation(self, config: Config, env: Env) -> Callable[..., Any]:
        """How this run gets the program of its evaluation."""
        group = self.group_of(config, env)

        def build(*arguments: Any) -> Any:
            with self._lock:
                if group not in self._simulations:
                    self._simulations[group] = make_simulation(*arguments)
                return self._simulations[group]

        return build


def digest_of(world: World) -> str:
    """SHA-256 of all arrays of a world."""
    digest = hashlib.sha256()
    for path, x in jax.tree_util.tree_leaves_with_path(world):
        array = np.asarray(x)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class CompiledOnce:
    """A compiled function that is lowered and compiled by the first run of a group, and used by all."""

    def __init__(self, function: Any):
        """Compile nothing yet."""
        self._function, self._lock, self._call = function, threading.Lock(), None

    def lower(self, *arguments: Any) -> "CompiledOnce":
        """Compile, unless another run did."""
        with self._lock:
            if self._call is None:
                self._call = self._function.lower(*arguments).compile()
        return self

    def compile(self) -> Any:
        """The compiled function."""
        return self._call


class Joined:
    """The same interface for calls that `Together` joins; it compiles when the first calls have met."""

    def __init__(self, call: Callable[..., Any]):
        """`call(state, arguments)` waits for the other runs."""
        self._call = call

    def lower(self, *arguments: Any) -> "Joined":
        """Nothing to do: the number of runs is not known yet."""
        return self

    def compile(self) -> Any:
        """The function that joins calls."""
        return self._call


@dataclasses.dataclass
class _Job:
    group: str
    program: Program
    state: Any
    arguments: Arguments
    result: Any = None
    error: BaseException | None = None
    done: bool = False


class Together:
    """Joins the calls of runs on threads: once all of them wait, one mapped program does the work of each group.

    A run that ends leaves; its place in the mapped program is then filled by a copy, so that nothing compiles again.
    """

    def __init__(self):
        """Nobody is there yet."""
        self._changed = threading.Condition()
        self._present = 0
        self._waiting: list[_Job] = []
        self._calls: dict[str, tuple[int, Any]] = {}  # group -> runs in its program, and the program

    def begin(self, runs: int) -> None:
        """`runs` runs come, each of which must leave."""
        with self._changed:
            self._present += runs
            self._calls.clear()  # their groups have other sizes

    def leave(self) -> None:
        """One run has ended."""
        with self._changed:
            self._present -= 1
            self._work()

    def call(self, group: str, program: Program, state: Any, arguments: Arguments) -> tuple[Any, Any]:
        """Update one run, when all that are present wait here."""
        job = _Job(group, program, state, arguments)
        with self._changed:
            self._waiting.append(job)
            self._work()
            self._changed.wait_for(lambda: job.done)
        if job.error is not None:
            raise job.error
        return job.result

    def _work(self) -> None:
        if not self._waiting or len(self._waiting) < self._present:
            return
        jobs, self._waiting = self._waiting, []
        for group in dict.fromkeys(job.group for job in jobs):
            self._update([job for job in jobs if job.group == group])
        self._changed.notify_all()

    def _update(self, jobs: list[_Job]) -> None:
        """One call for the jobs of a group; an error is that of all of them."""
        try:
            size, call = self._calls.get(jobs[0].group, (0, None))
            if len(jobs) > size:
                axes = (0, Arguments(world=None, numbers=0))  # type: ignore[arg-type]
                call = compiled(jax.vmap(jobs[0].program.update_many, axes), donate=0)
                size, call = self._calls[jobs[0].group] = len(jobs), call
            padded = [*jobs, *[jobs[0]] * (size - len(jobs))]
            states = jax.tree.map(lambda *x: jnp.stack(x), *(job.state for job in padded))
            numbers = jax.tree.map(lambda *x: jnp.stack(x), *(job.arguments.numbers for job in padded))
            assert call is not None
            states, metrics = call(states, jobs[0].arguments.replace(numbers=numbers))
            for n, job in enumerate(jobs):
                job.result = jax.tree.map(lambda x, n=n: x[n], (states, metrics))
        except BaseException as error:
            for job in jobs:
                job.error = error
        for job in jobs:
            job.done = True
