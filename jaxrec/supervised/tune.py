"""Tuning an encoder on the log: one pure update."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxrec.config.tune import TuneConfig
from jaxrec.encoder.adapt import joined, merged, new_adapters, with_adapters
from jaxrec.encoder.load import DTYPES, Encoder
from jaxrec.encoder.pool import unit_length
from jaxrec.encoder.transformer import Transformer
from jaxrec.ops.contrastive import full_softmax_loss, in_batch_loss
from jaxrec.sharding.mesh import DATA
from jaxrec.supervised.pairs import PairData, draw_texts
from jaxrec.types import Array, Metrics, Params


class TuneState(struct.PyTreeNode):
    """What one step reads and writes."""

    trained: Params  # all weights, or the adapters
    opt_state: optax.OptState
    key: Array  # [] typed PRNG key
    step: Array  # [] int32


class Tuning(NamedTuple):
    """Pure functions of one encoder; `frozen` are the weights that do not change, an argument of the update."""

    init: Callable[[Array], TuneState]
    update: Callable[[TuneState, Params, PairData, Array | None], tuple[TuneState, Metrics]]
    weights: Callable[[Params, Params], Params]  # frozen, trained -> the encoder's weights
    frozen: Params


def make_tuning(enc: Encoder, config: TuneConfig, dtype: str, mesh: Mesh | None = None) -> Tuning:
    """Build the update of `enc` in products of `dtype`; with a mesh the texts of a batch are spread over it."""
    module: Any = Transformer(enc.config, DTYPES[dtype], config.remat, config.dropout)
    scale, lora = config.alpha / config.rank, config.mode == "lora"
    if lora:
        module = with_adapters(module, config.rank, config.alpha, config.kernels)
    optimiser = make_optimiser(config)

    def init(key: Array) -> TuneState:
        key_adapters, key_steps = jax.random.split(key)
        trained = new_adapters(module, key_adapters) if lora else jax.tree.map(jnp.array, enc.params)
        return TuneState(trained, optimiser.init(trained), key_steps, jnp.int32(0))

    def loss(trained: Params, frozen: Params, batch: tuple, data: PairData, table: Array | None, key: Array):
        (ids, mask), items = batch
        params = joined(frozen, trained)
        with jax.numpy_dtype_promotion("standard"):  # qwix multiplies by Python floats
            hidden = module.apply({"params": params}, ids, mask, rngs={"dropout": key})
        vectors = unit_length(enc.pool(params, hidden, mask)).reshape(2, config.batch_size, -1)
        if table is not None:
            return full_softmax_loss(vectors, items, table, config.temperature)
        share = config.popularity * jnp.stack([data.log_share[0][items[0]], data.log_share[1][items[1]]])
        return in_batch_loss(vectors, items, share, config.temperature)

    def update(state: TuneState, frozen: Params, data: PairData, table: Array | None) -> tuple[TuneState, Metrics]:
        key, key_pairs, key_texts, key_dropout = jax.random.split(state.key, 4)
        rows = jax.random.randint(key_pairs, (config.batch_size,), 0, len(data.pairs))
        items = data.pairs[rows].T  # [2, B]
        texts = draw_texts(key_texts, data, items.reshape(-1), config.field_dropout, config.word_dropout)
        if mesh is not None:
            texts = jax.lax.with_sharding_constraint(texts, NamedSharding(mesh, PartitionSpec(DATA)))
        slope = jax.value_and_grad(loss, has_aux=True)
        (_, metrics), grad = slope(state.trained, frozen, (texts, items), data, table, key_dropout)
        with jax.numpy_dtype_promotion("standard"):  # optax raises a Python float to an int32 step
            updates, opt_state = optimiser.update(grad, state.opt_state, state.trained)
        metrics |= {"gradient_norm": optax.tree.norm(grad)}
        return TuneState(optax.apply_updates(state.trained, updates), opt_state, key, state.step + 1), metrics

    def weights(frozen: Params, trained: Params) -> Params:
        return merged(frozen, trained, scale) if lora else trained

    return Tuning(init, update, weights, enc.params if lora else {})


def make_optimiser(config: TuneConfig) -> optax.GradientTransformation:
    """Clip, then AdamW or Adafactor at a rate that rises, then falls."""
    warm = round(config.warm_up * config.steps)
    behind = max(1, config.steps - warm)
    fall = {
        "cosine": optax.cosine_decay_schedule(config.learning_rate, behind),
        "linear": optax.linear_schedule(config.learning_rate, 0.0, behind),
        "constant": optax.constant_schedule(config.learning_rate),
    }[config.decay]
    # The first step is one step up, not at 0.
    rise = optax.linear_schedule(config.learning_rate / max(1, warm), config.learning_rate, max(1, warm - 1))
    rate = optax.join_schedules([rise, fall], [warm])
    if config.optimiser == "adamw":
        step = optax.adamw(rate, weight_decay=config.weight_decay, mask=_decayed)
    else:
        # A rate means what it means for AdamW: steps are not scaled by the size of a weight.
        step = optax.adafactor(
            rate,
            multiply_by_parameter_scale=False,
            weight_decay_rate=config.weight_decay or None,
            weight_decay_mask=_decayed,
        )
    return optax.chain(optax.clip_by_global_norm(config.clip), step)


def _decayed(params: Params) -> Params:
    """Biases and norms are stacked over layers, so the number of axes does not tell them from kernels."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key not in ("bias", "scale"), params)
