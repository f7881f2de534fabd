"""Environments by name."""

from typing import Any

from jaxrec.checks import check_name
from jaxrec.config.load import build_section
from jaxrec.config.users import ENV_CONFIGS
from jaxrec.envs import full_matrix, interest_evolution, logged
from jaxrec.types import Env

MAKERS = {
    "full_matrix": full_matrix.make,
    "interest_evolution": interest_evolution.make,
    "logged": logged.make,
}


def make_env(name: str, **options: Any) -> Env:
    """Build an environment by name; options are the fields of its config section (`jaxrec.config.schema`).

    `make_env("interest_evolution", num_candidates=10, slate_size=3)`; `make_env("logged", path=FOLDER, slate_size=5)`
    opens a fitted simulator as a training run leaves it in `RUN/simulators/`; `make_env("full_matrix",
    path=FILE)` replays a matrix of rewards. Raises InputError for unknown names,
    unknown options and values out of range.
    """
    check_name("make_env", name, MAKERS)
    return MAKERS[name](build_section(ENV_CONFIGS[name], options, "env", f"make_env({name!r})"))


def list_envs() -> tuple[str, ...]:
    """Names that `make_env` knows."""
    return tuple(sorted(MAKERS))
