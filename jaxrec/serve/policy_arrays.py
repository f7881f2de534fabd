"""Whether the arrays of a policy folder are those that its description promises."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from jaxrec.checks import InputError
from jaxrec.nets.policy import Policy
from jaxrec.nets.tastes import Tastes, as_arrays, from_arrays
from jaxrec.storage.portable import wrong_shape
from jaxrec.types import EnvSpec, Params, World


def check_world(folder: Path, spec: EnvSpec, world: World) -> None:
    """Raise InputError unless the arrays that the policy reads are those of the description."""
    table, some, usual = world.item_table, world.recommendable, world.usual_context
    if table.ndim != 2 or (spec.history_length and table.shape[0] != spec.num_items):
        wanted = f"({spec.num_items}, any)"
        raise InputError(f"{folder}: item_table has shape {table.shape}, expected {wanted}; copy the folder again.")
    if some is not None and not ((some >= 0) & (some < table.shape[0])).all():
        raise InputError(f"{folder}: recommendable has numbers of items that are not there; copy the folder again.")
    if usual is not None and usual.shape != (spec.context_size,):
        raise InputError(
            f"{folder}: usual_context has shape {usual.shape}, expected ({spec.context_size},); copy the folder again."
        )


def read_tastes(arrays: dict[str, Any], spec: EnvSpec) -> Tastes:
    """Build the tastes that a policy with `belief` reads; raises ValueError unless they are of its items."""
    tastes = from_arrays(jax.tree.map(jnp.asarray, arrays), spec.feedback)
    if len(np.shape(tastes.item_vectors)) != 2:
        raise ValueError(f"tastes.item_vectors has shape {np.shape(tastes.item_vectors)}, expected a table")
    kinds, size = len(spec.feedback), tastes.item_vectors.shape[1]
    belief, square = (kinds, 1 + size), (kinds, 1 + size, 1 + size)
    wanted: dict[str, Any] = {
        "item_vectors": (spec.num_items, size),
        "item_logits": (spec.num_items, kinds),
        "population": {"mean": belief, "covariance": square},
        "link": dict.fromkeys(("scale", "shift", "low", "high", "spread"), (kinds,)),
        "effects": {"alike": (kinds,), "mood": (kinds,), "keep": (2,), "context": (spec.context_size, kinds)},
        "exposure": {"weights": (kinds, size, size), "centre": (size,), "covariance": square},
    }
    wanted["expecting"] = wanted["link"]
    shapes: Any = flatten_dict(wanted, sep=".")
    found: Any = flatten_dict(as_arrays(tastes), sep=".")
    if (width := np.shape(found.get("effects.directions", 0))[1:]) and len(width) == 1:
        shapes["effects.directions"] = (spec.num_items, *width)
    for name, array in found.items():
        if np.shape(array) != shapes.get(name):
            raise ValueError(f"tastes.{name} has shape {np.shape(array)}, expected {shapes.get(name, 'no such array')}")
    return tastes


def check_params(folder: Path, policy: Policy, params: Params, world: World) -> None:
    """Raise InputError unless the arrays are parameters of the network in the description."""
    want = jax.eval_shape(policy.init, jax.random.key(0), world)
    if wrong := wrong_shape(want, params):
        raise InputError(f"{folder}: {wrong}; arrays and description are not of one policy; copy the folder again.")
