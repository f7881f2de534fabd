"""The family that docs/extending.md adds: DistilBERT is BERT without segments, under other names."""

import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxrec.encoder import config_json, families, load_encoder

GOLDEN = Path(__file__).parent / "golden" / "tiny_bert"
PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
NAMES = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}


@pytest.fixture
def distilbert(tmp_path: Path) -> Path:
    """The weights of the tiny BERT as DistilBERT stores them; its segment vector is part of every position."""
    weights = {}
    for name, x in load_file(GOLDEN / "model.safetensors").items():
        inside = re.fullmatch(r"(?:bert\.)?encoder\.layer\.(\d+)\.(.*)\.(weight|bias)", name)
        if inside:
            layer, part, kind = inside.groups()
            weights[f"distilbert.transformer.layer.{layer}.{NAMES[part]}.{kind}"] = x
        elif "embeddings." in name and "token_type" not in name and "position_ids" not in name:
            weights[f"distilbert.{name.removeprefix('bert.')}"] = x
        elif "token_type" in name:
            segment = x[0]
    weights["distilbert.embeddings.position_embeddings.weight"] = (
        weights["distilbert.embeddings.position_embeddings.weight"] + segment
    )
    save_file(weights, tmp_path / "model.safetensors")
    bert = json.loads((GOLDEN / "config.json").read_text())
    sizes = {"dim": "hidden_size", "n_heads": "num_attention_heads", "n_layers": "num_hidden_layers"}
    sizes |= {"hidden_dim": "intermediate_size", "vocab_size": "vocab_size"}
    config = {new: bert[old] for new, old in sizes.items()}
    config |= {"model_type": "distilbert", "activation": bert["hidden_act"]}
    config["max_position_embeddings"] = bert["max_position_embeddings"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "vocab.txt").write_bytes((GOLDEN / "vocab.txt").read_bytes())
    return tmp_path


def test_distilbert_of_the_page_gives_the_reference_vectors(distilbert: Path) -> None:
    block = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[-1]
    try:
        exec(compile(block, str(PAGE), "exec", dont_inherit=True), {})
        enc = load_encoder(str(distilbert), max_length=24)
        with np.load(GOLDEN / "reference.npz") as reference:
            hidden = jax.jit(enc.apply)(enc.params, reference["ids"], reference["mask"])
            seen = reference["mask"] > 0
            assert np.abs(np.asarray(hidden) - reference["hidden"])[seen].max() < 1e-4
    finally:
        config_json.READERS.pop("distilbert", None)
        families.KEY_TABLES.pop("distilbert", None)
