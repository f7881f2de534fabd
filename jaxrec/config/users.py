"""The section of each kind of users; other packages add theirs with `jaxrec.register_env`."""

import dataclasses
import importlib.metadata
from collections.abc import Mapping
from typing import Any

from jaxrec.checks import InputError
from jaxrec.config.full_matrix import FullMatrixConfig
from jaxrec.config.logged import LoggedConfig
from jaxrec.config.recsim import InterestEvolutionConfig, InterestExplorationConfig, LongTermSatisfactionConfig
from jaxrec.config.sardine import SardineConfig

ENTRY_POINTS = "jaxrec.envs"  # group in a package's metadata; its modules call `jaxrec.register_env` when imported

ENV_CONFIGS: dict[str, type] = {
    "interest_evolution": InterestEvolutionConfig,
    "logged": LoggedConfig,
    "interest_exploration": InterestExplorationConfig,
    "long_term_satisfaction": LongTermSatisfactionConfig,
    "full_matrix": FullMatrixConfig,
    "sardine": SardineConfig,
}


def env_configs() -> Mapping[str, type]:
    """Sections by name: our own, then those of installed packages."""
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        if entry.name not in ENV_CONFIGS:
            try:
                entry.load()
            except Exception as error:
                raise InputError(
                    f"env.name: the package of {entry.name!r} cannot be imported ({error!r}); fix or uninstall it."
                ) from error
    return ENV_CONFIGS


def fitted_simulators(section: Any) -> tuple[str, ...]:
    """Names of the simulators that a finished run of these users holds; empty if nothing is fitted to a log."""
    return getattr(section, "fitted", ())


def add_env_config(name: str, config: type) -> None:
    """Add the section of another package; raises InputError if the name is taken."""
    fields = (
        {field.name: field.default for field in dataclasses.fields(config)} if dataclasses.is_dataclass(config) else {}
    )
    if fields.get("name") != name:
        raise InputError(f"register_env: {config.__name__} must be a dataclass with the field `name: str = {name!r}`.")
    if name in ENV_CONFIGS and ENV_CONFIGS[name] is not config:
        raise InputError(f"register_env: {name!r} is taken by {ENV_CONFIGS[name].__name__}; choose another name.")
    ENV_CONFIGS[name] = config
