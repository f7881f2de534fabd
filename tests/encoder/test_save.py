import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxrec.checks import InputError
from jaxrec.encoder import Encoder, load_encoder, save_encoder
from jaxrec.encoder.families import key_table

GOLDEN = Path(__file__).parent / "golden"
FAMILIES = sorted(path.name for path in GOLDEN.iterdir() if (path / "reference.npz").is_file())


def same(first, second) -> bool:
    assert jax.tree.structure(first) == jax.tree.structure(second)
    return all(map(np.array_equal, jax.tree.leaves(first), jax.tree.leaves(second)))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_encoder_loads_as_it_was(family: str, tmp_path: Path) -> None:
    enc = load_encoder(GOLDEN / family, max_length=24)
    save_encoder(enc, tmp_path / "saved")
    again = load_encoder(tmp_path / "saved", max_length=24)
    assert same(again.params, enc.params) and again.config == enc.config and again.pool == enc.pool
    assert again.identity == enc.identity and again.apply is enc.apply
    stored, saved = load_file(GOLDEN / family / "model.safetensors"), load_file(tmp_path / "saved/model.safetensors")
    table = key_table(json.loads((GOLDEN / family / "config.json").read_text())["model_type"], enc.config)
    stored = {table.plain(name): x for name, x in stored.items()}
    assert all(np.array_equal(stored[name], x) for name, x in saved.items())


def test_changed_weights_are_what_is_saved_and_an_older_folder_is_replaced(tiny: Encoder, tmp_path: Path) -> None:
    changed = dataclasses.replace(tiny, params=jax.tree.map(lambda x: x + 1, tiny.params))
    for enc in (tiny, changed):
        save_encoder(enc, tmp_path / "saved")
        assert same(load_encoder(tmp_path / "saved", max_length=64).params, enc.params)
    texts = ["red shoes", ""]
    assert load_encoder(tmp_path / "saved", max_length=64).tokenize(texts) == tiny.tokenize(texts)
    assert not list(tmp_path.glob(".*"))


def test_a_folder_of_the_user_is_not_replaced(tiny: Encoder, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text.md").write_text("years of work")
    with pytest.raises(InputError, match="thesis: already exists, and jaxrec did not write it"):
        save_encoder(tiny, tmp_path / "thesis")
    assert [path.name for path in tmp_path.rglob("*")] == ["thesis", "text.md"]


def test_modules_heads_and_prompts_are_kept_and_config_says_float32(tiny_copy: Path, tmp_path: Path) -> None:
    root = tmp_path / "sentence"
    root.mkdir()
    tiny_copy.rename(root / "0_Transformer")
    config = root / "0_Transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"torch_dtype": "bfloat16"}))
    for name, values in {
        "1_Pooling": {"pooling_mode": "cls"},
        "2_Dense": {"in_features": 32, "out_features": 8, "activation_function": "torch.nn.modules.activation.Tanh"},
    }.items():
        (root / name).mkdir()
        (root / name / "config.json").write_text(json.dumps(values))
    rng = np.random.default_rng(0)
    tensors = {"linear.weight": rng.normal(size=(8, 32)), "linear.bias": rng.normal(size=8)}
    save_file({n: x.astype(np.float32) for n, x in tensors.items()}, root / "2_Dense" / "model.safetensors")
    kinds = {"0_Transformer": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense", "3_Normalize": "Normalize"}
    listed = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds.items()]
    (root / "modules.json").write_text(json.dumps(listed))
    prompts = {"prompts": {"query": "find: "}, "default_prompt_name": "query"}
    (root / "config_sentence_transformers.json").write_text(json.dumps(prompts))

    enc = load_encoder(root, max_length=64)
    save_encoder(enc, tmp_path / "saved")
    again = load_encoder(tmp_path / "saved", max_length=64)
    assert same(again.params, enc.params) and again.pool == enc.pool and again.prompt == "find: "
    assert json.loads((tmp_path / "saved/0_Transformer/config.json").read_text())["torch_dtype"] == "float32"
