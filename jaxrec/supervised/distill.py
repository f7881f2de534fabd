"""Distillation: a student learns the vectors that a teacher gives the catalogue's texts."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh

from jaxrec.checks import InputError
from jaxrec.config.distill import DistillConfig
from jaxrec.encoder.load import DTYPES, Encoder
from jaxrec.encoder.pool import unit_length
from jaxrec.encoder.transformer import Transformer
from jaxrec.ops.distillation import relation_loss, vector_loss
from jaxrec.sharding.mesh import over_data
from jaxrec.supervised.encoder_step import (
    EncoderFit,
    EncoderState,
    Objective,
    first_state,
    make_optimiser,
    make_update,
)
from jaxrec.supervised.item_texts import ItemTexts, draw_texts
from jaxrec.types import Array, Params

LOSSES = {"vectors": vector_loss, "relations": relation_loss}


class DistillData(struct.PyTreeNode):
    """Everything that a step draws from, on the device."""

    texts: ItemTexts  # as the student reads them
    targets: Array  # [I, D] the teacher's unit vectors
    items: Array  # [N] int32, whose texts may be drawn; the others are held out


def make_distillation(student: Encoder, width: int, config: DistillConfig, mesh: Mesh | None = None) -> EncoderFit:
    """Build the update of `student` towards vectors of `width` channels; with a mesh a batch is spread over it."""
    if config.objective == "vectors" and student.width != width:
        raise InputError(
            f"distill.objective: the student's vectors have {student.width} channels, the teacher's {width}; "
            "set it to relations, which compares cosines only."
        )
    module: Any = Transformer(student.config, DTYPES[student.dtype], config.remat, config.dropout)
    optimiser, compare = make_optimiser(config), LOSSES[config.objective]

    def init(key: Array) -> EncoderState:
        return first_state(jax.tree.map(jnp.array, student.params), optimiser, key)

    def draw(key_items: Array, key_texts: Array, data: DistillData):
        items = data.items[jax.random.randint(key_items, (config.batch_size,), 0, len(data.items))]
        texts = draw_texts(key_texts, data.texts, items, config.field_dropout, config.word_dropout)
        return over_data(texts, mesh), data.targets[items]

    def loss(trained: Params, _: Params, batch: tuple, data: DistillData, table: None, key: Array):
        (ids, mask), targets = batch
        hidden = module.apply({"params": trained}, ids, mask, rngs={"dropout": key})
        return compare(unit_length(student.pool(trained, hidden, mask)), targets)

    update = make_update(Objective(draw, loss), optimiser)
    return EncoderFit(init, update, lambda _, trained: trained, {})
