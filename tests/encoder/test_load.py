import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax.sharding import AxisType
from safetensors.numpy import load_file, save_file

from jaxrec.checks import InputError
from jaxrec.encoder import Encoder, load_encoder
from jaxrec.sharding.compile import compiled
from tests.encoder.references import GOLDEN, load_golden, reference

WEIGHTS = "model.safetensors"


def rewrite(folder: Path, change) -> None:
    """Save the tensors of `folder` again as `change` gives them."""
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS)


def edit_config(folder: Path, **values) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def same_params(folder: Path, enc: Encoder) -> bool:
    got = load_encoder(str(folder), max_length=64).params
    assert jax.tree.structure(got) == jax.tree.structure(enc.params)
    return all(map(np.array_equal, jax.tree.leaves(got), jax.tree.leaves(enc.params)))


def test_params_are_a_plain_nested_dict_stacked_over_layers(tiny: Encoder, golden: Path) -> None:
    stored = load_file(golden / "tiny_bert" / WEIGHTS)
    kernel = tiny.params["layers"]["mlp_in"]["kernel"]
    assert type(tiny.params) is dict and kernel.shape == (4, 32, 64)
    np.testing.assert_array_equal(kernel[2], stored["encoder.layer.2.intermediate.dense.weight"].T)
    assert sum(leaf.size for leaf in jax.tree.leaves(tiny.params)) == sum(x.size for x in stored.values())


def test_old_names_prefixes_and_harmless_extras_load_alike(tiny_copy: Path, tiny: Encoder) -> None:
    def age(tensors):
        names = {
            n: n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
            for n in tensors
        }
        extras = {
            "bert.embeddings.position_ids": np.arange(64)[None],
            "bert.pooler.dense.weight": np.zeros((32, 32), np.float32),
            "cls.predictions.bias": np.zeros(282, np.float32),
        }
        return {f"bert.{names[n]}": x for n, x in tensors.items()} | extras

    rewrite(tiny_copy, age)
    assert same_params(tiny_copy, tiny)


EXTRAS = {  # family: (prefix, what published checkpoints carry besides the encoder)
    "xlm_roberta": ("roberta.", ["lm_head.dense.weight", "lm_head.bias", "roberta.embeddings.position_ids"]),
    "mpnet": ("mpnet.", ["mpnet.pooler.dense.weight", "lm_head.bias", "mpnet.embeddings.position_ids"]),
    "modernbert": ("model.", ["head.dense.weight", "head.norm.weight", "decoder.bias"]),
    "qwen3": ("model.", ["lm_head.weight"]),
    "llama": ("model.", ["lm_head.weight", "model.layers.0.self_attn.rotary_emb.inv_freq"]),
    "gemma3": ("model.", ["lm_head.weight"]),
    "gpt2": ("transformer.", ["lm_head.weight", "transformer.h.0.attn.bias", "transformer.h.0.attn.masked_bias"]),
    "t5": ("", ["lm_head.weight", "decoder.final_layer_norm.weight", "encoder.embed_tokens.weight"]),
}


@pytest.mark.parametrize("family", EXTRAS)
def test_published_checkpoints_with_prefixes_and_heads_load_alike(family: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(GOLDEN / family, tmp_path / family))
    prefix, extras = EXTRAS[family]
    stored = load_file(folder / WEIGHTS)
    others = {name: stored.get("shared.weight", np.zeros(3, np.float32)) for name in extras}
    save_file({prefix + name: x for name, x in stored.items()} | others, folder / WEIGHTS)
    params = load_encoder(folder, max_length=24).params
    assert all(map(np.array_equal, jax.tree.leaves(params), jax.tree.leaves(load_golden(family).params)))


@pytest.mark.parametrize(
    ("family", "change", "says"),
    [
        ("llama", {"attention_bias": True}, r"16 tensors \(layers\.0\.self_attn\.k_proj\.bias, .* missing"),
        ("qwen2", {"model_type": "llama"}, r"12 tensors \(layers\.0\.self_attn\.k_proj\.bias, .* not part"),
        ("qwen3", {"model_type": "llama"}, r"8 tensors \(layers\.0\.self_attn\.k_norm\.weight, .* not part"),
        ("llama", {"model_type": "qwen3"}, r"8 tensors \(layers\.0\.self_attn\.k_norm\.weight, .* missing"),
        ("gemma3", {"num_hidden_layers": 3, "layer_types": None}, r"13 tensors \(layers\.3\..* not part"),
        (
            "modernbert",
            {"intermediate_size": 24},
            r"layers\.0\.mlp\.Wi\.weight: expected shape \(48, 32\) .* got \(96, 32\)",
        ),
        (
            "gpt2",
            {"n_inner": 64},
            r"h\.0\.mlp\.c_fc\.weight: expected shape \(32, 64\) by the model's config, got \(32, 128\)",
        ),
        ("t5_v1_1", {"feed_forward_proj": "relu"}, r"DenseReluDense\.wi\.weight, .* missing"),
    ],
)
def test_weights_of_a_sister_family_are_refused(family: str, change: dict, says: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(GOLDEN / family, tmp_path / family))
    edit_config(folder, **change)
    with pytest.raises(InputError, match=says):
        load_encoder(folder, max_length=24)


