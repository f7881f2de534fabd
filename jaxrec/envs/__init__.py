"""User models behind `make_env`; one file each."""

from jaxrec.envs.adapters import to_gymnasium, to_gymnasium_vector, to_gymnax
from jaxrec.envs.randomize import randomize
from jaxrec.envs.registry import list_envs, make_env
from jaxrec.envs.statistics import episode_statistics
from jaxrec.envs.wrappers import auto_reset, time_limit

__all__ = [
    "auto_reset",
    "episode_statistics",
    "list_envs",
    "make_env",
    "randomize",
    "time_limit",
    "to_gymnasium",
    "to_gymnasium_vector",
    "to_gymnax",
]
