"""An encoder without some of its layers, attention heads and MLP channels: smaller products, same inputs.

Layers are stacked for the scan, so all of them keep equally many heads and channels, though not the same ones.
Neighbouring query heads that share a key head stay or go together.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.checks import InputError, check_range
from jaxrec.encoder.architecture import Architecture
from jaxrec.encoder.load import Encoder, with_weights
from jaxrec.types import Params

_WIDE = ("mlp_in", "mlp_gate")  # whose outputs are the channels; `mlp_out` reads them


def keep_layers(enc: Encoder, layers: Sequence[int]) -> Encoder:
    """The encoder with only `layers`, in their order."""
    count = enc.config.num_hidden_layers
    if not layers or sorted(set(layers)) != list(layers) or not 0 <= layers[0] <= layers[-1] < count:
        raise InputError(f"layers: expected increasing layer numbers below {count}, got {list(layers)}.")
    rows = np.array(layers)
    stacked = flatten_dict(enc.params["layers"])
    kept: Any = unflatten_dict({path: jnp.asarray(x)[rows] for path, x in stacked.items()})
    kinds = tuple(enc.config.layers[layer] for layer in layers)
    return with_weights(enc, dataclasses.replace(enc.config, layers=kinds), {**enc.params, "layers": kept})


def keep_heads(enc: Encoder, groups: np.ndarray) -> Encoder:
    """The encoder with the key heads `groups` [L, n] of each layer, increasing, and the query heads that read them.

    Relative positions have one table of heads for all layers, so their rows must be equal.
    """
    config = enc.config
    groups = _checked("groups", groups, config, config.num_key_value_heads)
    if config.relative_buckets and (groups != groups[:1]).any():
        raise InputError("groups: expected the same heads in all layers, which share a table of relative positions.")
    shared = config.num_attention_heads // config.num_key_value_heads
    heads = (groups[:, :, None] * shared + np.arange(shared)).reshape(len(groups), -1)
    columns = {"query": _blocks(heads, config.head_dim), "key": _blocks(groups, config.head_dim)}
    columns |= {"value": columns["key"]}
    layers = _taken(enc.params["layers"], columns, {"attention_output": columns["query"]})
    params = {**enc.params, "layers": layers}
    if config.relative_buckets:
        params["relative"] = {"embedding": jnp.asarray(enc.params["relative"]["embedding"])[:, heads[0]]}
    sizes = {"num_attention_heads": heads.shape[1], "num_key_value_heads": groups.shape[1]}
    return with_weights(enc, dataclasses.replace(config, **sizes), params)


def keep_channels(enc: Encoder, channels: np.ndarray) -> Encoder:
    """The encoder with the MLP channels [L, n] of each layer, increasing."""
    channels = _checked("channels", channels, enc.config, enc.config.intermediate_size)
    layers = _taken(enc.params["layers"], dict.fromkeys(_WIDE, channels), {"mlp_out": channels})
    config = dataclasses.replace(enc.config, intermediate_size=channels.shape[1])
    return with_weights(enc, config, {**enc.params, "layers": layers})


def _checked(name: str, chosen: np.ndarray, config: Architecture, count: int) -> np.ndarray:
    if chosen.ndim != 2 or len(chosen) != config.num_hidden_layers:
        raise InputError(f"{name}: expected one row for each of {config.num_hidden_layers} layers, got {chosen.shape}.")
    check_range(f"number of {name}", chosen.shape[1], 1, count)
    if (np.diff(chosen, axis=1) <= 0).any() or chosen.min() < 0 or chosen.max() >= count:
        raise InputError(f"{name}: expected increasing numbers below {count} in each layer.")
    return chosen


def _blocks(units: np.ndarray, size: int) -> np.ndarray:
    """Positions [L, n * size] of units [L, n] that are `size` wide each."""
    return (units[:, :, None] * size + np.arange(size)).reshape(len(units), -1)


def _taken(layers: Params, columns: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> Params:
    """Stacked layers with the outputs `columns` of some dense layers and the inputs `rows` of others."""
    flat: dict[tuple[str, ...], Any] = flatten_dict(layers)  # type: ignore[assignment]
    new = dict(flat)
    for (name, kind), x in flat.items():
        if name in columns:
            places = columns[name] if kind == "bias" else columns[name][:, None]
            new[name, kind] = jnp.take_along_axis(jnp.asarray(x), places, axis=-1)
        elif name in rows and kind == "kernel":
            new[name, kind] = jnp.take_along_axis(jnp.asarray(x), rows[name][:, :, None], axis=1)
    return unflatten_dict(new)
