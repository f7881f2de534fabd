"""Reading safetensors into the nested dict of parameters, array by array, every shape checked first."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open

from jaxrec.checks import InputError
from jaxrec.encoder.architecture import Architecture
from jaxrec.encoder.folder import read_json
from jaxrec.encoder.weight_names import KeyTable, Rule, match_keys
from jaxrec.storage.inside import inside
from jaxrec.types import Params

Layout = Callable[[str, tuple[int, ...]], jax.sharding.Sharding]  # path and shape of an array -> its sharding

_FLOATS = ("F32", "F16", "BF16", "F64")
_CONVERT = (
    "AutoModel.from_pretrained(FOLDER).save_pretrained(FOLDER), or for a folder with modules.json "
    "SentenceTransformer(FOLDER).save_pretrained(FOLDER)"
)


def weight_files(folder: Path) -> list[Path]:
    """Find the safetensors files of a model, one or as many as its index names; pickles are rejected."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        shards = read_json(index).get("weight_map")
        if not isinstance(shards, dict) or not shards or not all(isinstance(f, str) for f in shards.values()):
            raise InputError(f"{index}: expected an object 'weight_map' of tensor names to files; fetch it again.")
        files = [inside(folder, name, f"{index}: weight_map") for name in sorted(set(shards.values()))]
        if lost := [path.name for path in files if not path.is_file()]:
            raise InputError(f"{folder}: {', '.join(lost)} missing, named by {index.name}; fetch the model again.")
        return files
    if pickles := sorted(p.name for p in folder.glob("*") if p.suffix in {".bin", ".pt", ".pth", ".ckpt"}):
        raise InputError(
            f"{folder / pickles[0]}: a pickle can run any code and is not loaded; convert it where torch and "
            f"transformers are installed: {_CONVERT}."
        )
    raise InputError(f"{folder}: no model.safetensors; give a folder with safetensors weights (pickles are not read).")


def open_safetensors(file: Path) -> Any:
    """Open a safetensors file: a context with `keys()` and `get_slice(name)`, which is read when it is indexed."""
    try:
        return safe_open(file, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file}: not a whole safetensors file ({error}); fetch it again.") from None


def read_params(
    files: list[Path],
    table: KeyTable,
    shapes: Params,
    config: Architecture,
    layout: Layout | None = None,
    open_file: Callable[[Path], Any] = open_safetensors,
) -> Params:
    """Fill the tree `shapes` (of arrays or ShapeDtypeStructs) from `files`, in its dtypes.

    Tensors of one kind are stacked over a leading axis of layers; rows that a family does not have are ones. With
    `layout` each device's part of an array is read from the files separately, so that no host ever holds a whole
    model. Raises InputError with the names of tensors that are missing, not expected, or not of the shape that the
    config implies.
    """
    flat: Any = flatten_dict(shapes, sep="/")
    where = str(files[0] if len(files) == 1 else files[0].parent)
    with contextlib.ExitStack() as stack:
        handles = {file: stack.enter_context(open_file(file)) for file in files}
        owner: dict[str, Path] = {}
        for file, handle in handles.items():
            owner.update(dict.fromkeys(handle.keys(), file))
        sources: dict[str, list[_Source]] = {path: [] for path in flat}
        for name, places in match_keys(table, config, flat, owner, where).items():
            for rule, layer in places:
                shape = flat[rule.path].shape if layer is None else flat[rule.path].shape[1:]
                want = (*shape[:-1], shape[-1] * rule.parts)
                stored = _checked(handles[owner[name]], name, want[::-1] if rule.transpose else want, owner[name])
                sources[rule.path].append(_Source(stored, rule, layer, shape[-1]))
        assert all(sources.values()), "the family's key table has no name for some array"
        return unflatten_dict({path: _array(path, flat[path], sources[path], layout) for path in flat}, sep="/")


class _Source(NamedTuple):
    """Where an array, or one of its rows, comes from."""

    stored: Any  # lazy slice of a file
    rule: Rule
    layer: int | None
    width: int  # of the part, along the outputs


def _array(path: str, want: Any, sources: list[_Source], layout: Layout | None) -> jax.Array:
    def read(index: Any) -> np.ndarray:
        block = np.ones([len(range(*one.indices(n))) for one, n in zip(index, want.shape, strict=True)], want.dtype)
        for source in sources:
            if source.layer is None:
                block[...] = _block(source, index)
                continue
            rows = range(*index[0].indices(want.shape[0]))
            if source.layer in rows:
                block[source.layer - rows.start] = _block(source, index[1:])
        return block

    if layout is None:
        return jnp.asarray(read((slice(None),) * len(want.shape)))
    return jax.make_array_from_callback(want.shape, layout(path, want.shape), read)


def _block(source: _Source, index: tuple[slice, ...]) -> np.ndarray:
    """Read the part of a tensor that `index` selects, in the layout of the parameters."""
    stored, rule, _, width = source
    start, stop, _ = index[-1].indices(width)
    index = (*index[:-1], slice(start + rule.part * width, stop + rule.part * width))
    return stored[index[::-1]].T if rule.transpose else stored[index]


def read_tensors(file: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Read exactly the tensors `shapes` names from a small file; float32."""
    with open_safetensors(file) as handle:
        if set(handle.keys()) != set(shapes):
            raise InputError(f"{file}: expected tensors {', '.join(shapes)}, got {', '.join(handle.keys())}.")
        return {name: _checked(handle, name, want, file)[:].astype(np.float32) for name, want in shapes.items()}


def _checked(handle: Any, name: str, want: tuple[int, ...], file: Path) -> Any:
    """Check the type and shape of a tensor; gives its lazy slice."""
    stored = handle.get_slice(name)
    if stored.get_dtype() not in _FLOATS:
        got = f"{stored.get_dtype()}; take weights that are not quantised"
        raise InputError(f"{file}: {name}: expected {', '.join(_FLOATS)}, got {got}.")
    got = tuple(stored.get_shape())
    if got != want:
        raise InputError(f"{file}: {name}: expected shape {want} by the model's config, got {got}.")
    return stored
