"""The mathematics of every text encoder: one transformer, configured by its `Architecture`."""

import functools
import math
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxrec.checks import InputError
from jaxrec.encoder.architecture import Architecture
from jaxrec.encoder.attention import Prompt, attention, split_heads
from jaxrec.encoder.int8 import Int8Dense, Int8Embed
from jaxrec.encoder.positions import (
    MASKED,
    cache_visibility,
    relative_bucket,
    rotary_table,
    rotate,
    token_positions,
    visibility,
)
from jaxrec.ops.dense import Dense
from jaxrec.types import Array


def gelu(x: Array) -> Array:
    """Exact x Phi(x); on CPU three times faster than `jax.nn.gelu(approximate=False)`."""
    return 0.5 * x * (1.0 + lax.erf(x / math.sqrt(2.0)))


_tanh_gelu = functools.partial(jax.nn.gelu, approximate=True)
ACTIVATIONS = {
    "gelu": gelu,
    "gelu_new": _tanh_gelu,
    "gelu_pytorch_tanh": _tanh_gelu,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}
# What the backward pass keeps of a layer: everything, the results of products with weights, or its input only.
REMAT = {
    "none": None,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
}


class Norm(nn.Module):
    """Layer norm or RMS norm over the last axis, in float32."""

    config: Architecture

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map [..., D] to [..., D] float32."""
        config, x = self.config, x.astype(jnp.float32)
        lead = (1,) * (x.ndim - 1)
        if config.norm == "layer":
            x = x - x.mean(axis=-1, keepdims=True)
        x = x * lax.rsqrt((x * x).mean(axis=-1, keepdims=True) + config.norm_eps)
        init = nn.initializers.zeros if config.norm_unit_offset else nn.initializers.ones
        scale = self.param("scale", init, x.shape[-1:])
        x = x * (scale + 1.0 if config.norm_unit_offset else scale).reshape(*lead, -1)
        if config.norm == "layer" and config.norm_bias:
            x = x + self.param("bias", nn.initializers.zeros, x.shape[-1:]).reshape(*lead, -1)
        return x


class Cache(NamedTuple):
    """Keys and values of tokens that were read before, in B lines of S slots."""

    key: Array  # [layers, B, N, S, D], in the dtype of the products
    value: Array  # [layers, B, N, S, D]
    mask: Array  # [B, S] (1 for a token, 0 for padding), tokens in their order


class Shared(NamedTuple):
    """What all layers read; `K` kinds of layers differ in window or rotary angles."""

    padding: Array  # [B, 1, 1, T] added to scores
    structure: Array | None  # [K, 1, 1 or H, T, T] added to scores: causality, windows, relative positions
    rotary: tuple[Array, Array] | None  # cosine, sine [K, 1 or B, 1, T, D]
    cached: Array | None  # [K, B, 1, 1 or T, S] added to the scores of cached keys


class Layer(nn.Module):
    """Attention, then an MLP, each added to its input."""

    config: Architecture
    dtype: Any
    dropout: float = 0.0
    int8: bool = False
    keep: bool = False

    def dense(self, features: int, bias: bool, name: str) -> nn.Module:
        """Dense layer in `dtype`; float32 is full precision on every device, even where the default is lower."""
        kind = Int8Dense if self.int8 else Dense
        return kind(features, bias, dtype=self.dtype, precision=precision(self.dtype), name=name)

    @nn.compact
    def __call__(self, x: Array, layer: tuple, shared: Shared) -> tuple[Array, tuple[Array, Array] | None]:
        """Map x [B, T, E] float32 to the next x, and to keys and values [B, N, T, D] with `keep`.

        `layer`: its kind [], whether attention has a norm [], cached keys and values or None.
        """
        kind, normed, cached = layer
        config = self.config
        norm = functools.partial(Norm, config)
        if config.norm_order == "post":
            inner, kept = self._attend(x, kind, cached, shared)
            x = norm(name="attention_norm")(x + inner)
            return norm(name="mlp_norm")(x + self._transform(x)), kept
        inner = norm(name="attention_norm")(x)
        if not all(one.attention_norm for one in config.layers):
            inner = jnp.where(normed, inner, x)
        inner, kept = self._attend(inner, kind, cached, shared)
        x = x + (norm(name="attention_post_norm")(inner) if config.norm_order == "both" else inner)
        inner = self._transform(norm(name="mlp_norm")(x))
        return x + (norm(name="mlp_post_norm")(inner) if config.norm_order == "both" else inner), kept

    def _attend(
        self, x: Array, kind: Array, cached: tuple[Array, Array] | None, shared: Shared
    ) -> tuple[Array, tuple[Array, Array] | None]:
        config = self.config
        heads = {"query": config.num_attention_heads, "key": config.num_key_value_heads}
        heads["value"] = heads["key"]
        query, key, value = (
            split_heads(self.dense(count * config.head_dim, config.qkv_bias, name)(x), count)
            for name, count in heads.items()
        )
        if config.query_key_norm:
            query, key = Norm(config, name="query_norm")(query), Norm(config, name="key_norm")(key)
        if shared.rotary is not None:
            cos, sin = (_of_kind(table, kind) for table in shared.rotary)
            query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        query, key = (query * config.query_scale).astype(self.dtype), key.astype(self.dtype)
        biases = (shared.padding,)
        if shared.structure is not None:
            biases += (_of_kind(shared.structure, kind),)
        prompt = None
        if cached is not None:
            assert shared.cached is not None
            prompt = Prompt(*cached, _of_kind(shared.cached, kind))
        mixed = attention(query, key, value, biases, precision(self.dtype), prompt)
        out = self._drop(self.dense(config.hidden_size, config.output_bias, "attention_output")(mixed))
        return out, (key, value) if self.keep else None

    def _transform(self, x: Array) -> Array:
        config = self.config
        wide = functools.partial(self.dense, config.intermediate_size, config.mlp_bias)
        act = ACTIVATIONS[config.hidden_act]
        inner = act(wide("mlp_gate")(x)) * wide("mlp_in")(x) if config.gated_mlp else act(wide("mlp_in")(x))
        return self._drop(self.dense(config.hidden_size, config.mlp_bias, "mlp_out")(inner))

    def _drop(self, x: Array) -> Array:
        """Convert to float32, with dropout while training."""
        x = x.astype(jnp.float32)
        return nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(x) if self.dropout else x


def precision(dtype: Any) -> lax.Precision | None:
    """Full precision for float32 on every device, even where the default is lower."""
    return lax.Precision.HIGHEST if dtype == jnp.float32 else None


def _of_kind(table: Array, kind: Array) -> Array:
    return table[0] if len(table) == 1 else lax.dynamic_index_in_dim(table, kind, keepdims=False)


class Transformer(nn.Module):
    """The encoder without heads; `dtype` is that of the products with weights, all else is float32.

    Layers are scanned: parameters are stacked [layers, ...] and compile time does not grow with depth. `dropout` acts
    on what a sublayer adds, if a "dropout" key is given.
    """

    config: Architecture
    dtype: Any = jnp.float32
    remat: Literal["none", "dots", "full"] = "none"
    dropout: float = 0.0
    int8: bool = False  # weights as `jaxrec.encoder.int8.quantised` gives them
    keep: bool = False  # also return keys and values, which a later call may read from a cache

    @nn.compact
    def __call__(self, ids: Array, mask: Array, cache: Cache | None = None) -> Any:
        """Map ids [B, T] int32, mask [B, T] (1 for a token, 0 for padding) to hidden [B, T, E] float32.

        With `keep` to (hidden, `Cache` of these tokens alone). With a `cache` of A lines, B a multiple of A, the tokens
        of row b come after line b // (B / A) of it. Then the padding of ids is on the right, and the caller checks that
        both together are no longer than the model allows. Only decoders (`causal`) can read a cache.
        """
        config = self.config
        if ids.shape[1] > config.max_length:
            raise InputError(f"ids: expected at most {config.max_length} tokens per text, got {ids.shape[1]}.")
        kinds = list(dict.fromkeys((one.window, one.rotary) for one in config.layers))
        rows = jnp.array([kinds.index((one.window, one.rotary)) for one in config.layers], jnp.int32)
        normed = jnp.array([one.attention_norm for one in config.layers])
        layer = Layer
        if self.remat != "none":
            layer = nn.remat(Layer, policy=REMAT[self.remat], prevent_cse=False)
        in_axes: Any = (0, nn.broadcast)
        layers = nn.scan(
            layer,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=in_axes,
            length=config.num_hidden_layers,
        )
        places = token_positions(mask)
        if cache is not None:
            assert config.causal and not config.relative_buckets, "only decoders read a cache"
            places = places + jnp.repeat(cache.mask.sum(1, dtype=jnp.int32), len(ids) // len(cache.mask))[:, None]
        stack: Any = layers(config, self.dtype, self.dropout, self.int8, self.keep, name="layers")
        x, kept = stack(
            self._embed(ids, places),
            (rows, normed, None if cache is None else (cache.key, cache.value)),
            self._shared(kinds, mask, places, cache),
        )
        x = Norm(config, name="final_norm")(x) if config.final_norm else x
        return (x, Cache(kept[0], kept[1], mask)) if self.keep else x

    def _embed(self, ids: Array, places: Array) -> Array:
        config = self.config
        embed = functools.partial(nn.Embed, features=config.hidden_size)
        words = Int8Embed(config.vocab_size, config.hidden_size, name="words") if self.int8 else None
        x = (words or embed(config.vocab_size, name="words"))(ids) * config.embedding_scale
        if config.learned_positions:
            x = x + embed(config.max_position_embeddings, name="positions")(places + config.position_offset)
        if config.type_vocab_size:
            # Texts come one at a time, so every token is of segment 0; its vector is still part of the sum.
            x = x + embed(config.type_vocab_size, name="segments")(jnp.zeros((1, 1), jnp.int32))
        return Norm(config, name="embedding_norm")(x) if config.embedding_norm else x

    def _shared(self, kinds: list, mask: Array, places: Array, cache: Cache | None) -> Shared:
        config, length = self.config, mask.shape[1]
        padding = jnp.where(mask[:, None, None, :] > 0, 0.0, MASKED)
        seen = [visibility(length, window, config.causal) for window, _ in kinds]
        structure = None
        if any(one is not None for one in seen):
            full = [jnp.zeros((length, length)) if one is None else jnp.asarray(one) for one in seen]
            structure = jnp.stack(full)[:, None, None]
        if config.relative_buckets:
            buckets = relative_bucket(length, config.relative_buckets, config.relative_max_distance, config.causal)
            table = nn.Embed(config.relative_buckets, config.num_attention_heads, name="relative")
            offsets = table(jnp.asarray(buckets)).transpose(2, 0, 1)[None, None]
            structure = offsets if structure is None else structure + offsets
        rotary = None
        if kinds[0][1] is not None:
            # Only distances count, so without a cache all rows share the angles of one, wherever its padding is.
            turned = jnp.arange(length)[None] if cache is None else places
            tables = [rotary_table(one, config.head_dim, turned[:, None]) for _, one in kinds]
            rotary = (jnp.stack([cos for cos, _ in tables]), jnp.stack([sin for _, sin in tables]))
        cached = None
        if cache is not None:
            cached = jnp.stack([cache_visibility(cache.mask, places, window) for window, _ in kinds])[:, :, None]
        return Shared(padding, structure, rotary, cached)
