import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.encoder.architecture import Architecture, LayerKind, Rotary
from jaxrec.encoder.config_json import read_architecture
from jaxrec.encoder.positions import inverse_frequencies, relative_bucket, visibility
from tests.encoder.references import GOLDEN

GLOBAL, LOCAL = 900.0, 50.0  # rotary bases of the models with two


def read(folder: Path, name: str, drop: tuple[str, ...] = (), **change) -> Architecture:
    """The architecture of a golden model whose config.json is changed."""
    values = json.loads((GOLDEN / name / "config.json").read_text())
    values = {key: value for key, value in values.items() if key not in drop}
    (folder / "config.json").write_text(json.dumps(values | change))
    return read_architecture(folder / "config.json")[1]


V4 = {
    "tiny_bert": ((), {"torch_dtype": "float32", "position_embedding_type": "absolute"}),
    "modernbert": (
        ("rope_parameters", "layer_types"),
        {"global_rope_theta": GLOBAL, "local_rope_theta": LOCAL, "global_attn_every_n_layers": 3},
    ),
    "qwen3": (("rope_parameters", "layer_types"), {"rope_theta": 500.0, "rope_scaling": None}),
    "qwen2": (("rope_parameters", "layer_types", "head_dim"), {"rope_theta": 500.0}),
    "mistral": (("rope_parameters",), {"rope_theta": 500.0}),
    "gemma3": (("rope_parameters",), {"rope_theta": GLOBAL, "rope_local_base_freq": LOCAL}),
    "embedding_gemma": (("rope_parameters",), {"rope_theta": GLOBAL, "rope_local_base_freq": LOCAL}),
    "llama": (
        ("rope_parameters",),
        {
            "rope_theta": 10000.0,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 4.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
    ),
}


@pytest.mark.parametrize("name", V4)
def test_configs_of_transformers_4_and_5_are_read_alike(name: str, tmp_path: Path) -> None:
    drop, change = V4[name]
    assert read(tmp_path, name, drop, **change) == read(tmp_path, name)


def test_sizes_that_older_files_leave_out_are_filled_in(tmp_path: Path) -> None:
    config = read(tmp_path, "llama", ("head_dim", "num_key_value_heads", "attention_bias", "mlp_bias"))
    assert (config.head_dim, config.num_key_value_heads, config.qkv_bias) == (8, 4, False)
    assert read(tmp_path, "gpt2", ("n_inner",)).intermediate_size == 128


def test_layer_patterns_of_older_files(tmp_path: Path) -> None:
    gemma = read(tmp_path, "gemma3", ("layer_types",), sliding_window_pattern=2)
    assert [one.window for one in gemma.layers] == [6, 0, 6, 0]
    bert = read(tmp_path, "modernbert", ("layer_types",), global_attn_every_n_layers=2)
    assert [one.window for one in bert.layers] == [0, 5, 0, 5]
    assert [one.attention_norm for one in bert.layers] == [False, True, True, True]
    qwen = read(tmp_path, "qwen2", ("layer_types",), use_sliding_window=False)
    assert {one.window for one in qwen.layers} == {0}


def test_switches_and_sizes_that_only_some_published_models_have(tmp_path: Path) -> None:
    assert not read(tmp_path, "qwen2", is_causal=False).causal and read(tmp_path, "qwen2", is_causal=True).causal
    assert not read(tmp_path, "gemma3", is_causal=False).causal
    older = ("rope_parameters", "layer_types")
    same = read(tmp_path, "modernbert", older, global_rope_theta=GLOBAL, local_rope_theta=None)
    assert {one.rotary for one in same.layers} == {same.layers[0].rotary}
    assert read(tmp_path, "gemma3", ("head_dim",)).head_dim == 256


def test_xlm_roberta_is_roberta_and_a_pad_id_moves_its_positions(tmp_path: Path) -> None:
    config = read(tmp_path, "xlm_roberta")
    assert read(tmp_path, "xlm_roberta", model_type="roberta") == config
    assert config.max_length == 62  # 64 rows, of which two are for padding
    assert read(tmp_path, "xlm_roberta", pad_token_id=0).position_offset == 1


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("llama", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope_type: no 'yarn'"),
        ("llama", {"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor: only 1.0 is supported"),
        ("llama", {"rope_parameters": [1]}, "rope_parameters: expected a value of type dict"),
        ("llama", {"num_attention_heads": 3}, r"num_attention_heads: expected a multiple of num_key_value_heads \(2\)"),
        ("llama", {"rms_norm_eps": "1e-6"}, "rms_norm_eps: expected a value of type float, got '1e-6'"),
        ("tiny_bert", {"num_attention_heads": 3}, r"hidden_size: expected a multiple of num_attention_heads \(3\)"),
        ("tiny_bert", {"num_hidden_layers": 0}, "num_hidden_layers: expected a value at least 1, got 0"),
        ("tiny_bert", {"hidden_size": True}, "hidden_size: expected a value of type int, got True"),
        ("mistral", {"num_hidden_layers": 0}, "num_hidden_layers: expected a value at least 1, got 0"),
        ("mistral", {"sliding_window": -1}, "sliding_window: expected a value at least 0, got -1"),
        ("gemma3", {"query_pre_attn_scalar": 0}, r"query_pre_attn_scalar: expected a value above 0, got 0\.0"),
        ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4}}, "factor missing"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "llama3", "factor": 2.0, "low_freq_factor": 4.0}},
            r"rope_high_freq_factor: expected a value above 4, got 4\.0",
        ),
        ("gemma3", {"layer_types": ["full_attention"]}, "layer_types: expected 4 of full_attention, sliding_attention"),
        ("gemma3", {"layer_types": [{}, {}, {}, {}]}, "layer_types: expected 4 of"),
        ("gemma3", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping: only None is supported"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx: only False"),
        ("t5", {"feed_forward_proj": "gated-swish"}, "hidden_act: no 'swish'"),
        ("t5", {"is_decoder": True}, "is_decoder: only False"),
        ("mpnet", {"relative_attention_num_buckets": 64}, "relative_attention_num_buckets: only 32"),
    ],
)
def test_what_the_mathematics_does_not_cover_is_refused(tmp_path: Path, name: str, change: dict, says: str) -> None:
    with pytest.raises(InputError, match=rf"config\.json: {says}"):
        read(tmp_path, name, **change)


