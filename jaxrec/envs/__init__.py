"""User models behind `make_env`; one file each."""

from jaxrec.envs.registry import list_envs, make_env
from jaxrec.envs.wrappers import auto_reset

__all__ = ["auto_reset", "list_envs", "make_env"]
