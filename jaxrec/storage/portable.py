"""Folders of plain arrays and JSON that any JAX program can open: policies, simulators.

FOLDER/arrays/           a nested dict of numpy arrays, written by Orbax; restores on any devices, without a target
FOLDER/description.json  plain data: kind, version, sizes, names
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxrec.checks import InputError
from jaxrec.storage.files import atomic_path, read_json_object, write_json
from jaxrec.storage.inside import check_folder

VERSION = 1


def save_portable(folder: Path, kind: str, arrays: dict[str, Any], description: dict[str, Any]) -> None:
    """Write the folder completely or not at all; `arrays` is a nested dict of arrays, none of them empty."""
    with atomic_path(Path(folder).absolute()) as temporary:
        temporary.mkdir(parents=True)
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(temporary / "arrays", jax.tree.map(np.asarray, arrays))
        write_json(temporary / "description.json", {"kind": kind, "version": VERSION, **description})


def read_description(folder: Path, kind: str) -> dict[str, Any]:
    """Read the JSON next to the arrays; raises InputError unless the folder holds `kind` in a version we can read."""
    path = Path(folder) / "description.json"
    if not path.is_file():
        raise InputError(f"{folder}: no saved {kind} here (description.json is missing); give the folder of one.")
    check_folder(folder)
    where, fix = f"{path}: damaged", f"restore the file or make the {kind} again"
    description = read_json_object(path, fix, where=where)
    if not {"kind", "version"} <= description.keys():
        raise InputError(f"{where}: expected 'kind' and 'version' in it; {fix}.")
    found, version = description["kind"], description["version"]
    if found != kind:
        raise InputError(f"{folder}: holds a {found}, expected a {kind}.")
    if version != VERSION:
        raise InputError(f"{path}: version {version} of the format, expected {VERSION}; use the jaxrec that wrote it.")
    return description


def load_portable(folder: Path, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the arrays as a nested dict of numpy arrays, and the description."""
    folder = Path(folder).absolute()
    description = read_description(folder, kind)
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            arrays = checkpointer.restore(folder / "arrays")
    except Exception as error:  # Orbax and TensorStore raise many kinds for damaged files
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{folder / 'arrays'}: unreadable ({reason}); restore it or make the {kind} again.") from None
    return jax.tree.map(np.asarray, arrays), description
