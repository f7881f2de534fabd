"""Gymnasium ids of the environments; imports gymnasium, and JAX only when an environment is made.

Importing this module registers them: `jaxrec/InterestEvolution-v0` and so on, one for every name of `make_env`. If
gymnasium is already imported, `import jaxrec` also registers them.
"""

from typing import TYPE_CHECKING, Any

import gymnasium

import jaxrec
from jaxrec.config.users import env_configs

if TYPE_CHECKING:
    from jaxrec.envs.adapters.gymnasium_env import UserEnv
    from jaxrec.envs.adapters.gymnasium_vector import UsersVectorEnv


def env_id(name: str) -> str:
    """Gymnasium id of an environment of `make_env`: "interest_evolution" -> "jaxrec/InterestEvolution-v0"."""
    return f"jaxrec/{''.join(part.capitalize() for part in name.split('_'))}-v0"


def register() -> None:
    """Register the ids in Gymnasium, once."""
    for name in env_configs():
        if env_id(name) not in gymnasium.registry:
            gymnasium.register(
                env_id(name),
                entry_point=f"{__name__}:make_user",
                vector_entry_point=f"{__name__}:make_users",
                kwargs={"name": name},
            )


ADAPTER_OPTIONS = ("actions", "observation", "history", "repeats", "autoreset_mode")


def make_user(name: str, **options: Any) -> "UserEnv":
    """`gymnasium.make("jaxrec/...", **options)`: options of `to_gymnasium` and of `make_env`."""
    ours, theirs = _split(options)
    return jaxrec.to_gymnasium(jaxrec.make_env(name, **theirs), **ours)


def make_users(name: str, num_envs: int = 1, max_episode_steps: int | None = None, **options: Any) -> "UsersVectorEnv":
    """`gymnasium.make_vec("jaxrec/...", vectorization_mode="vector_entry_point", **options)`."""
    ours, theirs = _split(options)
    env = jaxrec.make_env(name, **theirs)
    if max_episode_steps is not None:
        from jaxrec.envs import time_limit

        env = time_limit(env, max_episode_steps)
    return jaxrec.to_gymnasium_vector(env, num_envs, **ours)


def _split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    ours = {name: value for name, value in options.items() if name in ADAPTER_OPTIONS}
    return ours, {name: value for name, value in options.items() if name not in ours}


register()
