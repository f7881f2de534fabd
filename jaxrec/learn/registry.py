"""Learners by name."""

from collections.abc import Mapping
from typing import Any

from jaxrec.checks import InputError, check_name
from jaxrec.config.learners import LEARNER_CONFIGS
from jaxrec.config.load import build_section
from jaxrec.learn import dqn, ppo
from jaxrec.types import Env, Learner

MAKERS = {"dqn": dqn.make, "ppo": ppo.make}


def make_learner(name: str, env: Env, config: Any = None) -> Learner:
    """Build a learner by name over an auto-resetting environment.

    `config` is the learner's config (`jaxrec.config.schema`), a mapping of its fields, or None for the defaults.
    Raises InputError for unknown names and fields.
    """
    check_name("make_learner", name, MAKERS)
    if not env.spec.auto_reset:
        raise InputError("make_learner: users who end must be replaced; pass jaxrec.auto_reset(env).")
    if config is None or isinstance(config, Mapping):
        config = build_section(LEARNER_CONFIGS[name], config or {}, "learner", f"make_learner({name!r})")
    return MAKERS[name](env, config)


def list_learners() -> tuple[str, ...]:
    """Names that `make_learner` knows."""
    return tuple(sorted(MAKERS))
