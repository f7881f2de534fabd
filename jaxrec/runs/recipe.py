"""Resolve a recipe from a file, a dict or a config built in Python."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig
from jaxrec.config.load import Overrides, apply_overrides, build_section, load_config, to_dict
from jaxrec.config.schema import Config

Recipe = str | Path | Mapping[str, Any] | Config


def read_recipe(recipe: Recipe, overrides: Overrides = ()) -> Config:
    """Resolve a recipe; raises InputError naming the key, what was expected and the nearest known name."""
    if isinstance(recipe, str | Path):
        return load_config(Config, recipe, overrides)
    if isinstance(recipe, Config) and not overrides:
        return recipe
    values = to_dict(recipe)
    apply_overrides(values, overrides)
    return build_section(Config, values, "", "recipe")


def default_folder(recipe: Recipe, parent: str = "runs") -> str:
    """PARENT/NAME for a recipe file NAME.yaml; other recipes have no name, so the caller must give a folder."""
    if isinstance(recipe, str | Path):
        return f"{parent}/{Path(recipe).stem}"
    raise InputError("run: only a recipe file has a default folder; name one, for instance run='runs/first'.")


def log_config(config: Config) -> DataConfig:
    """The data section; raises InputError if the recipe has none."""
    if config.data is None:
        raise InputError("data: the logged environment needs a log; add a data section to the recipe.")
    return config.data
