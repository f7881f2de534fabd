"""Kinds of users by name: built-in ones, and those that other packages register."""

from collections.abc import Callable
from typing import Any

from jaxrec.checks import InputError, check_name
from jaxrec.config.load import build_section
from jaxrec.config.schema import Config
from jaxrec.config.users import add_env_config, env_configs
from jaxrec.envs.vector_actions import act_as_in
from jaxrec.evaluation.recommenders import uniform
from jaxrec.runs.read_log import Corpus
from jaxrec.runs.users.full_matrix import FULL_MATRIX
from jaxrec.runs.users.kind import Rules, UserKind, plain
from jaxrec.runs.users.logged import LOGGED
from jaxrec.runs.users.synthetic import SYNTHETIC
from jaxrec.types import Env

USER_KINDS: dict[str, UserKind] = {"logged": LOGGED, "full_matrix": FULL_MATRIX, **SYNTHETIC}


def register_env(
    name: str,
    config: type | UserKind,
    make: Callable[[Any], Env] | None = None,
    *,
    baselines: Callable[[Env, Any], Rules] = lambda env, section: {},
) -> None:
    """Register a kind of users as `name`, for recipes, `make_env`, `train`, `evaluate` and the adapters.

    `config` is a frozen dataclass with the field `name` (default: `name`) whose other fields are the options.
    `make(config) -> Env` builds the environment, whose `spec.name` is `name`. `baselines(env, config)` gives
    recommenders to compare a policy with. For users that need more, such as a log, pass a whole `UserKind`.

    Packages list a module that calls this function in the entry point group `jaxrec.envs`, as `NAME = "their.module"`,
    so that the command line finds it. Raises InputError for names that are taken.
    """
    if isinstance(config, UserKind):
        kind = config
    elif make is None:
        raise InputError(f"register_env: {name!r} has no environment; pass make(config) -> Env, or a UserKind.")
    else:
        kind = plain(config, make, baselines)
    add_env_config(name, kind.config)
    USER_KINDS[name] = kind


def user_kind(name: str, where: str = "env.name") -> UserKind:
    """The bundle called `name`; raises InputError for unknown names, with `where` in the message."""
    sections = env_configs()
    check_name(where, name, sections)
    _ = sections[name]  # imports the package that has it, which registers the kind
    return USER_KINDS[name]


def make_env(name: str, **options: Any) -> Env:
    """Build an environment by name; options are the fields of its config section (`jaxrec.config.users`).

    `make_env("interest_evolution", num_candidates=10, slate_size=3)`; `make_env("logged", path=FOLDER, slate_size=5)`
    opens fitted simulators, for instance those in `RUN/simulators/`; `make_env("full_matrix", path=FILE)` replays a
    matrix of rewards. With the option `action`, actions are vectors that name slates. Raises InputError for unknown
    names, unknown options and values out of range.
    """
    kind = user_kind(name, "make_env")
    section = build_section(kind.config, options, "env", f"make_env({name!r})")
    return act_as_in(kind.make(section, None), section)


def list_envs() -> tuple[str, ...]:
    """Names that `make_env` accepts."""
    return tuple(sorted(env_configs()))


def baselines(env: Env, section: Any = None, config: Config | None = None, corpus: Corpus | None = None) -> Rules:
    """Recommenders to compare a policy with, by name: random slates, and those of the kind of users.

    `section` is the section of the recipe; users with a log need the whole recipe `config` and its `corpus`.
    """
    kind = user_kind(env.spec.name if config is None else config.env.name, "baselines")
    return {
        "random": uniform(env.spec.slate_size, repeats=env.spec.repeats),
        **kind.baselines(env, section, config, corpus),
    }
