"""Epochs of gradient steps over the transitions of an update, in shuffled minibatches."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax

from jaxrec.learn.rollout import split_shards
from jaxrec.learn.state import LearnerState
from jaxrec.ops.descend import descend
from jaxrec.ops.draws import shuffled
from jaxrec.types import Array, Metrics, Params

Tree = TypeVar("Tree")  # a pytree of arrays
Objective = Callable[[Params, Any], tuple[Array, Metrics]]  # parameters, minibatch [N, ...] -> loss [], metrics


def descend_epochs(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    state: LearnerState,
    key: Array,
    batch: Any,
    config: Any,
    rate: Array,
) -> tuple[Params, optax.OptState, Metrics]:
    """Take `config.epochs` times `config.minibatches` steps from `state`, with keys [S] of the shards.

    Leaves of `batch` are [S, B, ...]. Minibatches are drawn by a permutation per shard, so that data never leaves its
    device. Returns parameters, the optimiser's state and the mean of the metrics.
    """

    def step(carry: tuple[Params, Any], minibatch: Any):
        params, opt_state = carry
        grad, metrics = jax.grad(objective, has_aux=True)(params, merged(minibatch))
        return descend(optimizer, grad, params, opt_state, rate), metrics | {"grad_norm": optax.tree.norm(grad)}

    def epoch(carry: tuple[Params, Any], epoch_key: Array):
        return jax.lax.scan(step, carry, shuffle(epoch_key, batch, config.minibatches))

    keys = split_shards(key, config.epochs)
    (params, opt_state), metrics = jax.lax.scan(epoch, (state.params, state.opt_state), keys)
    return params, opt_state, jax.tree.map(jnp.mean, metrics)


def merged(minibatch: Tree) -> Tree:
    """Leaves [S, N, ...] -> [S N, ...]. Matrix products with one leading axis take half the time of those with two."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), minibatch)


def flat_steps(steps: Tree) -> Tree:
    """Leaves [T, S, N, ...] -> [S, T N, ...]."""
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1, *x.shape[3:]), steps)


def shuffle(key: Array, batch: Tree, minibatches: int) -> Tree:
    """Shuffle within every shard and split; key [S], leaves [S, B, ...] -> [minibatches, S, B / minibatches, ...]."""
    size = jax.tree.leaves(batch)[0].shape[1]
    order = jax.vmap(lambda k: shuffled(k, size))(key)  # [S, B]

    def cut(x: Array) -> Array:
        mixed = jax.vmap(lambda rows, where: rows[where])(x, order)
        return jnp.moveaxis(mixed.reshape(x.shape[0], minibatches, -1, *x.shape[2:]), 1, 0)

    return jax.tree.map(cut, batch)
