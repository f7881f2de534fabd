"""Arrays of a checkpoint: what is saved, what is expected, and whether numbers can be right."""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.checks import InputError
from jaxrec.storage.array_headers import ArrayHeader, array_headers
from jaxrec.storage.steps import ARRAYS, FIX

PARAMETERS = {"params", "target_params", "trained", "encoder"}  # parts of a state that hold parameters
LARGEST_PARAMETER = 1e5  # no network that works has parameters beyond it


class Insane(InputError):
    """The state of a checkpoint has parameters that are not finite or too large: it would go on from noise."""


def headers_of(state: Any) -> dict[str, ArrayHeader]:
    """What Orbax writes of a state, by dotted name."""
    headers = {}
    for path, x in jax.tree_util.tree_leaves_with_path(state):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x = jax.eval_shape(jax.random.key_data, x)
        headers[_name(path)] = ArrayHeader(tuple(x.shape), x.dtype)
    return headers


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def check_same_arrays(where: Path, abstract: Any) -> None:
    """Refuse arrays of another type or shape, since Orbax would cast the former and sometimes pad or cut the latter."""
    saved = array_headers(where / ARRAYS)
    for name, want in headers_of(abstract).items():
        got = saved.get(name)
        if got is not None and got != want:
            raise InputError(
                f"{where}: {name} has shape {got.shape} {got.dtype}, but this run's learner "
                f"expects {want.shape} {want.dtype}; resume with the recipe that wrote it."
            )


def check_parameters(where: Path, state: Any) -> None:
    """Raise Insane if a parameter of the state is not finite, or larger than those of a network that works."""
    for path, x in jax.tree_util.tree_leaves_with_path(state):
        name = _name(path)
        if PARAMETERS.isdisjoint(name.split(".")) or not jnp.issubdtype(x.dtype, jnp.floating):
            continue
        size = float(jnp.abs(x).max(initial=0.0))
        if not math.isfinite(size):
            raise Insane(f"{where}: {name} holds numbers that are not finite; {FIX}.")
        if size > LARGEST_PARAMETER:
            raise Insane(f"{where}: {name} reaches {size:.2g} (sane up to {LARGEST_PARAMETER:.0e}); {FIX}.")


def abstract_like(state: Any, shardings: Any) -> Any:
    """Combine an abstract state and its shardings into ShapeDtypeStructs, the target of `Checkpoints.restore`."""
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, shardings)
