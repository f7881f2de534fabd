"""User models behind `make_env`; one file each."""

from jaxrec.envs.randomize import randomize
from jaxrec.envs.registry import list_envs, make_env
from jaxrec.envs.statistics import episode_statistics
from jaxrec.envs.wrappers import auto_reset

__all__ = ["auto_reset", "episode_statistics", "list_envs", "make_env", "randomize"]
