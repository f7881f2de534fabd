"""Which layers, heads and channels an encoder's vectors depend on least, measured on texts."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError, check_range
from jaxrec.encoder.encode_ids import forward_program
from jaxrec.encoder.load import Encoder
from jaxrec.encoder.pool import unit_length
from jaxrec.encoder.prune import keep_channels, keep_heads, keep_layers
from jaxrec.ops.vectors import unit_rows
from jaxrec.progress import Advance
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array, Params

LINES = 32  # texts in a forward pass


class Gates(NamedTuple):
    """Factors of what heads and channels add, or how much the vectors depend on them."""

    groups: Array  # [L, key heads], each with the query heads that read it
    channels: Array  # [L, channels of the MLP]


def prune(
    enc: Encoder,
    ids: Array,
    mask: Array,
    key: Array,
    *,
    layers: int = 0,
    heads: int = 0,
    channels: int = 0,
    advance: Advance = lambda *_: None,
) -> Encoder:
    """Keep the layers, and heads and channels of each (0: all), that vectors of `ids` [n, T] depend on most.

    Layers are removed first, one at a time (`layers_that_matter`). Heads and channels of the remaining layers are then
    removed all at once, by `unit_importance`. `advance` is called for each layer whose removal is tried.
    """
    config = enc.config
    if enc.params["words"]["embedding"].dtype == np.int8:
        raise InputError(f"{enc.name}: int8 weights cannot be pruned; load them as float32.")
    shared = config.num_attention_heads // config.num_key_value_heads
    for name, count, most in (
        ("layers", layers, config.num_hidden_layers),
        ("heads", heads, config.num_attention_heads),
        ("channels", channels, config.intermediate_size),
    ):
        check_range(name, count, 0, most)
    if heads % shared:
        raise InputError(f"heads: expected a multiple of {shared}, as {shared} share a key head, got {heads}.")
    if layers:
        enc = keep_layers(enc, layers_that_matter(enc, ids, mask, layers, advance))
    if not heads and not channels:
        return enc
    importance = unit_importance(enc, ids, mask, key)
    if not all(np.isfinite(gates).all() for gates in importance):
        raise InputError(f"{enc.name}: vector gradients are not finite; the weights are damaged, fetch them again.")
    if heads:
        groups = np.asarray(importance.groups)
        if config.relative_buckets:  # one table of heads for all layers
            groups = np.broadcast_to(groups.sum(axis=0), groups.shape)
        enc = keep_heads(enc, _largest(groups, heads // shared))
    return keep_channels(enc, _largest(np.asarray(importance.channels), channels)) if channels else enc


def layers_that_matter(
    enc: Encoder, ids: Array, mask: Array, count: int, advance: Advance = lambda *_: None
) -> Sequence[int]:
    """Remove layers one by one, each time the one without which vectors of `ids` [n, T] change least (cosine).

    `advance` is called for each layer that is tried. A layer of its own kind (ModernBERT's first) stays.
    """
    check_range("layers", count, 1, enc.config.num_hidden_layers)
    kept, whole = list(range(enc.config.num_hidden_layers)), _vectors(enc, ids, mask)
    while len(kept) > count:
        nearness = {}
        for layer in kept:
            if enc.config.layers[layer].attention_norm:
                rest = [one for one in kept if one != layer]
                nearness[layer] = float((_vectors(keep_layers(enc, rest), ids, mask) * whole).sum(axis=1).mean())
                advance(1)
        kept.remove(max(nearness, key=lambda layer: nearness[layer]))
    return kept


def unit_importance(enc: Encoder, ids: Array, mask: Array, key: Array) -> Gates:
    """Mean squared length of the derivative of a text's unit vector with respect to a gate on each unit.

    To first order that is how far vectors move when the unit is left out (gates: Michel et al. 2019,
    arXiv:1905.10650; squared first-order criterion: Molchanov et al. 2019, arXiv:1906.10771). One random direction per
    text replaces all channels of its vector: E (v . J)^2 = |J|^2 for standard normal v.
    """
    directions = jax.random.normal(key, (len(ids), enc.width))
    return compiled(partial(_squared_slopes, enc))(enc.params, ids, mask, directions)


def _squared_slopes(enc: Encoder, params: Params, ids: Array, mask: Array, directions: Array) -> Gates:
    config = enc.config
    ones = Gates(
        *(jnp.ones((config.num_hidden_layers, n)) for n in (config.num_key_value_heads, config.intermediate_size))
    )

    def along(gates: Gates, ids: Array, mask: Array, direction: Array) -> Array:
        gated = _gated(params, gates)
        return (unit_length(enc.pool(gated, enc.apply(gated, ids[None], mask[None]), mask[None]))[0] * direction).sum()

    def add(total: Gates, text: tuple[Array, Array, Array]) -> tuple[Gates, None]:
        return jax.tree.map(lambda so_far, slope: so_far + slope**2, total, jax.grad(along)(ones, *text)), None

    total, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, ones), (ids, mask, directions))
    return jax.tree.map(lambda x: x / len(ids), total)


def _gated(params: Params, gates: Gates) -> Params:
    """Parameters with what heads and channels add multiplied by their gates."""
    layers: dict[str, Any] = dict(params["layers"])
    for name, gate in (("attention_output", gates.groups), ("mlp_out", gates.channels)):
        kernel = layers[name]["kernel"]  # [L, in, out]
        rows = jnp.repeat(gate, kernel.shape[1] // gate.shape[1], axis=1)
        layers[name] = {**layers[name], "kernel": kernel * rows[:, :, None]}
    return {**params, "layers": layers}


def _vectors(enc: Encoder, ids: Array, mask: Array) -> np.ndarray:
    """Unit vectors [n, width]."""
    program, starts = forward_program(enc.apply, enc.pool), range(0, len(ids), LINES)
    vectors = np.concatenate([program(enc.params, ids[n : n + LINES], mask[n : n + LINES]) for n in starts])
    return unit_rows(vectors)


def _largest(importance: np.ndarray, count: int) -> np.ndarray:
    """Positions of the `count` largest of each row, increasing; [L, n] -> [L, count]."""
    return np.sort(np.argsort(-importance, axis=1, kind="stable")[:, :count], axis=1)
