import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxrec.encoder.bert import Bert, BertConfig, gelu

from jaxrec.checks import InputError
from jaxrec.encoder import Encoder
from jaxrec.encoder.load import make_apply
from jaxrec.sharding.compile import compiled

TOLERANCE = 1e-5


@pytest.fixture
def reference(golden: Path) -> dict[str, np.ndarray]:
    """ids, mask [3, 24] and hidden [3, 24, 32] of the PyTorch implementation."""
    with np.load(golden / "tiny_bert" / "reference.npz") as stored:
        return dict(stored)


def error(apply, params, reference: dict[str, np.ndarray]) -> float:
    """Largest difference to the reference at tokens; what stands at padding is nobody's business."""
    hidden = compiled(apply)(params, jnp.array(reference["ids"]), jnp.array(reference["mask"]))
    return float(np.abs((np.asarray(hidden) - reference["hidden"])[reference["mask"] > 0]).max())


def test_hidden_states_equal_the_torch_implementation(tiny: Encoder, reference) -> None:
    assert error(tiny.apply, tiny.params, reference) <= TOLERANCE


@pytest.mark.parametrize("wrong", [{"hidden_act": "gelu_new"}, {"layer_norm_eps": 1e-5}])
def test_a_wrong_detail_of_the_config_fails_parity(tiny: Encoder, reference, wrong) -> None:
    apply = make_apply(Bert(dataclasses.replace(tiny.config, **wrong)))
    assert error(apply, tiny.params, reference) > 2 * TOLERANCE


def test_a_missing_segment_vector_fails_parity(tiny: Encoder, reference) -> None:
    params = tiny.params | {"segments": {"embedding": jnp.zeros_like(tiny.params["segments"]["embedding"])}}
    assert error(tiny.apply, params, reference) > 2 * TOLERANCE


@pytest.mark.parametrize("part", ["query", "key", "value", "mlp_in", "attention_output", "mlp_out"])
def test_every_bias_of_a_layer_matters_but_that_of_the_keys(tiny: Encoder, reference, part: str) -> None:
    layers = tiny.params["layers"]
    dense = layers[part] | {"bias": jnp.roll(layers[part]["bias"], 1, axis=1)}
    worst = error(tiny.apply, tiny.params | {"layers": layers | {part: dense}}, reference)
    # The bias of the keys adds q . b to all scores of a query alike, and the softmax takes it out again.
    assert worst <= TOLERANCE if part == "key" else worst > 2 * TOLERANCE


def test_bfloat16_products_stay_near_float32(tiny: Encoder, reference) -> None:
    apply = make_apply(Bert(tiny.config, jnp.bfloat16))
    assert jax.eval_shape(apply, tiny.params, reference["ids"], reference["mask"]).dtype == jnp.float32
    assert TOLERANCE < error(apply, tiny.params, reference) < 0.1


def test_fully_masked_rows_are_finite_with_finite_gradients(tiny: Encoder) -> None:
    ids, mask = jnp.zeros((2, 8), jnp.int32), jnp.zeros((2, 8), jnp.int32)

    def total(params):
        hidden = tiny.apply(params, ids, mask)
        return hidden.sum() + tiny.pool(hidden, mask).sum()

    value, slope = compiled(jax.value_and_grad(total))(tiny.params)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in (value, *jax.tree.leaves(slope)))


def test_padding_changes_no_token(tiny: Encoder, reference) -> None:
    ids, mask = jnp.array(reference["ids"][1:2]), jnp.array(reference["mask"][1:2])
    apply = compiled(tiny.apply)
    padded = apply(tiny.params, ids.at[:, 13:].set(7), mask)[:, :13]
    alone = apply(tiny.params, ids[:, :13], mask[:, :13])
    np.testing.assert_allclose(padded, alone, atol=1e-6)


def test_gelu_is_exact() -> None:
    # x Phi(x) at -1, 0, 1, 2 with Phi(1) = 0.8413447, Phi(2) = 0.9772499
    got = gelu(jnp.array([-1.0, 0.0, 1.0, 2.0]))
    np.testing.assert_allclose(got, [-0.1586553, 0.0, 0.8413447, 1.9544997], atol=1e-6)


def test_a_text_longer_than_the_positions_is_refused(tiny: Encoder) -> None:
    ids = jnp.zeros((1, 65), jnp.int32)
    with pytest.raises(InputError, match="at most 64 tokens a text, got 65"):
        tiny.apply(tiny.params, ids, ids)


SIZES = {
    "vocab_size": 9,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 8,
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"num_attention_heads": 3}, r"hidden_size: expected a multiple of num_attention_heads \(3\), got 8"),
        ({"vocab_size": "9"}, "vocab_size: expected a value of type int, got '9'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers: expected a value at least 1, got 0"),
        ({"hidden_act": "gelu_old"}, "hidden_act: no 'gelu_old'; did you mean 'gelu'"),
        ({"layer_norm_eps": 0.0}, "layer_norm_eps: expected a value above 0"),
        ({"layer_norm_eps": "1e-12"}, "layer_norm_eps: expected a value of type float, got '1e-12'"),
    ],
)
def test_impossible_sizes_are_refused(change, says) -> None:
    with pytest.raises(InputError, match=says):
        BertConfig(**(SIZES | change))
