"""Names of published checkpoints and where each tensor goes: one table a model family."""

import dataclasses
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from jaxrec.checks import InputError


class Rule(NamedTuple):
    """One tensor, or one a layer where `name` says {layer}; `path` is its place in the nested params."""

    name: str
    path: str
    transpose: bool = False  # torch keeps [out, in], Flax [in, out]


class Place(NamedTuple):
    """Where one tensor of a checkpoint goes."""

    path: str
    layer: int | None  # row of the stacked array
    transpose: bool


@dataclasses.dataclass(frozen=True)
class KeyTable:
    """What a family calls its tensors."""

    rules: tuple[Rule, ...]
    prefixes: tuple[str, ...]  # may stand before every name
    unused: str  # pattern of names that encoders do not need: old buffers and heads of the training task

    def places(self, layers: int) -> Iterator[tuple[str, Place]]:
        """Yield the name and place of every tensor that a model of `layers` layers must have."""
        for rule in self.rules:
            if "{layer}" not in rule.name:
                yield rule.name, Place(rule.path, None, rule.transpose)
                continue
            for layer in range(layers):
                yield rule.name.format(layer=layer), Place(rule.path, layer, rule.transpose)

    def plain(self, name: str) -> str:
        """Take an optional prefix off `name` and spell old names (`LayerNorm.gamma`, `.beta`) the new way."""
        for prefix in self.prefixes:
            name = name.removeprefix(prefix)
        return re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name))


def match_keys(table: KeyTable, names: Iterable[str], layers: int, where: str) -> dict[str, Place]:
    """Give the place of each name that is needed; missing and unused names are errors that list them."""
    stored = {table.plain(name): name for name in names}
    wanted = dict(table.places(layers))
    if missing := [name for name in wanted if name not in stored]:
        raise InputError(f"{where}: {_listed(missing)} missing; the file does not fit its config.json.")
    unused = [stored[n] for n in stored if n not in wanted and not re.fullmatch(table.unused, n)]
    if unused:
        raise InputError(f"{where}: {_listed(unused)} not part of this architecture; another model's weights?")
    return {stored[name]: place for name, place in wanted.items()}


def _listed(names: list[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    noun = "tensor" if len(names) == 1 else "tensors"
    return f"{len(names)} {noun} ({', '.join(sorted(names)[:limit])}{more})"


def _dense(name: str, path: str) -> tuple[Rule, Rule]:
    return Rule(f"{name}.weight", f"{path}/kernel", transpose=True), Rule(f"{name}.bias", f"{path}/bias")


def _norm(name: str, path: str) -> tuple[Rule, Rule]:
    return Rule(f"{name}.weight", f"{path}/scale"), Rule(f"{name}.bias", f"{path}/bias")


_LAYER = "encoder.layer.{layer}"
BERT_KEYS = KeyTable(
    rules=(
        Rule("embeddings.word_embeddings.weight", "words/embedding"),
        Rule("embeddings.position_embeddings.weight", "positions/embedding"),
        Rule("embeddings.token_type_embeddings.weight", "segments/embedding"),
        *_norm("embeddings.LayerNorm", "embedding_norm"),
        *_dense(f"{_LAYER}.attention.self.query", "layers/query"),
        *_dense(f"{_LAYER}.attention.self.key", "layers/key"),
        *_dense(f"{_LAYER}.attention.self.value", "layers/value"),
        *_dense(f"{_LAYER}.attention.output.dense", "layers/attention_output"),
        *_norm(f"{_LAYER}.attention.output.LayerNorm", "layers/attention_norm"),
        *_dense(f"{_LAYER}.intermediate.dense", "layers/mlp_in"),
        *_dense(f"{_LAYER}.output.dense", "layers/mlp_out"),
        *_norm(f"{_LAYER}.output.LayerNorm", "layers/mlp_norm"),
    ),
    prefixes=("bert.",),
    unused=r"embeddings\.position_ids|pooler\..*|cls\..*",
)
