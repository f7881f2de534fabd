"""GGUF files of the tiny models of tests/encoder/golden, written as the converter of llama.cpp writes them."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import load_file

from tests.encoder.references import GOLDEN

WORDS = ["<|end|>", *(chr(n) for n in range(33, 127)), "Ġ", "Ċ", "Ġt", "he", "Ġthe", *(f"[PAD{n}]" for n in range(19))]
MERGES = ["Ġ t", "h e", "Ġt he"]
LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output",
    "input_layernorm": "attn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_attention_layernorm": "ffn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
}
OUTSIDE = {"embed_tokens": "token_embd", "norm": "output_norm", "wte": "token_embd", "wpe": "position_embd"}
OUTSIDE |= {"ln_f": "output_norm", "lm_head": "output"}


def gguf_name(name: str) -> str:
    """'layers.0.mlp.up_proj.weight' -> 'blk.0.ffn_up.weight'."""
    bare, _, kind = name.removeprefix("model.").removeprefix("transformer.").rpartition(".")
    parts = bare.split(".", 2)
    return f"blk.{parts[1]}.{LAYER[parts[2]]}.{kind}" if len(parts) == 3 else f"{OUTSIDE[bare]}.{kind}"


def as_llama_cpp_turns(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a head in pairs (i, i + D / 2), next to each other."""
    size = len(rows) // heads
    order = [head * size + half * (size // 2) + i for head in range(heads) for i in range(size // 2) for half in (0, 1)]
    return rows[order]


def write_gguf(
    path: Path,
    family: str,
    *,
    kind: gguf.GGMLQuantizationType | None = None,
    architecture: str = "",
    head: np.ndarray | None = None,
    change: Any = lambda name, x: x,
    settings: Any = lambda writer: None,
) -> Path:
    """Write golden/FAMILY; matrices are quantised to `kind`, `head` [V, E] makes it untied."""
    config = json.loads((GOLDEN / family / "config.json").read_text())
    weights = load_file(GOLDEN / family / "model.safetensors") | ({} if head is None else {"lm_head.weight": head})
    writer = gguf.GGUFWriter(path, architecture or family)
    gpt2 = family == "gpt2"
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(128 if gpt2 else 48)
    writer.add_block_count(4)
    writer.add_head_count(4)
    if gpt2:
        writer.add_layer_norm_eps(1e-5)
    else:
        writer.add_head_count_kv(2)
        writer.add_key_length(config["head_dim"])
        writer.add_layer_norm_rms_eps(1e-6)
        writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(WORDS)
    writer.add_token_merges(MERGES)
    writer.add_token_types([3] + [1] * (len(WORDS) - 20) + [5] * 19)
    writer.add_eos_token_id(0)
    settings(writer)
    for name, x in weights.items():
        x = np.asarray(x, np.float32)
        if gpt2 and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            x = x.T
        if family == "llama" and ".q_proj." in name:
            x = as_llama_cpp_turns(x, 4)
        if family == "llama" and ".k_proj." in name:
            x = as_llama_cpp_turns(x, 2)
        x = np.ascontiguousarray(change(name, x))
        if kind is not None and x.ndim == 2 and not x.shape[1] % 32:
            writer.add_tensor(gguf_name(name), gguf.quants.quantize(x, kind), raw_dtype=kind)
        else:
            writer.add_tensor(gguf_name(name), x)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