def test_sharded_weights_load_alike(tiny_copy: Path, tiny: Encoder) -> None:
    tensors = load_file(tiny_copy / WEIGHTS)
    (tiny_copy / WEIGHTS).unlink()
    shard = {name: f"model-0000{1 + row % 2}-of-00002.safetensors" for row, name in enumerate(tensors)}
    for file in set(shard.values()):
        save_file({n: x for n, x in tensors.items() if shard[n] == file}, tiny_copy / file)
    (tiny_copy / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shard}))
    assert same_params(tiny_copy, tiny)
    (tiny_copy / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InputError, match=r"model-00002-of-00002\.safetensors missing, named by"):
        load_encoder(str(tiny_copy), max_length=64)


def test_every_device_of_a_mesh_reads_its_own_part() -> None:
    mesh = jax.make_mesh((4, 2), ("data", "model"), (AxisType.Auto,) * 2)
    for family in ("tiny_bert", "gpt2", "modernbert"):  # transposed, plain and fused tensors
        whole, parts = load_golden(family), load_encoder(GOLDEN / family, max_length=24, mesh=mesh)
        for one, other in zip(jax.tree.leaves(parts.params), jax.tree.leaves(whole.params), strict=True):
            np.testing.assert_array_equal(one, other)
        assert parts.params["layers"]["query"]["kernel"].addressable_shards[0].data.shape == (4, 32, 16)
        hidden = compiled(parts.apply)(parts.params, reference(family)["ids"], reference(family)["mask"])
        seen = reference(family)["mask"] > 0
        np.testing.assert_allclose(np.asarray(hidden)[seen], reference(family)["hidden"][seen], atol=1e-4)


def test_half_precision_checkpoints_become_float32(tiny_copy: Path, tiny: Encoder) -> None:
    rewrite(tiny_copy, lambda tensors: {n: x.astype(ml_dtypes.bfloat16) for n, x in tensors.items()})
    enc = load_encoder(str(tiny_copy), max_length=64)
    assert {leaf.dtype for leaf in jax.tree.leaves(enc.params)} == {jnp.dtype("float32")}
    words = tiny.params["words"]["embedding"].astype(jnp.bfloat16).astype(jnp.float32)
    np.testing.assert_array_equal(enc.params["words"]["embedding"], words)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model_type": "bart"}, r"config\.json: model_type 'bart' is not supported; supported: bert, roberta"),
        (
            {"position_embedding_type": "alibi"},
            "position_embedding_type: only 'absolute' is supported, got 'alibi'",
        ),
        ({"is_decoder": True}, "is_decoder: only False is supported"),
        ({"hidden_size": "32"}, r"config\.json: hidden_size: expected a value of type int"),
        (
            {"intermediate_size": 48},
            r"model\.safetensors: encoder\.layer\.0\.intermediate\.dense\.weight: expected shape \(48, 32\)",
        ),
        ({"num_hidden_layers": 5}, r"16 tensors \(encoder\.layer\.4\.attention.* and 8 more\) missing"),
        ({"num_hidden_layers": 3}, r"16 tensors \(encoder\.layer\.3\.attention.* and 8 more\) not part"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tiny_copy: Path, change: dict, says: str) -> None:
    edit_config(tiny_copy, **change)
    with pytest.raises(InputError, match=says):
        load_encoder(str(tiny_copy), max_length=64)


