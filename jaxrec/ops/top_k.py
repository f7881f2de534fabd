"""The K best of each row, computed on the device that holds the row.

XLA runs TopK of rows spread over several devices on one gathered copy (every device then ranks every user). The rows
are independent, so this file lets the partitioner split all axes but the last.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import custom_partitioning

from jaxrec.types import Array

FEW = 32  # candidates up to which K passes beat a sort


def top_k(scores: Array, k: int) -> tuple[Array, Array]:
    """Values and positions of the k highest scores, best first; [..., M] -> [..., k] and [..., k] int32.

    Equal scores come in the order of their positions. No gradient flows through the values.
    """
    values, positions = _under_vmap(k)(jax.lax.stop_gradient(scores))
    return values, positions.astype(jnp.int32)


def _under_vmap(k: int):
    """Treat a mapped axis as one more leading axis; custom_partitioning has no batching rule of its own."""

    @custom_vmap
    def rows(scores: Array) -> tuple[Array, Array]:
        return _by_rows(scores, k)

    @rows.def_vmap
    def _(_size: int, _batched: list[bool], scores: Array):
        return rows(scores), (True, True)

    return rows


@partial(custom_partitioning, static_argnums=(1,))
def _by_rows(scores: Array, k: int) -> tuple[Array, Array]:
    return _local(scores, k)


def _local(scores: Array, k: int) -> tuple[Array, Array]:
    if k < scores.shape[-1] <= FEW:
        return _one_after_another(scores, k)
    values, positions = jax.lax.top_k(scores, k)
    return values, positions


def _one_after_another(scores: Array, k: int) -> tuple[Array, Array]:
    """K passes over the row; XLA's TopK, a sort of every row, costs three times as much on rows this short."""
    lowest = jnp.finfo(scores.dtype).min
    remaining = jnp.maximum(scores, lowest)  # -inf marks items already taken
    place = jax.lax.broadcasted_iota(jnp.int32, scores.shape, scores.ndim - 1)
    positions = []
    for _ in range(k):
        best = jnp.argmax(remaining, axis=-1).astype(jnp.int32)
        positions.append(best)
        remaining = jnp.where(place == best[..., None], -jnp.inf, remaining)
    chosen = jnp.stack(positions, axis=-1)
    return jnp.take_along_axis(scores, chosen, axis=-1), chosen


def _same_sharding(_k: int, _mesh, arguments, _results):
    return (arguments[0].sharding,) * 2


def _partition(k: int, mesh, arguments, _results):
    rows = arguments[0].sharding
    return mesh, partial(_local, k=k), (rows, rows), (rows,)


_by_rows.def_partition(
    partition=_partition,
    infer_sharding_from_operands=_same_sharding,
    sharding_rule="... m -> ... k, ... k",
    need_replication_factors=("m",),
)
