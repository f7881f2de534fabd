"""Tuning an encoder on the log: items that users liked one after the other move closer."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxrec.config.tune import TuneConfig
from jaxrec.encoder.adapt import joined, merged, new_adapters, with_adapters
from jaxrec.encoder.load import DTYPES, Encoder
from jaxrec.encoder.pool import unit_length
from jaxrec.encoder.transformer import Transformer
from jaxrec.ops.contrastive import full_softmax_loss, in_batch_loss
from jaxrec.sharding.mesh import over_data
from jaxrec.supervised.encoder_step import (
    EncoderFit,
    EncoderState,
    Objective,
    first_state,
    make_optimiser,
    make_update,
)
from jaxrec.supervised.item_texts import draw_texts
from jaxrec.supervised.pairs import PairData
from jaxrec.types import Array, Params


def make_tuning(enc: Encoder, config: TuneConfig, mesh: Mesh | None = None) -> EncoderFit:
    """Build the update of `enc`; with a mesh the texts of a batch are spread over it."""
    module: Any = Transformer(enc.config, DTYPES[enc.dtype], config.remat, config.dropout)
    scale, lora = config.alpha / config.rank, config.mode == "lora"
    if lora:
        module = with_adapters(module, config.rank, config.alpha, config.kernels, config.lora_dropout)
    optimiser = make_optimiser(config)

    def init(key: Array) -> EncoderState:
        key_adapters, key_steps = jax.random.split(key)
        trained = new_adapters(module, key_adapters) if lora else jax.tree.map(jnp.array, enc.params)
        return first_state(trained, optimiser, key_steps)

    def draw(key_items: Array, key_texts: Array, data: PairData):
        rows = jax.random.randint(key_items, (config.batch_size,), 0, len(data.pairs))
        items = data.pairs[rows].T  # [2, B]
        texts = draw_texts(key_texts, data.texts, items.reshape(-1), config.field_dropout, config.word_dropout)
        return over_data(texts, mesh), items

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

    def weights(frozen: Params, trained: Params) -> Params:
        return merged(frozen, trained, scale) if lora else trained

    update = make_update(Objective(draw, loss), optimiser)
    return EncoderFit(init, update, weights, enc.params if lora else {})
