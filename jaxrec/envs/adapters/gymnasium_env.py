"""One user with the interface of Gymnasium, and the spaces that both Gymnasium adapters share; imports gymnasium."""

import inspect
import multiprocessing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv

from jaxrec.checks import InputError, check_name
from jaxrec.envs.adapters.actions import Actions
from jaxrec.envs.adapters.observations import Bounds, View
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array, Env, Observation, StepOutput, World

REPEATS = ("replace", "refuse")
NUMBERS = {"scores": "scores", "query": "weights", "vector": "numbers"}  # what an action of real numbers holds


class Stream(NamedTuple):
    """One user, and the key for everything random that is still to come."""

    key: Array  # [] typed PRNG key
    env_state: Any
    obs: Observation  # what the next action responds to


class Core(NamedTuple):
    """Reset and step as pure functions of one user; vector environments map them over users."""

    reset: Callable[[Array, World], tuple[Stream, Any]]  # key -> stream, shown observation
    step: Callable[[Stream, Array, World], tuple[Stream, Any, StepOutput]]


def make_core(env: Env, actions: Actions, view: View) -> Core:
    """Build a reset and a step that use one key of the stream each; raises InputError for auto-reset environments."""
    if env.spec.auto_reset:
        raise InputError("to_gymnasium: Gymnasium asks for resets itself; pass an environment without auto_reset.")

    def reset(key: Array, world: World) -> tuple[Stream, Any]:
        rest, used = jax.random.split(key)
        env_state, obs = env.reset(used, world)
        return Stream(rest, env_state, obs), view.show(obs, world)

    def step(stream: Stream, action: Array, world: World) -> tuple[Stream, Any, StepOutput]:
        rest, used = jax.random.split(stream.key)
        slate = actions.to_slate(action, stream.obs, world)
        env_state, out = env.step(used, stream.env_state, slate, world)
        return Stream(rest, env_state, out.obs), view.show(out.obs, world), out

    return Core(reset, step)


def seed_words(generator: np.random.Generator) -> np.ndarray:
    """Draw two words [2] uint32 from a generator, the key of a user's stream."""
    return generator.integers(2**32, size=2, dtype=np.uint32)


def check_no_fork() -> None:
    """Raise if Gymnasium asks for the sample environment of an `AsyncVectorEnv` that forks its workers.

    A fork copies the locks of JAX's threads but not the threads, so the workers would wait for ever.
    """
    frame = inspect.currentframe()
    while frame is not None and frame.f_code is not AsyncVectorEnv.__init__.__code__:
        frame = frame.f_back
    if frame is None or multiprocessing.get_context(frame.f_locals.get("context")).get_start_method() != "fork":
        return
    raise InputError(
        'vectorization_mode: "async" forks processes after JAX has started, which hangs; use "vector_entry_point", one '
        'compiled call for all users, or give vector_kwargs={"context": "spawn"}.'
    )


class UserEnv(gymnasium.Env):
    """One user at a time. `step` gives `info["feedback"]` [K, F] of the shown items; `feedback_names` names kinds."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  Gymnasium's own type

    def __init__(self, env: Env, actions: Actions, view: View, repeats: str):
        check_name("repeats", repeats, REPEATS)
        check_no_fork()
        core = make_core(env, actions, view)
        self._reset, self._step = compiled(core.reset), compiled(core.step)
        self._world, self._actions, self._repeats = env.world, actions, repeats
        self._key: Array | None = None
        self._stream: Stream | None = None
        self.feedback_names, self.layout = env.spec.feedback, dict(view.layout)
        self.observation_space, self.action_space = observation_space(view), action_space(actions)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin with a new user: the same one for the same `seed`; without a seed, the stream of users continues."""
        super().reset(seed=seed)
        if seed is not None or self._key is None:
            self._key = jax.random.wrap_key_data(jnp.asarray(seed_words(self.np_random)))
        stream, obs = self._reset(self._key, self._world)
        self._stream, self._key = stream, stream.key
        return to_numpy(obs), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Show one slate."""
        if self._stream is None:
            raise InputError("step: there is no user yet; call reset first.")
        action = checked(action, self.action_space, self._actions, self._repeats)
        stream, obs, out = self._step(self._stream, action, self._world)
        self._stream, self._key = stream, stream.key
        flags = bool(out.terminated), bool(out.truncated)
        return to_numpy(obs), float(out.reward), *flags, {"feedback": np.array(out.feedback)}


def to_numpy(tree: Any) -> Any:
    """Copy to writable NumPy arrays."""
    return jax.tree.map(np.array, tree)


def checked(action: Any, space: spaces.Space, actions: Actions, repeats: str) -> np.ndarray:
    """Give the action(s) as an array of the space's shape; raises InputError for actions outside the space."""
    array = np.asarray(action)
    if array.shape != space.shape:
        raise InputError(f"action: expected shape {space.shape}, got {array.shape}.")
    if actions.weights:
        if not np.isfinite(array).all():
            raise InputError(f"action: expected finite {NUMBERS[actions.kind]}, got NaN or infinity.")
        return array.astype(np.float32)
    top = actions.numbered or actions.num_positions
    if not np.issubdtype(array.dtype, np.integer) or (array.size and not 0 <= array.min() <= array.max() < top):
        raise InputError(f"action: expected whole numbers from 0 to {top - 1}, got {_short(array)}.")
    if repeats == "refuse" and actions.kind == "slate" and actions.slate_size > 1:
        slates = np.sort(array.reshape(-1, actions.slate_size), axis=1)
        if (slates[:, 1:] == slates[:, :-1]).any():
            raise InputError(f"action: a position twice in one slate, {_short(array)}; use repeats='replace'.")
    return array.astype(np.int32)


def _short(array: np.ndarray) -> str:
    return np.array2string(array, threshold=12, separator=", ").replace("\n", "")


def action_space(actions: Actions) -> spaces.Space:
    """Space of one user's actions."""
    if actions.numbered:
        return spaces.Discrete(actions.numbered)
    if actions.weights:
        low, high = actions.bounds or (-1.0, 1.0)
        return spaces.Box(low, high, (actions.weights,), np.float32)
    return spaces.MultiDiscrete([actions.num_positions] * actions.slate_size)


def observation_space(view: View) -> spaces.Space:
    """Space of one user's observations: a Box, or a Dict of Box, MultiDiscrete (ids on offer) and MultiBinary."""
    if view.kind == "dict":
        return spaces.Dict({name: _field_space(name, bounds) for name, bounds in view.bounds.items()})
    return _box(_joined(view.bounds))


def _joined(parts: Mapping[str, Bounds]) -> Bounds:
    return Bounds(np.concatenate([p.low for p in parts.values()]), np.concatenate([p.high for p in parts.values()]))


def _field_space(name: str, bounds: Bounds) -> spaces.Space:
    if name == "mask":
        return spaces.MultiBinary(bounds.low.size)
    if name == "candidates":
        return spaces.MultiDiscrete(bounds.high.astype(np.int64) + 1, dtype=np.int32)
    return _box(bounds)


def _box(bounds: Bounds) -> spaces.Box:
    return spaces.Box(bounds.low, bounds.high, bounds.low.shape, bounds.low.dtype.type)
