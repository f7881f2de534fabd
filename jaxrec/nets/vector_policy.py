"""Policies that act with vectors, as pure functions; `make_policy` gives the slates that these vectors name."""

from collections.abc import Callable
from typing import NamedTuple, cast

from jaxrec.config.policy import PolicyConfig
from jaxrec.nets.policy import Policy, make_policy
from jaxrec.nets.scores import Items
from jaxrec.nets.vector_network import Points, VectorNetwork
from jaxrec.types import Array, EnvSpec, Observation, Params, VectorAction, World

CRITICS = "critics"  # the part of the parameters that only values points


class VectorPolicy(NamedTuple):
    """Pure functions; parameters are a plain nested dict."""

    slates: Policy  # the same policy, as one of slates
    action: VectorAction
    points: Callable[[Params, Items, Observation], Points]  # before the range is applied
    best: Callable[[Params, Items, Observation], Array]  # the most likely point, within the range: [..., A]
    values: Callable[[Params, Observation, Array, World], Array]  # params, obs, actions, world -> [..., critics]
    # Parameters, items, obs, points [..., A] within the range, world -> the row near them that critics value most
    refine: Callable[[Params, Items, Observation, Array, World], Array]


def make_vector_policy(spec: EnvSpec, config: PolicyConfig) -> VectorPolicy:
    """Build the policy for environments of `spec`; raises InputError if their actions are slates."""
    action, slates, network = spec.vector, make_policy(spec, config), VectorNetwork(spec, config)

    def points(params: Params, items: Items, obs: Observation) -> Points:
        return cast(Points, network.apply({"params": params}, items, obs, method="points"))

    def best(params: Params, items: Items, obs: Observation) -> Array:
        return cast(tuple, network.apply({"params": params}, items, obs, method="best_point"))[1]

    def values(params: Params, obs: Observation, vector: Array, world: World) -> Array:
        return cast(Array, network.apply({"params": params}, obs, vector, world, method="values"))

    def refine(params: Params, items: Items, obs: Observation, point: Array, world: World) -> Array:
        return cast(Array, network.apply({"params": params}, point, items, obs, world, method="refined"))

    return VectorPolicy(slates, action, points, best, values, refine)


def split(params: Params) -> tuple[Params, Params]:
    """Divide the parameters into those of the policy and those of its critics, each a dict of parts."""
    critics = {CRITICS: params[CRITICS]}
    return {name: part for name, part in params.items() if name != CRITICS}, critics
