"""Reading the config.json of a Hugging Face model, as transformers 4 or 5 wrote it, into an `Architecture`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxrec.checks import InputError, check_name
from jaxrec.encoder.architecture import ROTARY_SCALINGS, Architecture, LayerKind, Rotary
from jaxrec.encoder.config_values import ConfigValues
from jaxrec.encoder.folder import read_json
from jaxrec.foreign import quoted


def read_architecture(path: Path) -> tuple[str, Architecture]:
    """Read the family (`model_type`) and the architecture that a config.json describes."""
    return parse_architecture(read_json(path), path)


def parse_architecture(values: dict[str, Any], path: Path) -> tuple[str, Architecture]:
    """The same from the contents of the file at `path`."""
    stored = ConfigValues(values)
    family = str(stored.values.get("model_type"))
    if family not in READERS:
        raise InputError(f"{path}: model_type {quoted(family)} is not supported; supported: {', '.join(READERS)}.")
    try:
        return family, Architecture(**READERS[family](stored))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _heads(c: ConfigValues, size: str = "hidden_size", heads: str = "num_attention_heads") -> dict[str, Any]:
    """Sizes of attention; heads share the width evenly unless `head_dim` is given."""
    width, count = c.whole(size), c.whole(heads)
    if not c.values.get("head_dim") and (count < 1 or width % count):
        raise InputError(f"{size}: expected a multiple of {heads} ({count}), got {width}.")
    head_dim = c.whole("head_dim", None) or width // count
    return {
        "vocab_size": c.whole("vocab_size"),
        "hidden_size": width,
        "num_attention_heads": count,
        "num_key_value_heads": c.whole("num_key_value_heads", count),
        "head_dim": head_dim,
        "query_scale": head_dim**-0.5,
    }


def _plain_layers(c: ConfigValues, name: str = "num_hidden_layers") -> tuple[LayerKind, ...]:
    return (LayerKind(),) * c.whole(name)


def _bert(c: ConfigValues) -> dict[str, Any]:
    c.only(position_embedding_type="absolute", is_decoder=False, add_cross_attention=False)
    return _heads(c) | {
        "intermediate_size": c.whole("intermediate_size"),
        "layers": _plain_layers(c),
        "hidden_act": c.word("hidden_act", "gelu"),
        "max_position_embeddings": c.whole("max_position_embeddings"),
        "learned_positions": True,
        "type_vocab_size": c.whole("type_vocab_size", 2, least=0),
        "embedding_norm": True,
        "norm_eps": c.number("layer_norm_eps", 1e-12),
    }


def _roberta(c: ConfigValues) -> dict[str, Any]:
    return _bert(c) | {"position_offset": c.whole("pad_token_id", 1, least=0) + 1}


def _mpnet(c: ConfigValues) -> dict[str, Any]:
    # The reference uses 32 buckets and padding id 1 whatever the file says.
    c.only(relative_attention_num_buckets=32)
    return _bert(c) | {"position_offset": 2, "type_vocab_size": 0, "relative_buckets": 32}


def _modernbert(c: ConfigValues) -> dict[str, Any]:
    every = c.whole("global_attn_every_n_layers", 3)
    default = ["sliding_attention" if i % every else "full_attention" for i in range(c.whole("num_hidden_layers"))]
    scaling, theta = c.mapping("rope_scaling"), c.number("global_rope_theta", 160_000.0)
    # null: sliding layers have the same rotary angles as the others.
    local = theta if "local_rope_theta" in c.values and c.values["local_rope_theta"] is None else 10_000.0
    kinds = {
        "full_attention": LayerKind(rotary=_rotary(c, "full_attention", "global_rope_theta", theta, scaling)),
        "sliding_attention": LayerKind(
            window=c.whole("local_attention", 128) // 2 + 1,
            rotary=_rotary(c, "sliding_attention", "local_rope_theta", local, scaling),
        ),
    }
    first, *rest = _typed_layers(c, default, kinds)
    first = LayerKind(window=first.window, rotary=first.rotary, attention_norm=False)
    bias = c.flag("attention_bias")
    return _heads(c) | {
        "intermediate_size": c.whole("intermediate_size"),
        "layers": (first, *rest),
        "hidden_act": c.word("hidden_activation", "gelu"),
        "max_position_embeddings": c.whole("max_position_embeddings"),
        "embedding_norm": True,
        "norm_eps": c.number("norm_eps", 1e-5),
        "norm_bias": c.flag("norm_bias"),
        "norm_order": "pre",
        "final_norm": True,
        "qkv_bias": bias,
        "output_bias": bias,
        "mlp_bias": c.flag("mlp_bias"),
        "gated_mlp": True,
    }


def _llama(c: ConfigValues) -> dict[str, Any]:
    rotary = _rotary(c, "full_attention", "rope_theta", 10_000.0, c.mapping("rope_scaling"))
    bias = c.flag("attention_bias")
    return _heads(c) | {
        "intermediate_size": c.whole("intermediate_size"),
        "layers": (LayerKind(rotary=rotary),) * c.whole("num_hidden_layers"),
        "hidden_act": c.word("hidden_act", "silu"),
        "max_position_embeddings": c.whole("max_position_embeddings"),
        "norm": "rms",
        "norm_eps": c.number("rms_norm_eps", 1e-6),
        "norm_order": "pre",
        "final_norm": True,
        "causal": c.flag("is_causal", True),
        "qkv_bias": bias,
        "output_bias": bias,
        "mlp_bias": c.flag("mlp_bias"),
        "gated_mlp": True,
    }


def _mistral(c: ConfigValues) -> dict[str, Any]:
    sizes = _llama(c)
    (rotary,) = {one.rotary for one in sizes["layers"]}
    kind = LayerKind(window=c.whole("sliding_window", 0, least=0), rotary=rotary)
    return sizes | {"layers": (kind,) * len(sizes["layers"])}


def _qwen(c: ConfigValues) -> dict[str, Any]:
    """What Qwen2 and Qwen3 have in common: windows from some layer on, if they are switched on."""
    sizes = _llama(c)
    full = sizes["layers"][0]
    window = c.whole("sliding_window", 0, least=0) if c.flag("use_sliding_window") else 0
    start = c.whole("max_window_layers", 28, least=0) if window else len(sizes["layers"])
    default = ["sliding_attention" if i >= start else "full_attention" for i in range(len(sizes["layers"]))]
    kinds = {"full_attention": full, "sliding_attention": LayerKind(window=window, rotary=full.rotary)}
    return sizes | {"layers": _typed_layers(c, default, kinds)}


def _qwen2(c: ConfigValues) -> dict[str, Any]:
    return _qwen(c) | {"qkv_bias": True, "output_bias": False}


def _qwen3(c: ConfigValues) -> dict[str, Any]:
    return _qwen(c) | {"query_key_norm": True}


def _gemma3(c: ConfigValues) -> dict[str, Any]:
    c.only(attn_logit_softcapping=None)
    every = c.whole("sliding_window_pattern", c.whole("_sliding_window_pattern", 6))
    layers = range(1, c.whole("num_hidden_layers") + 1)
    default = ["sliding_attention" if i % every else "full_attention" for i in layers]
    causal = c.flag("is_causal", True) and not c.flag("use_bidirectional_attention")
    window = c.whole("sliding_window", 4096)
    kinds = {
        "full_attention": LayerKind(
            rotary=_rotary(c, "full_attention", "rope_theta", 1_000_000.0, c.mapping("rope_scaling"))
        ),
        "sliding_attention": LayerKind(
            window=window if causal else window // 2 + 1,  # half of it on each side
            rotary=_rotary(c, "sliding_attention", "rope_local_base_freq", 10_000.0, {}),
        ),
    }
    sizes = _llama(ConfigValues({"head_dim": 256} | c.values))
    return sizes | {
        "layers": _typed_layers(c, default, kinds),
        "hidden_act": c.word("hidden_activation", "gelu_pytorch_tanh"),
        "embedding_scale": sizes["hidden_size"] ** 0.5,
        "norm_unit_offset": True,
        "norm_order": "both",
        "causal": causal,
        "query_scale": c.number("query_pre_attn_scalar", 256.0) ** -0.5,
        "query_key_norm": True,
        "mlp_bias": False,
    }


def _gpt2(c: ConfigValues) -> dict[str, Any]:
    c.only(scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    sizes = _heads(c, "n_embd", "n_head")
    return sizes | {
        "intermediate_size": c.whole("n_inner", 4 * sizes["hidden_size"]),
        "layers": _plain_layers(c, "n_layer"),
        "hidden_act": c.word("activation_function", "gelu_new"),
        "max_position_embeddings": c.whole("n_positions"),
        "learned_positions": True,
        "norm_eps": c.number("layer_norm_epsilon", 1e-5),
        "norm_order": "pre",
        "final_norm": True,
        "causal": True,
    }


def _t5(c: ConfigValues) -> dict[str, Any]:
    """Only the encoder. Scores are not scaled: the published weights already include the scale."""
    c.only(is_decoder=False)
    name = c.word("feed_forward_proj", "relu")
    act = name.removeprefix("gated-")
    return {
        "vocab_size": c.whole("vocab_size"),
        "hidden_size": c.whole("d_model"),
        "num_attention_heads": c.whole("num_heads"),
        "num_key_value_heads": c.whole("num_heads"),
        "head_dim": c.whole("d_kv"),
        "intermediate_size": c.whole("d_ff"),
        "layers": _plain_layers(c, "num_layers"),
        "hidden_act": "gelu_new" if name == "gated-gelu" else act,
        "norm": "rms",
        "norm_eps": c.number("layer_norm_epsilon", 1e-6),
        "norm_order": "pre",
        "final_norm": True,
        "relative_buckets": c.whole("relative_attention_num_buckets", 32),
        "relative_max_distance": c.whole("relative_attention_max_distance", 128),
        "qkv_bias": False,
        "output_bias": False,
        "mlp_bias": False,
        "gated_mlp": name != act,
    }


READERS: dict[str, Callable[[ConfigValues], dict[str, Any]]] = {
    "bert": _bert,
    "roberta": _roberta,
    "xlm-roberta": _roberta,
    "mpnet": _mpnet,
    "modernbert": _modernbert,
    "qwen3": _qwen3,
    "qwen2": _qwen2,
    "llama": _llama,
    "mistral": _mistral,
    "gemma3_text": _gemma3,
    "gpt2": _gpt2,
    "t5": _t5,
}


def _typed_layers(c: ConfigValues, default: list[str], kinds: dict[str, LayerKind]) -> tuple[LayerKind, ...]:
    """Kinds of the layers from `layer_types`, or from `default` if the file has none."""
    words = c.words("layer_types") or default
    if len(words) != len(default) or not all(word in list(kinds) for word in words):
        raise InputError(f"layer_types: expected {len(default)} of {', '.join(kinds)}, got {quoted(words)}.")
    return tuple(kinds[word] for word in words)


def _rotary(c: ConfigValues, layer_type: str, theta_name: str, theta: float, scaling: dict[str, Any]) -> Rotary:
    """Angles from `rope_parameters`, where transformers 5 has them, or from the older names and `scaling`."""
    c.only(partial_rotary_factor=1.0)
    new = c.mapping("rope_parameters")
    if any(isinstance(value, dict) for value in new.values()):  # one object per layer type
        new = ConfigValues(new).mapping(layer_type)
    values = ConfigValues(new or scaling)
    values.only(partial_rotary_factor=1.0)
    kind = values.word("rope_type", values.word("type", "default"))
    check_name("rope_type", kind, ROTARY_SCALINGS)
    return Rotary(
        theta=values.number("rope_theta", c.number(theta_name, theta)),
        scaling=kind,
        factor=values.number("factor", 1.0) if kind == "default" else values.number("factor"),
        low_freq_factor=values.number("low_freq_factor", 1.0),
        high_freq_factor=values.number("high_freq_factor", 4.0),
        original_length=values.whole("original_max_position_embeddings", c.whole("max_position_embeddings")),
    )
