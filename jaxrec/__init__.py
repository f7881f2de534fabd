"""Recommenders that read text with a language model and learn by reinforcement, on the accelerator."""

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxrec.encoder import encode, load_encoder
    from jaxrec.envs import (
        auto_reset,
        episode_statistics,
        list_envs,
        make_env,
        randomize,
        to_gymnasium,
        to_gymnasium_vector,
        to_gymnax,
    )
    from jaxrec.learn import list_learners, make_learner
    from jaxrec.serve import load_policy

__version__ = "0.1.0"
__all__ = [
    "auto_reset",
    "encode",
    "episode_statistics",
    "list_envs",
    "list_learners",
    "load_encoder",
    "load_policy",
    "make_env",
    "make_learner",
    "randomize",
    "to_gymnasium",
    "to_gymnasium_vector",
    "to_gymnax",
]

# Imported on first use, so that `import jaxrec` and `jaxrec --help` stay instant.
_ROOMS = {
    "auto_reset": "jaxrec.envs",
    "encode": "jaxrec.encoder",
    "episode_statistics": "jaxrec.envs",
    "list_envs": "jaxrec.envs",
    "list_learners": "jaxrec.learn",
    "load_encoder": "jaxrec.encoder",
    "load_policy": "jaxrec.serve",
    "make_env": "jaxrec.envs",
    "make_learner": "jaxrec.learn",
    "randomize": "jaxrec.envs",
    "to_gymnasium": "jaxrec.envs",
    "to_gymnasium_vector": "jaxrec.envs",
    "to_gymnax": "jaxrec.envs",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'jaxrec' has no attribute {name!r}")
    return getattr(importlib.import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])


if "gymnasium" in sys.modules and hasattr(sys.modules["gymnasium"], "register"):
    importlib.import_module("jaxrec.gym")  # its ids, for whoever uses Gymnasium
