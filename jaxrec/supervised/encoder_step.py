"""One step of training an encoder, whatever the loss: draw, differentiate, clip, update."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxrec.config.encoder_fit import EncoderFitConfig
from jaxrec.ops.descend import descend
from jaxrec.supervised import optimisers
from jaxrec.types import Array, Metrics, Params


class EncoderState(struct.PyTreeNode):
    """What one step reads and writes."""

    trained: Params  # all weights, or the adapters
    opt_state: optax.OptState
    key: Array  # [] typed PRNG key
    step: Array  # [] int32
    table: Array | None = None  # result of the latest evaluation, if the loss reads one


class EncoderFit(NamedTuple):
    """Pure functions of one encoder; `frozen` are the weights that do not change, an argument of the update."""

    init: Callable[[Array], EncoderState]
    update: Callable[[EncoderState, Params, Any, Array | None], tuple[EncoderState, Metrics]]
    weights: Callable[[Params, Params], Params]  # frozen, trained -> the encoder's weights
    frozen: Params


class Objective(NamedTuple):
    """Batches and their loss; `data` is all that is drawn from, `table` the result of the latest evaluation."""

    draw: Callable[[Array, Array, Any], Any]  # key of items, key of texts, data -> batch
    loss: Callable[..., tuple[Array, Metrics]]  # trained, frozen, batch, data, table, key -> [], metrics


def make_update(objective: Objective, optimiser: optax.GradientTransformation) -> Callable[..., Any]:
    """Build `EncoderFit.update`."""
    slope = jax.value_and_grad(objective.loss, has_aux=True)

    def update(state: EncoderState, frozen: Params, data: Any, table: Array | None) -> tuple[EncoderState, Metrics]:
        key, key_items, key_texts, key_dropout = jax.random.split(state.key, 4)
        batch = objective.draw(key_items, key_texts, data)
        (_, metrics), grad = slope(state.trained, frozen, batch, data, table, key_dropout)
        trained, opt_state = descend(optimiser, grad, state.trained, state.opt_state)
        metrics |= {"gradient_norm": optax.tree.norm(grad)}
        return EncoderState(trained, opt_state, key, state.step + 1), metrics

    return update


def first_state(trained: Params, optimiser: optax.GradientTransformation, key: Array) -> EncoderState:
    """State before the first step."""
    return EncoderState(trained, optimiser.init(trained), key, jnp.int32(0))


def make_optimiser(config: EncoderFitConfig) -> optax.GradientTransformation:
    """Clip, then AdamW or Adafactor at a rate that rises, then falls."""
    return optimisers.make_optimiser(config, config.steps, decayed)


def decayed(params: Params) -> Params:
    """Select weights that decay by name, not by number of axes: biases and norms are stacked over layers too."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key not in ("bias", "scale"), params)