def test_llama3_keeps_fast_frequencies_slows_slow_ones_and_blends_between() -> None:
    rotary = Rotary(theta=10000.0, scaling="llama3", factor=4.0, original_length=64)
    plain, got = 10000.0 ** (-np.arange(8) / 8), inverse_frequencies(rotary, 16)
    turns = 64 * plain / (2 * np.pi)  # 10.2, 3.2, 1.02, 0.32, ...
    np.testing.assert_allclose(got[0], plain[0], rtol=1e-6)
    np.testing.assert_allclose(got[3:], plain[3:] / 4, rtol=1e-6)
    share = (turns[1] - 1) / 3
    np.testing.assert_allclose(got[1], share * plain[1] + (1 - share) * plain[1] / 4, rtol=1e-6)


def test_buckets_of_distances() -> None:
    # 32 buckets both ways: 8 exact, then log; doubling the distance adds 2 of the 8 up to 128
    row = relative_bucket(200, 32, 128, causal=False)[0]
    assert [int(row[n]) for n in (0, 1, 7, 8, 16, 32, 64, 127, 128, 199)] == [0, 17, 23, 24, 26, 28, 30, 31, 31, 31]
    column = relative_bucket(200, 32, 128, causal=False)[:, 0]
    assert [int(column[n]) for n in (1, 8, 199)] == [1, 8, 15]
    past = relative_bucket(200, 32, 128, causal=True)[:, 0]
    assert [int(past[n]) for n in (1, 15, 16, 199)] == [1, 15, 16, 31] and int(row[0]) == 0


def test_a_window_reaches_back_and_without_causality_ahead() -> None:
    both, back = visibility(4, 2, causal=False), visibility(4, 2, causal=True)
    assert both is not None and back is not None
    np.testing.assert_array_equal(both[1] == 0, [True, True, True, False])
    np.testing.assert_array_equal(back[2] == 0, [False, True, True, False])
    assert visibility(4, 4, causal=False) is None


def test_layer_kinds_are_told_apart_by_all_their_fields() -> None:
    assert LayerKind(window=3) != dataclasses.replace(LayerKind(window=3), rotary=Rotary())


EPS = {"gpt2": "layer_norm_epsilon", "t5": "layer_norm_epsilon", "modernbert": "norm_eps"}
POST_NORM = ("bert", "xlm-roberta", "mpnet")
GOLDEN_CONFIGS = sorted(path.parent.name for path in GOLDEN.glob("*/config.json"))


def theirs(name: str) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(GOLDEN / name)


@pytest.mark.parametrize("name", GOLDEN_CONFIGS)
def test_sizes_are_those_that_transformers_reads(name: str) -> None:
    family, ours = read_architecture(GOLDEN / name / "config.json")
    want = theirs(name)
    heads = want.num_attention_heads
    middle = {"gpt2": "n_inner", "t5": "d_ff"}.get(family, "intermediate_size")
    eps = EPS.get(family, "layer_norm_eps" if family in POST_NORM else "rms_norm_eps")
    assert family == want.model_type and ours.num_hidden_layers == want.num_hidden_layers
    assert {
        "vocab_size": ours.vocab_size,
        "hidden_size": ours.hidden_size,
        "heads": ours.num_attention_heads,
        "key heads": ours.num_key_value_heads,
        "head_dim": ours.head_dim,
        "intermediate_size": ours.intermediate_size,
        "eps": ours.norm_eps,
        "positions": ours.max_position_embeddings,
    } == {
        "vocab_size": want.vocab_size,
        "hidden_size": want.hidden_size,
        "heads": heads,
        "key heads": getattr(want, "num_key_value_heads", heads),
        "head_dim": getattr(want, "head_dim", want.hidden_size // heads),
        "intermediate_size": getattr(want, middle) or 4 * want.hidden_size,
        "eps": getattr(want, eps),
        "positions": getattr(want, "max_position_embeddings", 0),  # T5 has none
    }


@pytest.mark.parametrize("name", [name for name in GOLDEN_CONFIGS if hasattr(theirs(name), "rope_parameters")])
def test_angles_and_windows_are_those_that_transformers_reads(name: str) -> None:
    family, ours = read_architecture(GOLDEN / name / "config.json")
    want = theirs(name)
    types = getattr(want, "layer_types", None) or ["full_attention"] * want.num_hidden_layers
    for kind, layer_type in zip(ours.layers, types, strict=True):
        rope = want.rope_parameters.get(layer_type, want.rope_parameters)
        assert kind.rotary is not None
        assert (kind.rotary.theta, kind.rotary.scaling) == (rope["rope_theta"], rope["rope_type"])
        if kind.rotary.scaling == "llama3":
            names = ("factor", "low_freq_factor", "high_freq_factor")
            assert [getattr(kind.rotary, one) for one in names] == [rope[one] for one in names]
            assert kind.rotary.original_length == rope["original_max_position_embeddings"]
        sliding = layer_type == "sliding_attention" or family == "mistral"
        # ModernBERT's number is how far a token sees, that of the others how many tokens it sees.
        assert kind.window == (want.sliding_window + (family == "modernbert") if sliding else 0)
