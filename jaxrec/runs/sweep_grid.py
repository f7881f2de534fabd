"""The runs of a sweep: every combination of the values of a grid, once for each seed."""

import dataclasses
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxrec.checks import InputError
from jaxrec.config.load import to_dict
from jaxrec.config.schema import Config
from jaxrec.foreign import quoted
from jaxrec.runs.recipe import Recipe, read_recipe

Grid = Mapping[str, Sequence[Any]]  # section.key -> its values
LIMIT = 256  # runs, unless the caller says otherwise
SEED = "seed"
UNSAFE = re.compile(r"[^A-Za-z0-9_.=+-]+")  # in names of folders
OPENING, CLOSING = "[{(", "]})"
LONGEST = 60  # characters of the name of a run


@dataclasses.dataclass(frozen=True)
class Setting:
    """One combination of values of the grid."""

    values: tuple[tuple[str, Any], ...]  # section.key, value; empty for the recipe as it is

    @property
    def label(self) -> str:
        """The setting in words: `learning_rate=0.0003`."""
        return " ".join(f"{name.rpartition('.')[2]}={shown(value)}" for name, value in self.values) or "the recipe"


class Member(NamedTuple):
    """One run of a sweep."""

    name: str  # of its folder
    setting: Setting
    seed: int
    config: Config


def shown(value: Any) -> str:
    """A value as a person would write it."""
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, list | tuple):
        return "[" + ",".join(shown(one) for one in value) + "]"
    return str(value)


def split_values(text: str, override: str) -> list[str]:
    """Split at commas that are in no brackets and no quotes; raises InputError if nothing is between two of them."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        depth += 0 if quote else (character in OPENING) - (character in CLOSING)
        if character == "," and not quote and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    if len(parts) > 1 and not all(part.strip() for part in parts):
        raise InputError(
            f"override {quoted(override)}: a value before or after a comma is empty; write section.key=1,2, and put a "
            "text with commas in quotes."
        )
    return [part.strip() for part in parts] if len(parts) > 1 else parts


def read_words(words: Sequence[str]) -> tuple[dict[str, list[str]], list[str], int | None]:
    """The grid, the plain overrides and the number of seeds in words of a command line."""
    grid: dict[str, list[str]] = {}
    plain, seeds = [], None
    for word in words:
        name, sign, text = word.partition("=")
        name = name.strip()
        if name == "seeds" and sign:
            if seeds is not None:
                raise InputError(f"seeds: given twice, the second time as {quoted(word)}; give it once.")
            if not re.fullmatch(r"\s*[+-]?\d{1,9}\s*", text):
                raise InputError(
                    f"seeds: expected a whole number such as seeds=8, got {quoted(text)}; seed=3,5 names single seeds."
                )
            seeds = int(text)
            continue
        values = split_values(text, word) if sign else [text]
        if len(values) == 1:
            plain.append(word)
        elif name in grid:
            raise InputError(f"override {quoted(word)}: {quoted(name)} has values already; give them all at once.")
        else:
            grid[name] = values
    return grid, plain, seeds


def members_of(
    recipe: Recipe, grid: Grid, seeds: int | None, overrides: Any, limit: int
) -> tuple[list[Setting], list[Member]]:
    """All runs, setting after setting; raises InputError before anything is written.

    `seeds` are 0 to seeds - 1; None leaves the seed of the recipe. The grid may name seeds of its own.
    """
    grid = dict(grid)
    numbers = _seeds(grid, seeds)
    for name, values in grid.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise InputError(f"{name}: expected a list of at least one value to sweep over, got {quoted(values)}.")
    size = math.prod(len(values) for values in grid.values()) * len(numbers)
    if size > limit:
        raise InputError(
            f"sweep: {size:,} runs, and the limit is {limit:,}; leave out values or seeds, or raise the limit with "
            "--limit."
        )
    found: list[tuple[Setting, list[Config]]] = []
    for values in itertools.product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        configs = [_config(recipe, overrides, chosen, seed) for seed in numbers]
        setting = Setting(tuple((name, _value(configs[0], name)) for name in grid))
        if any(setting == other for other, _ in found):
            raise InputError(f"sweep: {setting.label} comes twice; give every value once.")
        found.append((setting, configs))
    width = len(str(size - 1))
    flat = [(setting, config) for setting, configs in found for config in configs]
    members = [
        Member(_name(n, width, setting, config.seed), setting, config.seed, config)
        for n, (setting, config) in enumerate(flat)
    ]
    return [setting for setting, _ in found], members


def _seeds(grid: dict[str, Any], seeds: int | None) -> list[Any]:
    """The seeds, taken out of the grid if it names them; None stands for that of the recipe."""
    if SEED in grid:
        if seeds is not None:
            raise InputError("seeds: the values of seed are given as well; give one of them.")
        numbers = list(grid.pop(SEED))
        if len({str(number).strip() for number in numbers}) < len(numbers) or not numbers:
            raise InputError(f"seed: expected different values, got {quoted(','.join(map(str, numbers)))}.")
        return numbers
    if seeds is None:
        return [None]
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise InputError(f"seeds: expected a whole number of at least 1, got {quoted(seeds)}.")
    return list(range(seeds))


def _config(recipe: Recipe, overrides: Any, chosen: Mapping[str, Any], seed: Any) -> Config:
    """The recipe of one run. Words of the command line and values of Python are read as `train` reads them."""
    own = chosen if seed is None else {**chosen, SEED: seed}
    if not isinstance(overrides, Mapping):
        return read_recipe(recipe, [*overrides, *(f"{name}={_word(value)}" for name, value in own.items())])
    return read_recipe(recipe, {**overrides, **own})


def _word(value: Any) -> str:
    """A value as it is written on the command line."""
    structured = value is None or isinstance(value, bool | list | tuple | Mapping)
    return json.dumps(to_dict(value), default=str) if structured else str(value)


def _value(config: Config, name: str) -> Any:
    """The value that a run has under a dotted name."""
    value: Any = to_dict(config)
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return tuple(value) if isinstance(value, list) else str(value) if isinstance(value, dict) else value


def _name(number: int, width: int, setting: Setting, seed: int) -> str:
    """The folder of a run: its number, so that no two are the same, and what it is."""
    words = UNSAFE.sub("_", f"{setting.label} " if setting.values else "")[:LONGEST].strip("_")
    return "_".join(part for part in (f"{number:0{width}}", words, f"seed={seed}") if part)
