import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.encoder import Encoder, load_encoder
from jaxrec.encoder.architecture import Architecture, LayerKind, Rotary
from jaxrec.encoder.load import make_apply
from jaxrec.encoder.transformer import Transformer, gelu
from tests.encoder.references import GOLDEN, error, load_golden, quick, reference

TOLERANCE = 1e-5


@pytest.mark.parametrize("part", ["query", "key", "value", "mlp_in", "attention_output", "mlp_out"])
def test_every_bias_of_a_layer_matters_but_that_of_the_keys(tiny: Encoder, part: str) -> None:
    layers = tiny.params["layers"]
    dense = layers[part] | {"bias": jnp.roll(layers[part]["bias"], 1, axis=1)}
    worst = error("tiny_bert", tiny.apply, tiny.params | {"layers": layers | {part: dense}})
    # The bias of the keys adds q . b to all scores of a query alike, and the softmax takes it out again.
    assert worst <= TOLERANCE if part == "key" else worst > 2 * TOLERANCE


@pytest.mark.parametrize("family", ["tiny_bert", "gemma3"])
def test_bfloat16_products_stay_near_float32(family: str) -> None:
    enc, want = load_golden(family), reference(family)
    apply = make_apply(Transformer(enc.config, jnp.bfloat16))
    assert jax.eval_shape(apply, enc.params, want["ids"], want["mask"]).dtype == jnp.float32
    assert TOLERANCE < error(family, apply, enc.params) < 0.2


@pytest.mark.parametrize("remat", ["dots", "full"])
def test_what_a_gradient_keeps_changes_memory_and_not_its_value(remat) -> None:
    args = tuple(jnp.array(reference("modernbert")[name]) for name in ("ids", "mask"))

    def gradient(name):
        enc = load_encoder(GOLDEN / "modernbert", max_length=24, remat=name)
        program = jax.jit(jax.grad(lambda params: (enc.apply(params, *args) ** 2).sum())).lower(enc.params)
        program = program.compile({"xla_backend_optimization_level": 0})
        return program(enc.params), program.memory_analysis().temp_size_in_bytes

    (less, small), (full, large) = gradient(remat), gradient("none")
    assert small < large
    for one, other in zip(jax.tree.leaves(less), jax.tree.leaves(full), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_fully_masked_rows_are_finite_with_finite_gradients(tiny: Encoder) -> None:
    ids, mask = jnp.zeros((2, 8), jnp.int32), jnp.zeros((2, 8), jnp.int32)

    def total(params):
        hidden = tiny.apply(params, ids, mask)
        return hidden.sum() + tiny.pool(params, hidden, mask).sum()

    value, slope = quick(jax.value_and_grad(total))(tiny.params)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in (value, *jax.tree.leaves(slope)))


def test_gelu_is_exact() -> None:
    # x Phi(x) at -1, 0, 1, 2 with Phi(1) = 0.8413447, Phi(2) = 0.9772499
    got = gelu(jnp.array([-1.0, 0.0, 1.0, 2.0]))
    np.testing.assert_allclose(got, [-0.1586553, 0.0, 0.8413447, 1.9544997], atol=1e-6)


def test_a_text_longer_than_the_positions_is_refused(tiny: Encoder) -> None:
    ids = jnp.zeros((1, 65), jnp.int32)
    with pytest.raises(InputError, match="at most 64 tokens per text, got 65"):
        tiny.apply(tiny.params, ids, ids)


def test_a_text_without_position_table_may_have_any_length() -> None:
    enc = load_golden("t5")
    ids = jnp.ones((1, 70), jnp.int32)
    assert quick(enc.apply)(enc.params, ids, ids).shape == (1, 70, 32)


SIZES = {
    "vocab_size": 9,
    "hidden_size": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 2,
    "intermediate_size": 8,
    "layers": (LayerKind(),),
    "hidden_act": "gelu",
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"num_key_value_heads": 3}, r"num_attention_heads: expected a multiple of num_key_value_heads \(3\), got 4"),
        ({"layers": ()}, "num_hidden_layers: expected a value at least 1, got 0"),
        ({"hidden_act": "gelu_old"}, "hidden_act: no 'gelu_old'; did you mean 'gelu'"),
        ({"norm_eps": 0.0}, "norm_eps: expected a value above 0"),
        ({"head_dim": 3, "layers": (LayerKind(rotary=Rotary()),)}, "head_dim: expected an even number"),
    ],
)
def test_impossible_sizes_are_refused(change, says) -> None:
    with pytest.raises(InputError, match=says):
        Architecture(**(SIZES | change))


def test_equal_architectures_are_one_key() -> None:
    one = Architecture(**SIZES)
    assert hash(one) == hash(dataclasses.replace(one)) and one == dataclasses.replace(one)
