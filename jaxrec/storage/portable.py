"""Folders of plain arrays and JSON that any JAX program can open: policies, simulators.

FOLDER/arrays/           a nested dict of numpy arrays, written by Orbax; restores on any devices, without a target
FOLDER/description.json  plain data: kind, version, sizes, names
FOLDER/digests.xxh128    digests of all files (`jaxrec.storage.digests`)
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrec.bounded import JSON_BYTES, check_size
from jaxrec.checks import InputError
from jaxrec.storage.array_headers import array_headers
from jaxrec.storage.checkpoint import ONE_SAVE
from jaxrec.storage.checkpoint_arrays import headers_of
from jaxrec.storage.digests import DESCRIPTION, check_described, check_digests, sealed_folder
from jaxrec.storage.files import check_orbax_path, read_json_object, write_json
from jaxrec.storage.inside import check_folder
from jaxrec.storage.orbax import alone

VERSION = 1
ARRAYS = "arrays"
ITEMS_BYTES = 4 * 2**30  # of items.json next to the arrays, at most


def save_portable(folder: Path, kind: str, arrays: dict[str, Any], description: dict[str, Any]) -> None:
    """Write the folder completely or not at all, sealed; `arrays` is a nested dict of arrays, none of them empty.

    Raises InputError if there is a folder that jaxrec did not write.
    """
    with sealed_folder(Path(folder).absolute()) as temporary:
        write_portable(temporary, kind, arrays, description)


def write_portable(folder: Path, kind: str, arrays: dict[str, Any], description: dict[str, Any]) -> None:
    """Write the parts of `save_portable` into a folder that is sealed later, perhaps with more in it."""
    check_orbax_path(folder)
    arrays = jax.tree.map(np.asarray, arrays)
    with ONE_SAVE, alone() as checkpointer:
        checkpointer.save(folder / ARRAYS, arrays)
    if array_headers(folder / ARRAYS) != headers_of(arrays):
        raise InputError(f"{folder / ARRAYS}: not all arrays were saved; check the disk and save again.")
    # What once was sealed is not whole without its digests.
    write_json(folder / DESCRIPTION, {"kind": kind, "version": VERSION, "sealed": True, **description})


def read_description(folder: Path, kind: str) -> dict[str, Any]:
    """Read the JSON next to the arrays; raises InputError unless the folder is whole and holds `kind`."""
    path, fix = Path(folder) / DESCRIPTION, f"restore the folder or make the {kind} again"
    if not path.is_file():
        raise InputError(f"{folder}: no saved {kind} here ({DESCRIPTION} is missing); give the folder of one.")
    check_folder(Path(folder))
    check_size(path, JSON_BYTES)  # before its digest, which reads all of it
    check_digests(Path(folder), fix, must=False)
    description = read_json_object(path, fix, where=(where := f"{path}: damaged"))
    if not {"kind", "version"} <= description.keys():
        raise InputError(f"{where}: expected 'kind' and 'version' in it; {fix}.")
    check_described(Path(folder), description, fix)
    found, version = description["kind"], description["version"]
    if found != kind:
        raise InputError(f"{folder}: holds a {found}, expected a {kind}; give the folder of a {kind}.")
    if version != VERSION:
        raise InputError(f"{path}: version {version} of the format, expected {VERSION}; use the jaxrec that wrote it.")
    return description


def load_portable(folder: Path, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the arrays as a nested dict of numpy arrays, and the description.

    Raises InputError if the folder is not whole, or holds numbers that are not finite.
    """
    folder = Path(folder).absolute()
    description = read_description(folder, kind)
    try:
        with alone() as checkpointer:
            arrays = jax.tree.map(np.asarray, checkpointer.restore(folder / ARRAYS))
    except Exception as error:  # Orbax and TensorStore raise many kinds for damaged files
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{folder / ARRAYS}: unreadable ({reason}); restore it or make the {kind} again.") from None
    for path, x in jax.tree_util.tree_leaves_with_path(arrays):
        if jax.numpy.issubdtype(x.dtype, jax.numpy.floating) and not np.isfinite(x).all():
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            raise InputError(f"{folder / ARRAYS}: {name} holds numbers that are not finite; make the {kind} again.")
    return arrays, description


def wrong_shape(want: Any, found: Any) -> str:
    """The first array by name whose shape in the tree `found` is not that in `want`, in words; empty if none is."""
    wanted, shapes = (
        {jax.tree_util.keystr(path): x.shape for path, x in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (want, found)
    )
    for name in sorted(wanted.keys() | shapes.keys()):
        if wanted.get(name) != shapes.get(name):
            return f"params{name} has shape {shapes.get(name)}, but description.json asks for {wanted.get(name)}"
    return ""
