"""Resolve a recipe from a file, a dict or a config built in Python."""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig
from jaxrec.config.load import Overrides, apply_overrides, build_section, load_config, to_dict, to_yaml
from jaxrec.config.schema import Config
from jaxrec.foreign import quoted
from jaxrec.processes import count, from_first, number, together
from jaxrec.version import __version__

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


def read_by_all(read: Callable[[], Config]) -> Config:
    """Run `read` in every process; raises InputError unless all get the same recipe and have the same versions."""
    config = together(read)
    if count() == 1:
        return config
    mine = [f"jaxrec {__version__}", f"jax {jax.__version__}", *to_yaml(config).splitlines()]
    first = from_first(lambda: mine)
    differ = next((pair for pair in itertools.zip_longest(mine, first, fillvalue="") if pair[0] != pair[1]), None)

    def compare() -> None:
        if differ is not None:
            here, there = (quoted(line.strip()) for line in differ)
            raise InputError(
                f"process {number()} has a different recipe from process 0 ({here} here, {there} there); give "
                "all of them the same recipe, overrides and versions."
            )

    together(compare)
    return config


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
