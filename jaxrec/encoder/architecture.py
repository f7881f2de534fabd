"""The architecture of a text encoder: sizes and flags, nothing about files."""

import dataclasses
import math
from typing import Literal

from jaxrec.checks import InputError, check_name, check_range

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu")
ROTARY_SCALINGS = ("default", "linear", "llama3")
NORM_ORDERS = ("post", "pre", "both")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rotary:
    """Angles of rotary positions (arXiv:2104.09864), stretched for long texts as `scaling` says."""

    theta: float = 10_000.0
    scaling: Literal["default", "linear", "llama3"] = "default"
    factor: float = 1.0  # slow frequencies are divided by it
    low_freq_factor: float = 1.0  # llama3: this and the next two say where frequencies are blended
    high_freq_factor: float = 4.0
    original_length: int = 8192

    def __post_init__(self):
        check_name("rope_type", self.scaling, ROTARY_SCALINGS)
        for name in ("theta", "factor", "original_length"):
            check_range(f"rope_{name}", getattr(self, name), 0, open_low=True)
        if self.scaling == "llama3":
            check_range("rope_high_freq_factor", self.high_freq_factor, self.low_freq_factor, open_low=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerKind:
    """What one layer does differently from the others."""

    window: int = 0  # a token sees tokens less than this far away; 0: all
    rotary: Rotary | None = None
    attention_norm: bool = True  # False: attention reads the sum as it is (ModernBERT's first layer)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """Sizes, named as in a `config.json`, then flags; hashable, so that equal models share one program."""

    vocab_size: int
    hidden_size: int  # E
    num_attention_heads: int
    num_key_value_heads: int  # each is read by num_attention_heads / num_key_value_heads neighbouring query heads
    head_dim: int
    intermediate_size: int
    layers: tuple[LayerKind, ...]
    hidden_act: str

    max_position_embeddings: int = 0  # rows of the position table, or longest text; 0: no limit
    learned_positions: bool = False
    position_offset: int = 0  # row of the first token
    type_vocab_size: int = 0  # 0: no segment vectors
    embedding_scale: float = 1.0
    embedding_norm: bool = False

    norm: Literal["layer", "rms"] = "layer"
    norm_eps: float = 1e-12
    norm_bias: bool = True
    norm_unit_offset: bool = False  # multiply by 1 + w instead of w
    norm_order: Literal["post", "pre", "both"] = "post"  # of norms; both: around each sublayer, inside the sum
    final_norm: bool = False

    causal: bool = False
    query_scale: float = 1.0  # factor of the scores, usually head_dim ** -0.5
    query_key_norm: bool = False  # RMS norm of each head before the rotation
    relative_buckets: int = 0  # rows of a table of score offsets by distance, shared by all layers; 0: none
    relative_max_distance: int = 128
    qkv_bias: bool = True
    output_bias: bool = True
    mlp_bias: bool = True
    gated_mlp: bool = False  # act(gate(x)) * in(x) instead of act(in(x))

    def __post_init__(self):
        sizes = ("vocab_size", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim")
        for name in (*sizes, "intermediate_size"):
            check_range(name, getattr(self, name), 1)
        check_range("num_hidden_layers", len(self.layers), 1)
        check_range("norm_eps", self.norm_eps, 0, open_low=True)
        check_name("hidden_act", self.hidden_act, ACTIVATIONS)
        check_name("norm_order", self.norm_order, NORM_ORDERS)
        if self.num_attention_heads % self.num_key_value_heads:
            raise InputError(
                f"num_attention_heads: expected a multiple of num_key_value_heads ({self.num_key_value_heads}), "
                f"got {self.num_attention_heads}."
            )
        if self.head_dim % 2 and any(layer.rotary for layer in self.layers):
            raise InputError(f"head_dim: expected an even number for rotary positions, got {self.head_dim}.")

    @property
    def num_hidden_layers(self) -> int:
        """Layers of attention and MLP."""
        return len(self.layers)

    @property
    def max_length(self) -> float:
        """Most tokens a text may have; infinite where positions are only relative."""
        return self.max_position_embeddings - self.position_offset if self.max_position_embeddings else math.inf
