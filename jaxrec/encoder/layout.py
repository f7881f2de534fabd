"""Sharding of an encoder's parameters: logical axes of each parameter, and one table from them to mesh axes."""

from collections.abc import Mapping
from typing import Any

import jax
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxrec.checks import InputError
from jaxrec.encoder.architecture import Architecture
from jaxrec.sharding.mesh import MODEL
from jaxrec.types import Params

RULES: Mapping[str, str | None] = {"heads": MODEL, "kv_heads": MODEL, "mlp": MODEL, "vocab": MODEL, "embed": None}
_INPUTS = {"query": "heads", "key": "kv_heads", "value": "kv_heads", "mlp_in": "mlp", "mlp_gate": "mlp"}
_OUTPUTS = {"attention_output": "heads", "mlp_out": "mlp"}


def logical_axes(path: str, ndim: int) -> tuple[str | None, ...]:
    """Names of the axes of the parameter at `path` ('layers/query/kernel'); None where an axis has no name."""
    if path == "words/embedding":
        return ("vocab", "embed")
    if path == "relative/embedding":
        return (None, "heads")
    parts = path.split("/")
    if parts[0] == "layers" and parts[1] in _INPUTS:
        wide = _INPUTS[parts[1]]
        return (None, "embed", wide) if parts[2] == "kernel" else (None, wide)
    if parts[0] == "layers" and parts[1] in _OUTPUTS and parts[2] == "kernel":
        return (None, _OUTPUTS[parts[1]], "embed")
    return (None,) * ndim


def sharding_of(
    path: str,
    shape: tuple[int, ...],
    config: Architecture,
    mesh: Mesh,
    rules: Mapping[str, str | None] = RULES,
) -> NamedSharding:
    """Sharding of the parameter at `path` over `mesh`.

    An axis is replicated if the mesh axis does not divide its number of heads, channels or words. Raises InputError if
    `rules` map two axes of one parameter to the same mesh axis.
    """
    counts = {
        "heads": config.num_attention_heads,
        "kv_heads": config.num_key_value_heads,
        "mlp": config.intermediate_size,
        "vocab": config.vocab_size,
        "embed": config.hidden_size,
    }
    names = logical_axes(path, len(shape))
    laid = [rules.get(name) if name else None for name in names]
    used = [axis for axis in laid if axis]
    if len(set(used)) < len(used):
        raise InputError(f"rules: {path} has axes {names}, two of which map to {used[0]!r}; change one rule.")
    pairs = zip(names, laid, strict=True)
    fits = (axis if name and axis and not counts[name] % mesh.shape[axis] else None for name, axis in pairs)
    return NamedSharding(mesh, PartitionSpec(*fits))


def lay_out(params: Params, config: Architecture, mesh: Mesh) -> Params:
    """Place parameters on `mesh`: sharded over its model axis, replicated over its data axis."""
    flat: dict[str, Any] = flatten_dict(params, sep="/")  # type: ignore[assignment]
    laid = {path: jax.device_put(x, sharding_of(path, x.shape, config, mesh)) for path, x in flat.items()}
    return unflatten_dict(laid, sep="/")
