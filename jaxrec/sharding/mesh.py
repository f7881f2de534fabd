"""The device mesh and PartitionSpecs by rule.

State whose leading axis is the logical shards is split over the `data` axis. Network parameters, counters and world
parameters are on every device. XLA then adds the all-reduce of the gradients; no collectives are written here.
"""

from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxrec.checks import InputError

DATA, MODEL = "data", "model"


def make_mesh(devices: int = 0) -> Mesh:
    """Lay `devices` devices (0: all that JAX sees, those of all processes) along the `data` axis."""
    present = jax.devices()
    if devices not in (0, len(present)) and jax.process_count() > 1:
        raise InputError(
            f"train.devices: expected 0 or all {len(present)} devices of the {jax.process_count()} processes, "
            f"got {devices}."
        )
    if devices > len(present):
        raise InputError(f"train.devices: expected at most the {len(present)} devices present, got {devices}.")
    return _mesh_of(present[: devices or len(present)])


def own_mesh() -> Mesh:
    """Lay the devices of this process along the `data` axis, for work that other processes do not share."""
    return _mesh_of(jax.local_devices())


def _mesh_of(devices: list[Any]) -> Mesh:
    # Sizes are positional: jax 0.11 renamed the keyword. Axes are Auto: Explicit, the default, refuses gathers.
    return jax.make_mesh((len(devices), 1), (DATA, MODEL), (AxisType.Auto,) * 2, devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding that puts a copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def over_data(x: Any, mesh: Mesh | None) -> Any:
    """Split the leading axis of all leaves over the data axis in a compiled program; without a mesh, do nothing."""
    if mesh is None or mesh.size == 1:
        return x
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, PartitionSpec(DATA)))


def check_shards(mesh: Mesh, num_shards: int) -> None:
    """Raise InputError unless every device gets the same number of logical shards."""
    devices = mesh.shape[DATA]
    if num_shards % devices:
        raise InputError(
            f"learner.num_shards: {devices} devices do not divide {num_shards} logical shards; "
            f"set learner.num_shards to a multiple of {devices}, or train.devices to a divisor of {num_shards}."
        )


def state_shardings(mesh: Mesh, state: Any, sharded_fields: tuple[str, ...], num_shards: int) -> Any:
    """Shardings of a learner's state: fields in `sharded_fields` have [S, ...] leaves and are split, others replicated.

    Scalars in such a field (counters) are replicated too. `state` may be abstract (`jax.eval_shape`). Raises
    InputError if the number of devices does not divide the number of shards.
    """
    check_shards(mesh, num_shards)
    laid = NamedSharding(mesh, PartitionSpec(DATA))

    def by_rule(path: tuple, leaf: Any) -> NamedSharding:
        named = getattr(path[0], "name", None) in sharded_fields
        return laid if named and leaf.ndim else replicated(mesh)

    return jax.tree_util.tree_map_with_path(by_rule, state)
