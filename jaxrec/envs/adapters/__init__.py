"""Environments for other libraries: `to_gymnax`, `to_gymnasium`, `to_gymnasium_vector`; and `from_gymnax`.

The libraries are optional; each is imported when its adapter is made.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from jaxrec.checks import InputError
from jaxrec.envs.adapters.actions import make_actions
from jaxrec.envs.adapters.observations import make_view
from jaxrec.types import Env, SlateAction

if TYPE_CHECKING:
    from jaxrec.envs.adapters.gymnasium_env import UserEnv
    from jaxrec.envs.adapters.gymnasium_vector import UsersVectorEnv
    from jaxrec.envs.adapters.gymnax_env import GymnaxEnv


def to_gymnax(
    env: Env, *, actions: str = "", observation: str = "vector", history: str = "mean", max_steps: int = 10_000
) -> "GymnaxEnv":
    """Give `env` the interface of gymnax 1.0: `reset(key, params)`, `step(key, state, action, params)` and the rest.

    `actions`: "slate" (the default if K = 1), "scores" (the default otherwise), "query", "permutations" or
    "combinations"; "vector" for users who take vectors, and no other (`jaxrec.envs.adapters.actions`). `observation`:
    "vector" [V], whose parts are in `layout`, or "dict". `history`: "mean" or "rows", for the vector
    (`jaxrec.envs.adapters.observations`). `max_steps` becomes the default of `params.max_steps_in_episode`. Pass the
    plain environment: gymnax itself replaces users whose episode ends.
    """
    module = _adapter("gymnax_env", "to_gymnax", "gymnax")
    if not actions and isinstance(env.spec.action, SlateAction) and env.spec.slate_size > 1:
        actions = "scores"
    return module.GymnaxEnv(env, make_actions(env, actions), make_view(env, observation, history), max_steps)


def from_gymnax(env: Any, params: Any = None) -> Env:
    """Give an environment of gymnax 1.0 our interface, so that our learners train on it.

    Observations become `Observation.user` [U], flattened. A discrete action becomes a slate of one of its numbers,
    which are items with one-hot rows. A box becomes a vector. The reward is the only feedback. `params`, by default
    those of the environment, are in the world, as `world.users`. Wrap it in `jaxrec.auto_reset`, as learners expect.
    Raises InputError for other spaces, and for boxes of actions whose bounds differ.
    """
    return _adapter("from_gymnax", "from_gymnax", "gymnax").wrap(env, params)


def to_gymnasium(
    env: Env, *, actions: str = "", observation: str = "vector", history: str = "mean", repeats: str = "replace"
) -> "UserEnv":
    """Give `env` the interface of Gymnasium: one user, `reset(seed=...)` and `step(action)`, NumPy in and out.

    `actions`: "slate" (the default; MultiDiscrete, or Discrete if K = 1), "scores", "query", "permutations" or
    "combinations"; "vector" (a Box) for users who take vectors, and no other.
    `repeats`: what to do with a slate that names a position twice, "replace" or "refuse". The rest is as in
    `to_gymnax`. Pass the plain environment, not an auto-reset one.
    """
    module = _adapter("gymnasium_env", "to_gymnasium", "gymnasium")
    return module.UserEnv(env, make_actions(env, actions), make_view(env, observation, history), repeats)


def to_gymnasium_vector(
    env: Env,
    num_envs: int,
    *,
    actions: str = "",
    observation: str = "vector",
    history: str = "mean",
    repeats: str = "replace",
    autoreset_mode: Any = "NextStep",
) -> "UsersVectorEnv":
    """Give many users the interface of one `gymnasium.vector.VectorEnv`; a step is one compiled call for all of them.

    `autoreset_mode`: one of `gymnasium.vector.AutoresetMode` or its value: "NextStep" (Gymnasium's default),
    "SameStep" or "Disabled". The rest is as in `to_gymnasium`.
    """
    module = _adapter("gymnasium_vector", "to_gymnasium_vector", "gymnasium")
    actions_of, view = make_actions(env, actions), make_view(env, observation, history)
    return module.UsersVectorEnv(env, num_envs, actions_of, view, repeats, autoreset_mode)


def _adapter(module: str, function: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(f"jaxrec.envs.adapters.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != extra:
            raise
        raise InputError(f'{function}: {extra} is not installed; pip install "jaxrec[{extra}]".') from None
