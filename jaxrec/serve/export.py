"""A policy as one StableHLO program with its arrays, which any process with JAX can run.

FOLDER/scores.bin        the program, as `jax.export` serialises it: for cpu, cuda and tpu, and any number of users
FOLDER/arrays.npz        its first argument, a list of arrays
FOLDER/description.json  history length, kinds of feedback, context size, platforms
FOLDER/items.json        {"ids": [...], "titles": [...]} of the columns of the scores
FOLDER/load.py           how to use them, in a few lines that need only jax and flatbuffers
"""

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from jaxrec.checks import InputError
from jaxrec.nets.policy import catalogue_scores
from jaxrec.serve.policy import SavedPolicy
from jaxrec.sharding.compile import compiled
from jaxrec.storage.digests import check_replaces_kind, sealed_folder
from jaxrec.storage.files import write_json, write_text
from jaxrec.storage.portable import DESCRIPTION
from jaxrec.types import Array, Observation

KIND = "an exported policy"  # in its description
PLATFORMS = ("cpu", "cuda", "tpu")
LOADER = '''\
"""Scores of every item for histories of items; needs jax and flatbuffers. Try: python load.py ID ID ..."""

import json
import sys
from pathlib import Path

import numpy as np
from jax import export

HERE = Path(__file__).parent
about, items = (json.loads((HERE / f"{n}.json").read_text("utf-8")) for n in ("description", "items"))
program = export.deserialize(bytearray((HERE / "scores.bin").read_bytes()))
arrays = list(np.load(HERE / "arrays.npz").values())


def scores(history, feedback, context=None):
    """Rows of items [B, H] int32, -1: none; feedback [B, H, F]; context [B, C] -> [B, I], -inf: not to be shown."""
    given = (np.int32(history), np.float32(feedback)) + (() if context is None else (np.float32(context),))
    return np.asarray(program.call(arrays, *given))


if __name__ == "__main__":
    rows = [items["ids"].index(one) for one in sys.argv[1:]][-about["history_length"] :]
    history = np.full((1, about["history_length"]), -1)
    history[0, len(history[0]) - len(rows) :] = rows
    feedback = (history >= 0)[..., None] * np.array(about["success"])
    usual = None if about["usual_context"] is None else [about["usual_context"]]
    found = scores(history, feedback, usual)[0]
    for row in [n for n in np.argsort(-found, kind="stable")[:10] if np.isfinite(found[n])]:
        print(f"{found[row]:8.3f}  {items['ids'][row]}  {items['titles'][row]}")
'''


class Exported(NamedTuple):
    """What was written."""

    folder: Path
    num_items: int
    platforms: tuple[str, ...]


def export_policy(saved: SavedPolicy, folder: Path) -> Exported:
    """Write the folder completely or not at all.

    Raises InputError for policies that read more than a history, and if `folder` holds anything but an export.
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise InputError("export: flatbuffers is not installed; run pip install 'jaxrec[export]'.")
    check_replaces_kind(folder, KIND)
    success = saved.histories.success
    saved.check_reads_history_only()
    program, arrays, size = _program(saved)
    usual = saved.world.usual_context
    description: dict[str, Any] = {
        "kind": KIND,
        "step": saved.step,
        "history_length": saved.spec.history_length,
        "feedback": list(saved.spec.feedback),
        "success": success,
        "context_size": size,
        "usual_context": [float(x) for x in (np.zeros(size) if usual is None else usual)] if size else None,
        "num_items": len(saved.ids),
        "repeats": saved.spec.repeats,
        "platforms": list(PLATFORMS),
    }
    with sealed_folder(folder.absolute()) as temporary:
        (temporary / "scores.bin").write_bytes(program)
        with (temporary / "arrays.npz").open("wb") as file:
            np.savez(file, *arrays)
        write_json(temporary / DESCRIPTION, description)
        write_json(temporary / "items.json", {"ids": list(saved.ids), "titles": list(saved.titles)}, indent=None)
        write_text(temporary / "load.py", LOADER)
    return Exported(folder, len(saved.ids), PLATFORMS)


def _program(saved: SavedPolicy) -> tuple[bytes, list[np.ndarray], int]:
    """The serialised program, its arrays, and the size of its context (0: it takes none)."""
    leaves, structure = jax.tree.flatten((saved.params, saved.items, saved.world))
    types = [leaf.dtype for leaf in leaves]
    # numpy files know no bfloat16: such arrays are stored as float32, which holds them exactly.
    arrays = [np.asarray(x, np.float32) if x.dtype == jnp.bfloat16 else np.asarray(x) for x in leaves]
    size = saved.spec.context_size

    def scores(arrays: list[Array], history: Array, feedback: Array, context: Array | None = None) -> Array:
        typed = [array.astype(kind) for array, kind in zip(arrays, types, strict=True)]
        params, items, world = jax.tree.unflatten(structure, typed)
        obs = Observation(context=context, history_items=history, history_feedback=feedback)
        return catalogue_scores(saved.policy, params, items, obs, world)

    length, kinds = saved.spec.history_length, len(saved.spec.feedback)
    (users,) = export.symbolic_shape("users")
    shapes: list[Any] = [
        [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in arrays],
        jax.ShapeDtypeStruct((users, length), jnp.int32),
        jax.ShapeDtypeStruct((users, length, kinds), jnp.float32),
    ]
    if size:
        shapes.append(jax.ShapeDtypeStruct((users, size), jnp.float32))
    try:
        program = export.export(compiled(scores), platforms=PLATFORMS)(*shapes)
        return bytes(program.serialize()), arrays, size
    except (ValueError, TypeError, RuntimeError) as error:  # JAX raises all three for what it cannot export
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"export: this policy cannot be written for any number of users and all of {', '.join(PLATFORMS)} "
            f"({type(error).__name__}: {reason}); serve it with `jaxrec serve` instead."
        ) from None
