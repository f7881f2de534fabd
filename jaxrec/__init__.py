"""Recommenders that read text with a language model and learn by reinforcement, on the accelerator."""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from jaxrec.version import __version__ as __version__

if TYPE_CHECKING:
    from jaxrec.encoder import encode, load_encoder
    from jaxrec.envs import (
        auto_reset,
        episode_statistics,
        from_gymnax,
        randomize,
        to_gymnasium,
        to_gymnasium_vector,
        to_gymnax,
        vector_actions,
    )
    from jaxrec.learn import list_learners, make_learner
    from jaxrec.runs.evaluate import evaluate
    from jaxrec.runs.finished import Run, open_run
    from jaxrec.runs.sweep import sweep
    from jaxrec.runs.train import train
    from jaxrec.runs.users.registry import list_envs, make_env, register_env
    from jaxrec.serve import load_policy

__all__ = [
    "Run",
    "auto_reset",
    "encode",
    "episode_statistics",
    "evaluate",
    "from_gymnax",
    "list_envs",
    "list_learners",
    "load_encoder",
    "load_policy",
    "make_env",
    "make_learner",
    "open_run",
    "randomize",
    "register_env",
    "sweep",
    "to_gymnasium",
    "to_gymnasium_vector",
    "to_gymnax",
    "train",
    "vector_actions",
]

# Imported on first use, so that `import jaxrec` and `jaxrec --help` stay instant.
_ROOMS = {
    "Run": "jaxrec.runs.finished",
    "auto_reset": "jaxrec.envs",
    "encode": "jaxrec.encoder",
    "episode_statistics": "jaxrec.envs",
    "evaluate": "jaxrec.runs.evaluate",
    "from_gymnax": "jaxrec.envs",
    "list_envs": "jaxrec.runs.users.registry",
    "list_learners": "jaxrec.learn",
    "load_encoder": "jaxrec.encoder",
    "load_policy": "jaxrec.serve",
    "make_env": "jaxrec.runs.users.registry",
    "make_learner": "jaxrec.learn",
    "open_run": "jaxrec.runs.finished",
    "randomize": "jaxrec.envs",
    "register_env": "jaxrec.runs.users.registry",
    "sweep": "jaxrec.runs.sweep",
    "to_gymnasium": "jaxrec.envs",
    "to_gymnasium_vector": "jaxrec.envs",
    "to_gymnax": "jaxrec.envs",
    "train": "jaxrec.runs.train",
    "vector_actions": "jaxrec.envs",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'jaxrec' has no attribute {name!r}")
    return getattr(importlib.import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])


if "gymnasium" in sys.modules and hasattr(sys.modules["gymnasium"], "register"):
    importlib.import_module("jaxrec.gym")  # registers the Gymnasium ids
