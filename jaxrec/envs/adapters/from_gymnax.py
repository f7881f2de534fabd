"""An environment of gymnax 1.0 with our interface, for problems that others measure too; imports gymnax."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments import environment, spaces

from jaxrec.checks import InputError
from jaxrec.types import Array, Env, EnvSpec, Observation, SlateAction, StepOutput, VectorAction, World


def wrap(env: environment.Environment, params: Any) -> Env:
    """The environment; see `jaxrec.from_gymnax`."""
    params = jax.tree.map(jnp.asarray, env.default_params if params is None else params)
    observed, acted = env.observation_space(params), env.action_space(params)
    if not isinstance(observed, spaces.Box):
        raise InputError(
            f"from_gymnax: observations of {env.name} are a {type(observed).__name__}, expected a Box of numbers."
        )
    action = _action(env.name, acted)
    size = int(np.prod(observed.shape))
    number = acted.n if isinstance(acted, spaces.Discrete) else 1
    spec = EnvSpec(
        name=env.name,
        action=action,
        num_items=number,
        feedback=("reward",),
        user_size=size,
        user_range=(float(np.min(observed.low)), float(np.max(observed.high))),
        repeats=True,
    )

    def reset(key: Array, world: World) -> tuple[Any, Observation]:
        with _usual_promotion():
            obs, state = env.reset_env(key, world.users)
        return state, _seen(obs)

    def step(key: Array, state: Any, action: Array, world: World) -> tuple[Any, StepOutput]:
        given = action[0] if isinstance(acted, spaces.Discrete) else action.reshape(acted.shape)
        with _usual_promotion():
            obs, after, reward, terminated, _ = env.step_env(key, state, given.astype(acted.dtype), world.users)
            cut = env.is_truncated(after, world.users)
        seen, reward = _seen(obs), jnp.asarray(reward, jnp.float32).reshape(())
        terminated = jnp.asarray(terminated, bool).reshape(())
        truncated = jnp.asarray(cut, bool).reshape(()) & ~terminated
        return after, StepOutput(seen, reward, terminated, truncated, reward[None, None], seen)

    return Env(reset, step, World(jnp.eye(number), users=params), spec)


def _action(name: str, space: Any) -> SlateAction | VectorAction:
    """Slates of one item for a choice among numbers, and a vector for a box with the same bounds everywhere."""
    if isinstance(space, spaces.Discrete):
        return SlateAction(size=1)
    if not isinstance(space, spaces.Box):
        raise InputError(
            f"from_gymnax: actions of {name} are a {type(space).__name__}, expected Discrete or a Box of numbers."
        )
    lows, highs = np.unique(np.asarray(space.low)), np.unique(np.asarray(space.high))
    if len(lows) != 1 or len(highs) != 1:
        raise InputError(f"from_gymnax: actions of {name} have different bounds in different places.")
    size = int(np.prod(space.shape))
    return VectorAction(size=size, low=float(lows[0]), high=float(highs[0]), of="numbers")


@contextlib.contextmanager
def _usual_promotion() -> Iterator[None]:
    """Let gymnax mix types and ranks of arrays, also in a program that forbids it for its own code."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def _seen(obs: Any) -> Observation:
    return Observation(user=jnp.asarray(obs, jnp.float32).reshape(-1))