def test_a_config_without_a_size_is_refused(tiny_copy: Path) -> None:
    stored = json.loads((tiny_copy / "config.json").read_text())
    del stored["hidden_size"]
    (tiny_copy / "config.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match=r"config\.json: hidden_size missing"):
        load_encoder(str(tiny_copy), max_length=64)


def test_missing_unused_and_misshapen_tensors_are_named(tiny_copy: Path) -> None:
    norm = "embeddings.LayerNorm.weight"
    rewrite(tiny_copy, lambda tensors: {n: x for n, x in tensors.items() if n != norm})
    with pytest.raises(InputError, match=r"1 tensor \(embeddings\.LayerNorm\.weight\) missing"):
        load_encoder(str(tiny_copy), max_length=64)
    rewrite(tiny_copy, lambda tensors: tensors | {norm: np.ones(32, np.float32), "adapter.w": np.ones(1)})
    with pytest.raises(InputError, match=r"1 tensor \(adapter\.w\) not part of this architecture"):
        load_encoder(str(tiny_copy), max_length=64)
    rewrite(
        tiny_copy,
        lambda tensors: {n: x[:9] if n == norm else x for n, x in tensors.items() if n != "adapter.w"},
    )
    with pytest.raises(
        InputError, match=r"embeddings\.LayerNorm\.weight: expected shape \(32,\) by the model's config, got \(9,\)"
    ):
        load_encoder(str(tiny_copy), max_length=64)


@pytest.mark.parametrize("content", [b"", b"\x10", b"<html>not found</html>", b"\xff" * 64])
def test_a_broken_safetensors_file_is_refused(tiny_copy: Path, content: bytes) -> None:
    (tiny_copy / WEIGHTS).write_bytes(content)
    with pytest.raises(InputError, match=r"model\.safetensors: not a whole safetensors file"):
        load_encoder(str(tiny_copy), max_length=64)


def test_a_cut_safetensors_file_is_refused(tiny_copy: Path) -> None:
    whole = (tiny_copy / WEIGHTS).read_bytes()
    (tiny_copy / WEIGHTS).write_bytes(whole[:-100])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_encoder(str(tiny_copy), max_length=64)


def test_quantised_weights_are_refused(tiny_copy: Path) -> None:
    name = "encoder.layer.1.output.dense.weight"
    rewrite(tiny_copy, lambda tensors: tensors | {name: tensors[name].astype(np.int8)})
    with pytest.raises(InputError, match=r"layer\.1\.output\.dense\.weight: expected F32, F16, BF16, F64, got I8"):
        load_encoder(str(tiny_copy), max_length=64)


@pytest.mark.parametrize("index", ["{}", '{"weight_map": {"a": 1}}', '{"weight_map": []}'])
def test_an_index_without_files_is_refused(tiny_copy: Path, index: str) -> None:
    (tiny_copy / WEIGHTS).rename(tiny_copy / "model-00001-of-00001.safetensors")
    (tiny_copy / f"{WEIGHTS}.index.json").write_text(index)
    with pytest.raises(InputError, match="expected an object 'weight_map'"):
        load_encoder(str(tiny_copy), max_length=64)


def test_a_model_loaded_again_shares_the_compiled_program(tiny: Encoder, tiny_copy: Path) -> None:
    assert load_encoder(str(tiny_copy), max_length=32).apply is tiny.apply
    assert load_encoder(str(tiny_copy), max_length=64, dtype="bfloat16").apply is not tiny.apply


def test_pickles_are_refused_with_the_way_to_convert(tiny_copy: Path) -> None:
    (tiny_copy / WEIGHTS).rename(tiny_copy / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model\.bin: a pickle can run any code .*save_pretrained"):
        load_encoder(str(tiny_copy), max_length=64)


def test_a_folder_without_weights_or_config_is_refused(tiny_copy: Path) -> None:
    (tiny_copy / WEIGHTS).unlink()
    with pytest.raises(InputError, match=r"tiny_bert: no model\.safetensors"):
        load_encoder(str(tiny_copy), max_length=64)
    (tiny_copy / "config.json").write_text('{"model_type": "bert",\n  oops}')
    with pytest.raises(InputError, match=r"config\.json: line 2, column 3: not JSON"):
        load_encoder(str(tiny_copy), max_length=64)
    (tiny_copy / "config.json").unlink()
    with pytest.raises(InputError, match=r"config\.json: missing"):
        load_encoder(str(tiny_copy), max_length=64)


def test_lengths_and_dtypes_are_checked(golden: Path) -> None:
    folder = str(golden / "tiny_bert")
    with pytest.raises(InputError, match="max_length: expected a value at least 3 and at most 64, got 128"):
        load_encoder(folder, max_length=128)
    with pytest.raises(InputError, match="dtype: no 'float16'; did you mean 'bfloat16'"):
        load_encoder(folder, max_length=64, dtype="float16")
