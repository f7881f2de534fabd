"""Training of a generator on windows of a log: the codes of every row, from the rows before it (teacher forcing).

    loss = mean over rows of sum_l -log softmax(logits_l)[c_l]

Rows of one moment do not see each other (`jaxrec.supervised.user_windows.moment_begins`).
"""

from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxrec.config.pretrain import PretrainConfig
from jaxrec.generate.dense import NAME, dense_loss, init_towers
from jaxrec.generate.recommender import Catalogue, history_of
from jaxrec.nets.generator import Generator, Shape, init_generator
from jaxrec.ops.descend import descend
from jaxrec.supervised.optimisers import make_optimiser
from jaxrec.supervised.pretrain_batches import Keys, Plan, PretrainState, batch_of, of_bucket, steps_per_epoch
from jaxrec.supervised.user_windows import (
    Augmentation,
    Bucket,
    Window,
    WindowRows,
    augment,
    cut,
    moment_begins,
)
from jaxrec.types import Array, Metrics, Params

NOT_DECAYED = ("scale", "bias", "relative")  # in names of parameters


class GenerativeData(struct.PyTreeNode):
    """What all steps read."""

    rows: WindowRows
    catalogue: Catalogue


class DenseTraining(NamedTuple):
    """Sizes of the training of the towers of the dense check."""

    weight: float  # of its loss
    items: tuple[int, int]  # I and D, of the vectors of items
    own: bool  # whether items have residuals
    chunk: int  # positions whose scores are held at a time


class GenerativeTraining(NamedTuple):
    """Pure functions of one training."""

    init: Callable[[Array], PretrainState]
    update: Callable[[PretrainState, GenerativeData], tuple[PretrainState, Metrics]]


def make_generative(
    shape: Shape,
    config: PretrainConfig,
    plan: Plan,
    feedback: int,
    vectors: int,
    context: int,
    dense: DenseTraining | None = None,
) -> GenerativeTraining:
    """Build the update of a generator of logs with F = `feedback`, E = `vectors`, C = `context`."""
    batches, epoch_steps = sum(bucket.batches for bucket in plan.buckets), steps_per_epoch(config, plan)
    optimiser = make_optimiser(config, config.epochs * epoch_steps, decayed)
    how = Augmentation(config.crop, config.mask, config.reorder)

    def init(key: Array) -> PretrainState:
        key_params, key_steps = jax.random.split(key)
        params = init_generator(shape, key_params, feedback, vectors, context)
        if dense is not None:
            key_towers = jax.random.fold_in(key_params, 1)
            params = {**params, NAME: init_towers(key_towers, shape.width, dense.items, dense.own)}
        return PretrainState(params, {}, optimiser.init(params), key_steps, jnp.int32(0))

    def loss(params: Params, slot: Array, keys: Keys, data: GenerativeData) -> tuple[Array, Metrics]:
        def branch(n: int, bucket: Bucket, number: Array, params: Params) -> tuple[Array, Array]:
            window = cut(data.rows, n, bucket, number, keys.cut, plan.num_users)
            if any(how):
                window = augment(window, how, keys.augment)
            return window_loss(shape, params, data, window, keys.dropout, dense)

        total, count = of_bucket(plan, slot, branch, params)
        value = total / jnp.maximum(count, 1.0)
        return value, {"loss": value, "targets": count}

    def update(state: PretrainState, data: GenerativeData) -> tuple[PretrainState, Metrics]:
        slope = jax.value_and_grad(loss, has_aux=True)
        (_, metrics), grad = slope(state.params, *batch_of(state, epoch_steps, batches), data)
        metrics |= {"gradient_norm": optax.tree.norm(grad)}
        params, opt_state = descend(optimiser, grad, state.params, state.opt_state)
        return PretrainState(params, state.head, opt_state, state.key, state.step + 1), metrics

    return GenerativeTraining(init, update)


def window_loss(
    shape: Shape,
    params: Params,
    data: GenerativeData,
    window: Window,
    key: Array | None,
    dense: DenseTraining | None = None,
) -> tuple[Array, Array]:
    """Sum of the losses of the targets of windows [B, R], and how many these are: [], []."""
    rows, read = data.rows, window.valid & ~window.hidden
    context = None if rows.context is None else rows.context[window.rows]
    history = history_of(data.catalogue, rows.items[window.rows], rows.feedback[window.rows], context)
    order = jnp.arange(window.rows.shape[1], dtype=jnp.int32)
    sees = (order[None, None] < moment_begins(rows, window)[..., None]) & read[:, None]
    rngs = None if key is None else {"dropout": key}
    found = Generator(shape).apply({"params": params}, history, sees, method="every_row_and_state", rngs=rngs)
    logits, state = cast(tuple[list[Array], Array], found)
    weight = (window.valid & (rows.target[window.rows] >= 0)).astype(jnp.float32)
    total = jnp.float32(0.0)
    for level, one in enumerate(logits):
        wrong = optax.softmax_cross_entropy_with_integer_labels(one, history.codes[..., level])
        total += (weight * wrong).sum()
    if dense is not None and data.catalogue.dense is not None:
        taken = rows.items[window.rows]
        total += dense.weight * dense_loss(params, data.catalogue.dense, state, taken, weight, dense.chunk)
    return total, weight.sum()


def decayed(params: Params) -> Params:
    """Select parameters that decay: all but biases, scales of norms and relative positions."""

    def decays(path: tuple, _: Array) -> bool:
        return not any(word in str(path[-1].key) for word in NOT_DECAYED)

    return jax.tree_util.tree_map_with_path(decays, params)
