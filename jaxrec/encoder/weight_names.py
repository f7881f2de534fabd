"""Matching the tensor names of a checkpoint with places in the parameters."""

import dataclasses
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from jaxrec.checks import InputError
from jaxrec.encoder.architecture import Architecture

# What training programs put around names: torch.compile and FSDP at any depth, data-parallel training and the models of
# sentence-transformers in front.
_INSIDE = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_IN_FRONT = re.compile(r"^(?:module\.)*(?:0\.(?:auto_model|model)\.|auto_model\.)?(?:module\.)*")


class Rule(NamedTuple):
    """One tensor, or one per layer where `name` contains {layer}; `path` is its place in the nested params."""

    name: str
    path: str
    transpose: bool = False  # torch keeps [out, in], Flax [in, out]
    part: int = 0  # which of `parts` equal parts, along the outputs, of a tensor that holds several
    parts: int = 1


class Place(NamedTuple):
    """Where one tensor of a checkpoint goes, or one part of it."""

    rule: Rule
    layer: int | None  # row of the stacked array


@dataclasses.dataclass(frozen=True)
class KeyTable:
    """What a family calls its tensors."""

    rules: tuple[Rule, ...]
    unused: str  # pattern of names that encoders do not need: old buffers and heads of the training task
    prefix: str = ""  # optional, in front of every name
    respell: tuple[tuple[str, str], ...] = ()  # (pattern, replacement) of older spellings

    def places(self, config: Architecture, paths: Iterable[str]) -> Iterator[tuple[str, Place]]:
        """Yield the name and place of every tensor that fills `paths`, the parameters of `config`."""
        paths = set(paths)
        for rule in self.rules:
            if rule.path not in paths:
                continue
            if "{layer}" not in rule.name:
                yield rule.name, Place(rule, None)
                continue
            for layer, kind in enumerate(config.layers):
                if kind.attention_norm or not rule.path.startswith("layers/attention_norm/"):
                    yield rule.name.format(layer=layer), Place(rule, layer)

    def bare(self, name: str) -> str:
        """Remove what programs and tasks put around `name`: wrappers and the optional prefix."""
        return _IN_FRONT.sub("", _INSIDE.sub("", name)).removeprefix(self.prefix)

    def plain(self, name: str) -> str:
        """Remove what stands around `name` and replace older spellings."""
        name = self.bare(name)
        for pattern, replacement in self.respell:
            name = re.sub(pattern, replacement, name)
        return name


def match_keys(
    table: KeyTable, config: Architecture, paths: Iterable[str], names: Iterable[str], where: str
) -> dict[str, list[Place]]:
    """Find the places of each name that is needed; raises InputError that lists missing or unused names."""
    names = list(names)
    _check_once(table, names, where)
    stored = {table.plain(name): name for name in names}
    wanted: dict[str, list[Place]] = {}
    for name, place in table.places(config, paths):
        wanted.setdefault(name, []).append(place)
    if missing := [name for name in wanted if name not in stored]:
        raise InputError(f"{where}: {_listed(missing)} missing; the file does not fit the model's config.")
    unused = [stored[n] for n in stored if n not in wanted and not re.fullmatch(table.unused, n)]
    if unused:
        raise InputError(f"{where}: {_listed(unused)} not part of this architecture; another model's weights?")
    return {stored[name]: places for name, places in wanted.items()}


def _check_once(table: KeyTable, names: list[str], where: str) -> None:
    """Raise if two names differ only in what stands around them: one of two models would be read, silently."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(table.bare(name), name)
        if other != name:
            raise InputError(f"{where}: {other} and {name} are the same tensor of two models; keep one of them.")


def _listed(names: list[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    noun = "tensor" if len(names) == 1 else "tensors"
    return f"{len(names)} {noun} ({', '.join(sorted(names)[:limit])}{more})"
