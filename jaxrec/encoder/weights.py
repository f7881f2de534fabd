"""Reading safetensors into the nested dict of parameters, tensor by tensor, every shape checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open

from jaxrec.checks import InputError
from jaxrec.encoder.architecture import Architecture
from jaxrec.encoder.folder import read_json
from jaxrec.encoder.keys import KeyTable, Place, match_keys
from jaxrec.types import Params

_FLOATS = ("F32", "F16", "BF16", "F64")
_CONVERT = "AutoModel.from_pretrained(FOLDER).save_pretrained(FOLDER, safe_serialization=True)"


def weight_files(folder: Path) -> list[Path]:
    """Give the safetensors files of a model, one or as many as its index names; pickles are refused."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        shards = read_json(index).get("weight_map")
        if not isinstance(shards, dict) or not shards or not all(isinstance(f, str) for f in shards.values()):
            raise InputError(f"{index}: expected an object 'weight_map' of tensor names to files; fetch it again.")
        files = [folder / name for name in sorted(set(shards.values()))]
        if lost := [path.name for path in files if not path.is_file()]:
            raise InputError(f"{folder}: {', '.join(lost)} missing, named by {index.name}; fetch the model again.")
        return files
    if pickles := sorted(p.name for p in folder.glob("*") if p.suffix in {".bin", ".pt", ".pth", ".ckpt"}):
        raise InputError(
            f"{folder / pickles[0]}: a pickle can run any code and is not loaded; convert it where torch and "
            f"transformers are installed: {_CONVERT}."
        )
    raise InputError(f"{folder}: no model.safetensors; give a folder with safetensors weights (pickles are not read).")


def read_params(files: list[Path], table: KeyTable, shapes: Params, config: Architecture) -> Params:
    """Fill the tree `shapes` (of arrays or ShapeDtypeStructs) from `files`, in its dtypes.

    Tensors of one kind are stacked over a leading axis of layers; rows that a family does not have are ones.
    Raises InputError with the names of tensors that are missing, not wanted, or not of the shape that the config
    implies.
    """
    owner = _owners(files)
    where = str(files[0] if len(files) == 1 else files[0].parent)
    flat: Any = flatten_dict(shapes, sep="/")
    places = match_keys(table, config, flat, owner, where)
    host = {path: np.ones(want.shape, want.dtype) for path, want in flat.items()}
    for file in files:
        with _opened(file) as handle:
            for name in (n for n in places if owner[n] == file):
                _copy(handle, name, places[name], host, file)
    return jax.tree.map(jnp.asarray, unflatten_dict(host, sep="/"))


def read_tensors(file: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Read exactly the tensors `shapes` names from a small file; float32."""
    with _opened(file) as handle:
        if set(handle.keys()) != set(shapes):
            raise InputError(f"{file}: expected tensors {', '.join(shapes)}, got {', '.join(handle.keys())}.")
        return {name: _tensor(handle, name, want, file).astype(np.float32) for name, want in shapes.items()}


def _owners(files: list[Path]) -> Mapping[str, Path]:
    owner = {}
    for file in files:
        with _opened(file) as handle:
            owner.update(dict.fromkeys(handle.keys(), file))
    return owner


def _opened(file: Path):
    try:
        return safe_open(file, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file}: not a whole safetensors file ({error}); fetch it again.") from None


def _copy(handle, name: str, places: list[Place], host: dict[str, np.ndarray], file: Path) -> None:
    """Copy one tensor into its places: arrays of `host`, or their rows where they are stacked."""
    rule = places[0].rule
    targets = [host[p.rule.path] if p.layer is None else host[p.rule.path][p.layer] for p in places]
    want = (*targets[0].shape[:-1], targets[0].shape[-1] * rule.parts)
    tensor = _tensor(handle, name, want[::-1] if rule.transpose else want, file)
    tensor = tensor.T if rule.transpose else tensor
    for place, target in zip(places, targets, strict=True):
        target[...] = np.split(tensor, rule.parts, axis=-1)[place.rule.part]


def _tensor(handle, name: str, want: tuple[int, ...], file: Path) -> np.ndarray:
    stored = handle.get_slice(name)
    if stored.get_dtype() not in _FLOATS:
        got = f"{stored.get_dtype()}; take weights that are not quantised"
        raise InputError(f"{file}: {name}: expected {', '.join(_FLOATS)}, got {got}.")
    got = tuple(stored.get_shape())
    if got != want:
        raise InputError(f"{file}: {name}: expected shape {want} by config.json, got {got}.")
    return handle.get_tensor(name)
