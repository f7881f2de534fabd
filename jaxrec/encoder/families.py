"""What each model family calls its tensors: one key table per family."""

import dataclasses

from jaxrec.encoder.architecture import Architecture
from jaxrec.encoder.weight_names import KeyTable, Rule


def _dense(name: str, path: str) -> tuple[Rule, ...]:
    return Rule(f"{name}.weight", f"layers/{path}/kernel", transpose=True), Rule(f"{name}.bias", f"layers/{path}/bias")


def _fused(name: str, *paths: str, transpose: bool = True) -> tuple[Rule, ...]:
    """One dense layer whose outputs are those of several, one after another."""
    rules = []
    for part, path in enumerate(paths):
        rules.append(Rule(f"{name}.weight", f"layers/{path}/kernel", transpose, part, len(paths)))
        rules.append(Rule(f"{name}.bias", f"layers/{path}/bias", False, part, len(paths)))
    return tuple(rules)


def _norm(name: str, path: str) -> tuple[Rule, ...]:
    return Rule(f"{name}.weight", f"{path}/scale"), Rule(f"{name}.bias", f"{path}/bias")


def _layer(name: str, rules: dict[str, str]) -> tuple[Rule, ...]:
    """Rules of `{path: name inside the layer}`; paths that end in _norm are norms, the others dense."""
    made: list[Rule] = []
    for path, inside in rules.items():
        full = f"{name}.{inside}"
        made += _norm(full, f"layers/{path}") if path.endswith("_norm") else _dense(full, path)
    return tuple(made)


BERT = KeyTable(
    rules=(
        Rule("embeddings.word_embeddings.weight", "words/embedding"),
        Rule("embeddings.position_embeddings.weight", "positions/embedding"),
        Rule("embeddings.token_type_embeddings.weight", "segments/embedding"),
        *_norm("embeddings.LayerNorm", "embedding_norm"),
        *_layer(
            "encoder.layer.{layer}",
            {
                "query": "attention.self.query",
                "key": "attention.self.key",
                "value": "attention.self.value",
                "attention_output": "attention.output.dense",
                "attention_norm": "attention.output.LayerNorm",
                "mlp_in": "intermediate.dense",
                "mlp_out": "output.dense",
                "mlp_norm": "output.LayerNorm",
            },
        ),
    ),
    prefix="bert.",
    unused=r"embeddings\.position_ids|pooler\..*|cls\..*",
    respell=((r"LayerNorm\.gamma$", "LayerNorm.weight"), (r"LayerNorm\.beta$", "LayerNorm.bias")),
)

ROBERTA = KeyTable(
    rules=BERT.rules,
    prefix="roberta.",
    unused=r"embeddings\.position_ids|pooler\..*|lm_head\..*|classifier\..*",
    respell=BERT.respell,
)

MPNET = KeyTable(
    rules=(
        Rule("embeddings.word_embeddings.weight", "words/embedding"),
        Rule("embeddings.position_embeddings.weight", "positions/embedding"),
        *_norm("embeddings.LayerNorm", "embedding_norm"),
        Rule("encoder.relative_attention_bias.weight", "relative/embedding"),
        *_layer(
            "encoder.layer.{layer}",
            {
                "query": "attention.attn.q",
                "key": "attention.attn.k",
                "value": "attention.attn.v",
                "attention_output": "attention.attn.o",
                "attention_norm": "attention.LayerNorm",
                "mlp_in": "intermediate.dense",
                "mlp_out": "output.dense",
                "mlp_norm": "output.LayerNorm",
            },
        ),
    ),
    prefix="mpnet.",
    unused=r"embeddings\.position_ids|pooler\..*|lm_head\..*",
)

MODERNBERT = KeyTable(
    rules=(
        Rule("embeddings.tok_embeddings.weight", "words/embedding"),
        *_norm("embeddings.norm", "embedding_norm"),
        *_fused("layers.{layer}.attn.Wqkv", "query", "key", "value"),
        *_fused("layers.{layer}.mlp.Wi", "mlp_gate", "mlp_in"),
        *_layer(
            "layers.{layer}",
            {
                "attention_output": "attn.Wo",
                "attention_norm": "attn_norm",
                "mlp_out": "mlp.Wo",
                "mlp_norm": "mlp_norm",
            },
        ),
        *_norm("final_norm", "final_norm"),
    ),
    prefix="model.",
    unused=r"head\..*|decoder\..*|classifier\..*",
)

_LLAMA_LAYER = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "query_norm": "self_attn.q_norm",
    "key_norm": "self_attn.k_norm",
    "attention_output": "self_attn.o_proj",
    "attention_norm": "input_layernorm",
    "mlp_gate": "mlp.gate_proj",
    "mlp_in": "mlp.up_proj",
    "mlp_out": "mlp.down_proj",
    "mlp_norm": "post_attention_layernorm",
}
_GEMMA_LAYER = _LLAMA_LAYER | {
    "attention_post_norm": "post_attention_layernorm",
    "mlp_norm": "pre_feedforward_layernorm",
    "mlp_post_norm": "post_feedforward_layernorm",
}


