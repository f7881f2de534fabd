"""The config.json of an encoder that was made smaller."""

import dataclasses
from pathlib import Path
from typing import Any

from jaxrec.checks import InputError
from jaxrec.encoder.architecture import Architecture
from jaxrec.encoder.config_json import parse_architecture

_SIZES = {  # sizes that may differ from the source's, under the names that most families use
    "num_hidden_layers": lambda config: config.num_hidden_layers,
    "num_attention_heads": lambda config: config.num_attention_heads,
    "num_key_value_heads": lambda config: config.num_key_value_heads,
    "head_dim": lambda config: config.head_dim,
    "intermediate_size": lambda config: config.intermediate_size,
}
_OWN_NAMES = {
    "gpt2": {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head", "intermediate_size": "n_inner"},
    "t5": {"num_hidden_layers": "num_layers", "num_attention_heads": "num_heads", "intermediate_size": "d_ff"},
}


def with_sizes(values: dict[str, Any], path: Path, config: Architecture) -> dict[str, Any]:
    """Contents of a config.json with the sizes of `config`, an architecture derived from it.

    Raises InputError if a config.json of the family cannot describe `config`.
    """
    family, stored = parse_architecture(values, path)
    wanted = dataclasses.replace(config, causal=stored.causal)  # a switch that no file stores
    if wanted == stored:
        return values
    names, new = _OWN_NAMES.get(family, {}), dict(values)
    for name, size in _SIZES.items():
        if size(config) != size(stored):
            new[names.get(name, name)] = size(config)
    if config.num_attention_heads != stored.num_attention_heads and family != "t5":  # no longer implied by the width
        new["head_dim"] = config.head_dim
    if len({one.window for one in stored.layers}) > 1:
        new["layer_types"] = ["sliding_attention" if one.window else "full_attention" for one in config.layers]
    elif "layer_types" in values:
        new["layer_types"] = values["layer_types"][: len(config.layers)]
    if parse_architecture(new, path)[1] != wanted:
        raise InputError(f"{path}: a config.json of {family} cannot describe the remaining layers, heads or channels.")
    return new
