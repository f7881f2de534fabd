import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxrec.encoder import Encoder, load_encoder
from jaxrec.encoder.adapt import joined, merged, new_adapters, save_adapters, with_adapters
from jaxrec.encoder.transformer import Transformer

IDS = jnp.arange(1, 17).reshape(2, 8)
MASK = jnp.ones((2, 8), jnp.int32).at[1, 5:].set(0)


def adapted(enc: Encoder, kernels: tuple[str, ...], noise: float):
    module = with_adapters(Transformer(enc.config), 2, 6.0, kernels)
    adapters = new_adapters(module, jax.random.key(0))
    keys = iter(jax.random.split(jax.random.key(1), 99))
    adapters = jax.tree.map(lambda x: x + noise * jax.random.normal(next(keys), x.shape), adapters)

    def apply(params):
        with jax.numpy_dtype_promotion("standard"):
            return module.apply({"params": params}, IDS, MASK)

    return adapters, jax.jit(apply)(joined(enc.params, adapters))


@pytest.mark.parametrize("family", ["tiny_bert", "gpt2", "modernbert"])
def test_adapters_change_nothing_at_first_and_merge_into_plain_weights(family: str, golden: Path) -> None:
    enc = load_encoder(golden / family, max_length=24)
    plain = jax.jit(enc.apply)
    _, hidden = adapted(enc, ("query", "mlp_in"), 0.0)
    np.testing.assert_array_equal(hidden, plain(enc.params, IDS, MASK))
    adapters, hidden = adapted(enc, ("query", "mlp_in"), 0.1)
    np.testing.assert_allclose(hidden, plain(merged(enc.params, adapters, 3.0), IDS, MASK), atol=2e-5)
    assert np.abs(hidden - plain(enc.params, IDS, MASK)).max() > 0.01


def test_only_the_kernels_that_are_named_and_there_get_adapters(tiny: Encoder) -> None:
    adapters, _ = adapted(tiny, ("value", "mlp_gate"), 0.0)
    assert set(adapters["layers"]) == {"value"} and set(adapters) == {"layers"}
    assert {name: x.shape for name, x in adapters["layers"]["value"].items()} == {
        "kernel_lora_a": (4, 32, 2),
        "kernel_lora_b": (4, 2, 32),
    }


def test_saved_adapters_have_the_names_of_peft(tiny: Encoder, tmp_path: Path) -> None:
    adapters, _ = adapted(tiny, ("query", "mlp_out"), 0.1)
    save_adapters(tiny, adapters, 2, 6.0, tmp_path / "adapters")
    tensors = load_file(tmp_path / "adapters" / "adapter_model.safetensors")
    name = "base_model.model.encoder.layer.3.attention.self.query.lora_A.weight"
    assert len(tensors) == 16
    np.testing.assert_array_equal(tensors[name], adapters["layers"]["query"]["kernel_lora_a"][3].T)
    described = json.loads((tmp_path / "adapters" / "adapter_config.json").read_text())
    assert (described["r"], described["lora_alpha"], described["rank_pattern"]) == (2, 6.0, {})


def test_kernels_kept_in_one_tensor_share_one_adapter_of_all_their_ranks(golden: Path, tmp_path: Path) -> None:
    enc = load_encoder(golden / "modernbert", max_length=24)
    adapters, _ = adapted(enc, ("query", "value"), 0.1)
    save_adapters(enc, adapters, 2, 6.0, tmp_path / "adapters")
    tensors = load_file(tmp_path / "adapters" / "adapter_model.safetensors")
    described = json.loads((tmp_path / "adapters" / "adapter_config.json").read_text())
    assert described["rank_pattern"] == {r"layers\.\d+\.attn\.Wqkv": 4}
    assert described["alpha_pattern"] == {r"layers\.\d+\.attn\.Wqkv": 12.0}
    down, up = (tensors[f"base_model.model.layers.1.attn.Wqkv.lora_{side}.weight"] for side in "AB")
    width = enc.params["layers"]["query"]["kernel"].shape[-1]
    delta = (up @ down).T  # [in, 3 x out]
    for part, name in enumerate(("query", "key", "value")):
        low = adapters["layers"].get(name)
        want = np.zeros((32, width)) if low is None else low["kernel_lora_a"][1] @ low["kernel_lora_b"][1]
        np.testing.assert_allclose(delta[:, part * width :][:, :width], want, atol=1e-6)