def _decoder(layer: dict[str, str]) -> KeyTable:
    return KeyTable(
        rules=(
            Rule("embed_tokens.weight", "words/embedding"),
            *_layer("layers.{layer}", layer),
            *_norm("norm", "final_norm"),
        ),
        prefix="model.",
        unused=r"lm_head\.weight|layers\.\d+\.self_attn\.rotary_emb\.inv_freq",
    )


LLAMA, GEMMA = _decoder(_LLAMA_LAYER), _decoder(_GEMMA_LAYER)

GPT2 = KeyTable(
    rules=(
        Rule("wte.weight", "words/embedding"),
        Rule("wpe.weight", "positions/embedding"),
        *_fused("h.{layer}.attn.c_attn", "query", "key", "value", transpose=False),
        *_fused("h.{layer}.attn.c_proj", "attention_output", transpose=False),
        *_fused("h.{layer}.mlp.c_fc", "mlp_in", transpose=False),
        *_fused("h.{layer}.mlp.c_proj", "mlp_out", transpose=False),
        *_layer("h.{layer}", {"attention_norm": "ln_1", "mlp_norm": "ln_2"}),
        *_norm("ln_f", "final_norm"),
    ),
    prefix="transformer.",
    unused=r"lm_head\.weight|h\.\d+\.attn\.(bias|masked_bias)",
)

_T5_ATTENTION, _T5_MLP = "layer.0.SelfAttention", "layer.1.DenseReluDense"
_T5_LAYER = {
    "query": f"{_T5_ATTENTION}.q",
    "key": f"{_T5_ATTENTION}.k",
    "value": f"{_T5_ATTENTION}.v",
    "attention_output": f"{_T5_ATTENTION}.o",
    "attention_norm": "layer.0.layer_norm",
    "mlp_out": f"{_T5_MLP}.wo",
    "mlp_norm": "layer.1.layer_norm",
}


def _t5(mlp: dict[str, str]) -> KeyTable:
    return KeyTable(
        rules=(
            Rule("shared.weight", "words/embedding"),
            # Stored in the first block and read by all.
            Rule(f"encoder.block.0.{_T5_ATTENTION}.relative_attention_bias.weight", "relative/embedding"),
            *_layer("encoder.block.{layer}", _T5_LAYER | mlp),
            *_norm("encoder.final_layer_norm", "final_norm"),
        ),
        unused=r"decoder\..*|lm_head\.weight",
        respell=((r"^encoder\.embed_tokens\.weight$", "shared.weight"),),
    )


T5 = _t5({"mlp_in": f"{_T5_MLP}.wi"})
T5_GATED = _t5({"mlp_gate": f"{_T5_MLP}.wi_0", "mlp_in": f"{_T5_MLP}.wi_1"})  # v1.1
_GGUF_LAYER = {  # as llama.cpp calls them; GGUF files keep kernels of every family as [out, in]
    "query": "attn_q",
    "key": "attn_k",
    "value": "attn_v",
    "query_norm": "attn_q_norm",
    "key_norm": "attn_k_norm",
    "attention_output": "attn_output",
    "attention_norm": "attn_norm",
    "mlp_gate": "ffn_gate",
    "mlp_in": "ffn_up",
    "mlp_out": "ffn_down",
    "mlp_norm": "ffn_norm",
}
GGUF = KeyTable(
    rules=(
        Rule("token_embd.weight", "words/embedding"),
        Rule("position_embd.weight", "positions/embedding"),
        *_fused("blk.{layer}.attn_qkv", "query", "key", "value"),  # of GPT-2, instead of the first three of the layer
        *_layer("blk.{layer}", _GGUF_LAYER),
        *_norm("output_norm", "final_norm"),
        Rule("output.weight", "head/kernel", transpose=True),
    ),
    unused=r"rope_freqs\.weight",
)

KEY_TABLES = {
    "bert": BERT,
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "mpnet": MPNET,
    "modernbert": MODERNBERT,
    "qwen3": LLAMA,
    "qwen2": LLAMA,
    "llama": LLAMA,
    "mistral": LLAMA,
    "gemma3_text": GEMMA,
    "gpt2": GPT2,
    "t5": T5,
}


def key_table(family: str, config: Architecture) -> KeyTable:
    """Look up the names that checkpoints of a family (`model_type`) use."""
    return T5_GATED if family == "t5" and config.gated_mlp else KEY_TABLES[family]


def gguf_table(family: str) -> KeyTable:
    """Look up the names that GGUF files use; GPT-2 has one tensor for queries, keys and values, the others three."""
    parts = [f"blk.{{layer}}.{name}." for name in ("attn_q", "attn_k", "attn_v")]
    left_out = tuple(parts) if family == "gpt2" else ("blk.{layer}.attn_qkv.",)
    return dataclasses.replace(GGUF, rules=tuple(rule for rule in GGUF.rules if not rule.name.startswith(left_out)))


def language_table(family: str, config: Architecture) -> KeyTable:
    """The names of `key_table` and that of the head which gives logits."""
    table = key_table(family, config)
    head = Rule("lm_head.weight", "head/kernel", transpose=True)
    return dataclasses.replace(table, rules=(*table.rules, head))
