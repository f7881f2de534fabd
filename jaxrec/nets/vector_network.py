"""The network of policies that act with vectors: a state from what is observed, a point, and critics of points."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from jaxrec.checks import InputError
from jaxrec.nets.nearest import item_scores, rows_on_offer
from jaxrec.nets.network import Heads, PolicyNetwork, through
from jaxrec.nets.offers import masked, on_offer, rows_at
from jaxrec.nets.scores import Items
from jaxrec.ops.dense import Dense
from jaxrec.ops.squashed import squash
from jaxrec.ops.top_k import top_k
from jaxrec.types import Array, EnvSpec, Observation, World


class Points(struct.PyTreeNode):
    """What a policy of vectors computes for one observation, before the range is applied."""

    mean: Array  # [..., A]
    log_std: Array | None  # [..., A] of the Gaussian; None: the policy is deterministic
    value: Array | None  # [...] expected discounted return; None: critics value points instead


class StateReader(PolicyNetwork):
    """The parts of the network that read a state from what is observed; items have no bias, since none is scored."""

    def items(self, world: World) -> Items:
        """Project the table for the history encoder; without a history, nothing of it is learned."""
        rows = world.item_table.astype(jnp.float32)
        return Items(self.item_vectors(rows) if self.spec.history_length else rows, jnp.zeros(rows.shape[0]))


class Critics(StateReader):
    """Action values Q(s, a) from [state, a], with a history encoder that all critics share and the actor does not."""

    def setup(self) -> None:
        """Create the layers."""
        super().setup()
        hidden = nn.initializers.orthogonal(2**0.5)
        layers = [[Dense(size, kernel_init=hidden) for size in self.config.hidden] for _ in self.numbers]
        self.q_hidden = layers
        self.q = [Dense(1, kernel_init=nn.initializers.orthogonal(1.0)) for _ in self.numbers]

    @property
    def numbers(self) -> range:
        """One number for each critic."""
        return range(self.config.critics)

    def values(self, obs: Observation, action: Array, world: World) -> Array:
        """Value actions [..., A], or n of them for each state [..., n, A]: [..., critics] or [..., n, critics]."""
        state = self.state(self.items(world), obs)
        if action.ndim > state.ndim:
            state = jnp.broadcast_to(state[..., None, :], (*action.shape[:-1], state.shape[-1]))
        x = jnp.concatenate([state, action], axis=-1)
        return jnp.concatenate([through(self.q_hidden[n], self.q[n], x) for n in self.numbers], axis=-1)


class VectorNetwork(StateReader):
    """A point for each state. It is the mean of a Gaussian, next to a value, or what critics say is best."""

    def setup(self) -> None:
        """Create the layers; the first points are near the middle of the range."""
        super().setup()
        size = self.spec.vector.size
        self.point = Dense(size, kernel_init=nn.initializers.orthogonal(0.01))
        if self.config.critics:
            self.critics = Critics(self.spec, self.config)
        else:
            start = nn.initializers.constant(jnp.log(self.config.deviation))
            self.log_std = self.param("log_std", start, (size,))

    def points(self, items: Items, obs: Observation) -> Points:
        """Compute the point of each state and, without critics, deviation and value."""
        state = self.state(items, obs)
        mean = through(self.query_hidden, self.point, state)
        if self.config.critics:
            return Points(mean, None, None)
        value = through(self.value_hidden, self.value, self.value_state(items, obs, state))[..., 0]
        return Points(mean, jnp.broadcast_to(self.log_std, mean.shape), value)

    def values(self, obs: Observation, action: Array, world: World) -> Array:
        """Value actions, see `Critics.values`."""
        return self.critics.values(obs, action, world)

    def best_point(self, items: Items, obs: Observation) -> tuple[Points, Array]:
        """The points and, within the range, their means [..., A]."""
        points, action = self.points(items, obs), self.spec.vector
        return points, squash(points.mean, action.low, action.high)

    def heads(self, items: Items, obs: Observation, world: World, keep: Array | None = None) -> Heads:
        """Score the items on offer by the most likely point, and value it."""
        points, best = self.best_point(items, obs)
        best = self.refined(best, items, obs, world)
        value = self.values(obs, best, world).min(-1) if points.value is None else points.value
        return Heads(self.scores(best, items, obs, world), value, None, None, None)

    def scores(self, point: Array, items: Items, obs: Observation, world: World) -> Array:
        """Score the items on offer by points [..., A]: [..., M or R]; -inf for items that are not offered any more."""
        check_names_items(self.spec)
        scores = item_scores(point, self.spec.vector, obs, world)
        if obs.candidate_features is not None:
            return scores
        return scores + jnp.broadcast_to(on_offer(items.bias, obs, world), scores.shape)

    def refined(self, point: Array, items: Items, obs: Observation, world: World) -> Array:
        """Replace points [..., A] by the row that critics value most among the `nearest` ones that may be shown.

        Wolpertinger, arXiv 1512.07679, eq. 2. Without `nearest`, points stay as they are.
        """
        if not self.config.nearest:
            return point
        scores = masked(self.scores(point, items, obs, world), obs, world, self.spec.repeats)
        near, where = top_k(scores, min(self.config.nearest, scores.shape[-1]))
        rows = rows_at(rows_on_offer(obs, world), where)
        q = self.values(obs, rows, world).min(-1)  # [..., n], by the critic that expects least
        best = jnp.argmax(jnp.where(near > -jnp.inf, q, -jnp.inf), axis=-1)
        return jnp.take_along_axis(rows, best[..., None, None], axis=-2)[..., 0, :]

    def __call__(self, obs: Observation, world: World) -> Any:
        """Use every parameter once, for `init`."""
        points, best = self.best_point(self.items(world), obs)
        if points.value is not None:
            return points
        return points.replace(value=self.values(obs, best, world).min(-1))


def check_names_items(spec: EnvSpec) -> None:
    """Raise InputError unless vectors name items by their rows alone."""
    action = spec.vector
    if action.of not in ("item", "query"):
        what = "weighs behaviours that simulated users predict" if action.of == "behaviours" else "names no items"
        raise InputError(
            f"policy: a vector of {spec.name} {what}, so that items have no scores; use a policy with env.action.name: "
            "item or query."
        )
