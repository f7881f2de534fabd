"""The section of each kind of users; other packages add theirs with `jaxrec.register_env`."""

import dataclasses
import importlib.metadata
from collections.abc import Iterator, Mapping
from typing import Any

from jaxrec.checks import InputError
from jaxrec.config.full_matrix import FullMatrixConfig
from jaxrec.config.logged import LoggedConfig
from jaxrec.config.recsim import InterestEvolutionConfig, InterestExplorationConfig, LongTermSatisfactionConfig
from jaxrec.config.sardine import SardineConfig
from jaxrec.foreign import quoted

ENTRY_POINTS = "jaxrec.envs"  # group in a package's metadata; its modules call `jaxrec.register_env` when imported

ENV_CONFIGS: dict[str, type] = {
    "interest_evolution": InterestEvolutionConfig,
    "logged": LoggedConfig,
    "interest_exploration": InterestExplorationConfig,
    "long_term_satisfaction": LongTermSatisfactionConfig,
    "full_matrix": FullMatrixConfig,
    "sardine": SardineConfig,
}


class _Sections(Mapping[str, type]):
    """Our own sections and those of installed packages; a package is imported when its section is asked for."""

    def __init__(self):
        entries = importlib.metadata.entry_points(group=ENTRY_POINTS)
        self._entries = {entry.name: entry for entry in entries if entry.name not in ENV_CONFIGS}

    def __iter__(self) -> Iterator[str]:
        return iter([*ENV_CONFIGS, *(name for name in self._entries if name not in ENV_CONFIGS)])

    def __contains__(self, name: object) -> bool:
        return name in list(self)  # the default would import the package

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __getitem__(self, name: str) -> type:
        if name not in ENV_CONFIGS and name in self._entries:
            try:
                self._entries[name].load()
            except Exception as error:
                raise InputError(
                    f"env.name: the package of {quoted(name)} cannot be imported ({quoted(error)}); fix or "
                    "uninstall it."
                ) from error
            if name not in ENV_CONFIGS:
                raise InputError(f"env.name: the package of {name!r} does not call jaxrec.register_env({name!r}, ...).")
        return ENV_CONFIGS[name]


def env_configs() -> Mapping[str, type]:
    """Sections by name: our own, then those of installed packages."""
    return _Sections()


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
