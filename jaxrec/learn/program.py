"""Compile a learner for a mesh: many updates per call, with the state sharded over the devices and donated."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from jaxrec.config.schema import TrainConfig
from jaxrec.ops.sizes import watched
from jaxrec.sharding.compile import compiled, repeated
from jaxrec.sharding.mesh import make_mesh, replicated, state_shardings
from jaxrec.storage.checkpoint_arrays import abstract_like
from jaxrec.types import Array, Learner, World

SHARDED_FIELDS = ("users", "replay", "priorities")  # of a learner's state: leaves [S, ...], except counters []


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """A compiled learner with its world on the devices."""

    init: Callable[..., Any]  # the learner's init; the state is created with its shardings
    update_many: Callable[[Any, World], tuple[Any, dict[str, Array]]]  # metrics [updates_per_call]
    abstract: Any  # the state's shapes, types and shardings
    world: World  # on every device


def trained(state: Any) -> Any:
    """The part of a learner's state whose size is watched."""
    return state.params


def compile_learner(learner: Learner, world: World, config: TrainConfig, num_shards: int) -> Program:
    """Shard the state over the mesh and build the two programs; nothing runs yet."""
    mesh = make_mesh(config.devices)
    world = jax.device_put(world, replicated(mesh))
    abstract = jax.eval_shape(learner.init, jax.random.key(0), world)
    shardings = state_shardings(mesh, abstract, SHARDED_FIELDS, num_shards)
    update_many = repeated(watched(learner.update, trained), config.updates_per_call)
    return Program(
        init=compiled(learner.init, out_shardings=shardings),
        # Output shardings are fixed: normalised ones of the first result would otherwise compile a second program.
        update_many=compiled(update_many, donate=0, out_shardings=(shardings, replicated(mesh))),
        abstract=abstract_like(abstract, shardings),
        world=world,
    )
