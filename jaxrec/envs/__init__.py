"""User models, one file each, and wrappers; `jaxrec.make_env` builds them by name."""

from jaxrec.envs.adapters import from_gymnax, to_gymnasium, to_gymnasium_vector, to_gymnax
from jaxrec.envs.randomize import randomize
from jaxrec.envs.statistics import episode_statistics
from jaxrec.envs.vector_actions import vector_actions
from jaxrec.envs.wrappers import auto_reset, time_limit

__all__ = [
    "auto_reset",
    "episode_statistics",
    "from_gymnax",
    "randomize",
    "time_limit",
    "to_gymnasium",
    "to_gymnasium_vector",
    "to_gymnax",
    "vector_actions",
]
