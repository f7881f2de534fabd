"""What pruning takes away is what a gate of zero would silence, and a pruned encoder returns from disk as it was."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.encoder import Encoder, load_encoder, save_encoder
from jaxrec.encoder.importance import layers_that_matter, prune, unit_importance
from jaxrec.encoder.pool import unit_length
from jaxrec.encoder.prune import keep_channels, keep_heads, keep_layers
from tests.encoder.references import load_golden, quick, reference


def hidden(enc: Encoder, family: str) -> np.ndarray:
    want = reference(family)
    return np.asarray(quick(enc.apply)(enc.params, want["ids"], want["mask"])) * want["mask"][:, :, None]


def silenced(enc: Encoder, name: str, rows: np.ndarray) -> Encoder:
    """The encoder whose dense layers `name` get nothing from their inputs `rows` [L, n]."""
    kernel = np.array(enc.params["layers"][name]["kernel"])
    np.put_along_axis(kernel, rows[:, :, None], 0.0, axis=1)
    layers = {**enc.params["layers"], name: {**enc.params["layers"][name], "kernel": jnp.asarray(kernel)}}
    return dataclasses.replace(enc, params={**enc.params, "layers": layers})


def others(rows: np.ndarray, count: int) -> np.ndarray:
    return np.stack([np.setdiff1d(np.arange(count), row) for row in rows])


@pytest.mark.parametrize("family", ["tiny_bert", "modernbert", "qwen3", "gpt2", "t5", "mpnet"])
def test_heads_that_are_gone_are_heads_that_add_nothing(family: str) -> None:
    enc = load_golden(family)
    count, each = enc.config.num_key_value_heads, enc.config.num_attention_heads // enc.config.num_key_value_heads
    gone = np.arange(enc.config.num_hidden_layers)[:, None] % count
    if enc.config.relative_buckets:
        gone = np.ones_like(gone)
    width = each * enc.config.head_dim
    rows = gone * width + np.arange(width)
    small = keep_heads(enc, others(gone, count))
    assert small.config.num_key_value_heads == count - 1
    np.testing.assert_allclose(
        hidden(small, family), hidden(silenced(enc, "attention_output", rows), family), atol=2e-5
    )


@pytest.mark.parametrize("family", ["tiny_bert", "modernbert", "llama", "gpt2", "t5_v1_1"])
def test_channels_that_are_gone_are_channels_that_add_nothing(family: str) -> None:
    enc = load_golden(family)
    rng = np.random.default_rng(0)
    layers, count = enc.config.num_hidden_layers, enc.config.intermediate_size
    gone = np.stack([np.sort(rng.permutation(count)[:5]) for _ in range(layers)])
    small = keep_channels(enc, others(gone, count))
    np.testing.assert_allclose(hidden(small, family), hidden(silenced(enc, "mlp_out", gone), family), atol=2e-5)


def idle_layer(enc: Encoder, layer: int) -> Encoder:
    """The encoder with a layer that adds nothing (norms stand before the sublayers)."""
    layers = {name: dict(weights) for name, weights in enc.params["layers"].items()}
    for name in ("attention_output", "mlp_out"):
        layers[name] = {kind: x.at[layer].set(0.0) for kind, x in layers[name].items()}
    return dataclasses.replace(enc, params={**enc.params, "layers": layers})


@pytest.mark.parametrize("family", ["gpt2", "modernbert"])
def test_a_layer_that_adds_nothing_can_go_and_is_the_first_to_go(family: str) -> None:
    enc, want = idle_layer(load_golden(family), 2), reference(family)
    np.testing.assert_allclose(hidden(keep_layers(enc, [0, 1, 3]), family), hidden(enc, family), atol=1e-6)
    assert layers_that_matter(enc, want["ids"], want["mask"], 3) == [0, 1, 3]
    assert layers_that_matter(enc, want["ids"], want["mask"], 4) == [0, 1, 2, 3]


def test_importance_is_how_far_a_gate_moves_the_vector() -> None:
    enc, want = load_golden("tiny_bert"), reference("tiny_bert")
    ids, mask = want["ids"][:1], want["mask"][:1]
    layer, head, channel, step = 1, 0, 7, 1e-2

    def moved(name: str, rows: slice) -> float:
        """Squared length of the slope, by a central difference."""
        ends = []
        for factor in (1 + step, 1 - step):
            kernel = enc.params["layers"][name]["kernel"].at[layer, rows].multiply(factor)
            params = {
                **enc.params,
                "layers": {**enc.params["layers"], name: {**enc.params["layers"][name], "kernel": kernel}},
            }
            ends.append(unit_length(enc.pool(params, enc.apply(params, ids, mask), mask))[0])
        return float((((ends[0] - ends[1]) / (2 * step)) ** 2).sum())

    got = unit_importance(enc, jnp.repeat(ids, 1000, 0), jnp.repeat(mask, 1000, 0), jax.random.key(0))
    size = enc.config.head_dim
    np.testing.assert_allclose(
        got.groups[layer, head], moved("attention_output", slice(head * size, (head + 1) * size)), rtol=0.1
    )
    np.testing.assert_allclose(got.channels[layer, channel], moved("mlp_out", slice(channel, channel + 1)), rtol=0.15)


def test_units_that_add_nothing_go_first() -> None:
    family = "qwen3"
    enc, want = load_golden(family), reference(family)
    idle = np.tile([3, 11, 40], (enc.config.num_hidden_layers, 1))
    enc = silenced(enc, "mlp_out", idle)
    count = enc.config.intermediate_size - 3
    small = prune(enc, want["ids"], want["mask"], jax.random.key(1), channels=count)
    assert small.config.intermediate_size == count
    np.testing.assert_allclose(hidden(small, family), hidden(enc, family), atol=2e-5)


@pytest.mark.parametrize("family", ["tiny_bert", "mpnet", "modernbert", "qwen2", "gemma3", "gpt2", "t5"])
def test_a_pruned_encoder_is_saved_with_its_sizes(family: str, tmp_path: Path) -> None:
    small = keep_layers(load_golden(family), [0, 2, 3])
    small = keep_heads(small, np.ones((3, 1), np.int32))
    small = keep_channels(small, np.tile(np.arange(0, small.config.intermediate_size, 2), (3, 1)))
    save_encoder(small, tmp_path / "small")
    again = load_encoder(tmp_path / "small", max_length=24)
    assert again.config == small.config
    jax.tree.map(np.testing.assert_array_equal, again.params, small.params)


def test_layers_heads_and_channels_go_together(tmp_path: Path) -> None:
    enc, want = load_golden("tiny_bert"), reference("tiny_bert")
    tried = []
    sizes = {"layers": 3, "heads": 2, "channels": 20, "advance": tried.append}
    small = prune(enc, want["ids"], want["mask"], jax.random.key(0), **sizes)
    config = small.config
    assert (config.num_hidden_layers, config.num_attention_heads, config.intermediate_size) == (3, 2, 20)
    assert sum(tried) == 4 and small.identity != enc.identity
    assert np.isfinite(hidden(small, "tiny_bert")).all()


def test_what_cannot_be_pruned_or_told_is_refused(tmp_path: Path) -> None:
    enc, want = load_golden("qwen3"), reference("qwen3")
    args = (want["ids"], want["mask"], jax.random.key(0))
    with pytest.raises(InputError, match=r"heads: expected a multiple of 2, as 2 share a key head, got 1"):
        prune(enc, *args, heads=1)
    with pytest.raises(InputError, match=r"layers: expected .*4.*, got 5"):
        prune(enc, *args, layers=5)
    with pytest.raises(InputError, match="layers: expected increasing layer numbers below 4, got"):
        keep_layers(enc, [1, 1])
    with pytest.raises(InputError, match="the same heads in all layers"):
        keep_heads(load_golden("t5"), np.array([[0], [1], [0], [0]]))
    with pytest.raises(InputError, match="int8 weights cannot be pruned"):
        prune(load_encoder(enc.folder, max_length=24, weights="int8"), *args, layers=2)
    headless = keep_layers(load_golden("modernbert"), [1, 2, 3])
    with pytest.raises(
        InputError, match=r"a config\.json of modernbert cannot describe the remaining layers, heads or channels"
    ):
        save_encoder(headless, tmp_path / "other")
    assert not (tmp_path / "other").exists()
