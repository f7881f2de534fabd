"""Every family equals the PyTorch implementation, and no detail of it can be left out unnoticed."""

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.encoder import load_encoder, positions, transformer
from jaxrec.encoder.architecture import Architecture, LayerKind, Rotary
from jaxrec.encoder.attention import attention
from jaxrec.encoder.load import make_apply
from jaxrec.encoder.transformer import Transformer
from jaxrec.sharding.compile import compiled
from tests.encoder.references import FAMILIES, GOLDEN, error, load_golden, quick, reference, tolerance


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_equal_the_torch_implementation(family: str) -> None:
    enc, want = load_golden(family), reference(family)
    hidden = np.asarray(compiled(enc.apply)(enc.params, want["ids"], want["mask"]))
    assert np.abs(hidden - want["hidden"])[want["mask"] > 0].max() <= tolerance(family)


@pytest.mark.parametrize("family", [name for name in FAMILIES if "bidirectional" in reference(name)])
def test_decoders_read_both_ways_like_the_torch_implementation(family: str) -> None:
    enc = load_encoder(GOLDEN / family, max_length=24, bidirectional=True)
    assert error(family, enc.apply, enc.params, "bidirectional") <= tolerance(family)
    assert error(family, load_golden(family).apply, enc.params, "bidirectional") > 0.1


def layers(**change) -> Callable[[Architecture], Architecture]:
    """Change fields of every layer kind."""
    return lambda config: dataclasses.replace(
        config, layers=tuple(dataclasses.replace(one, **change) for one in config.layers)
    )


def windows(by: Callable[[int], int]) -> Callable[[Architecture], Architecture]:
    """Change the window of every layer that has one."""
    return lambda config: dataclasses.replace(
        config,
        layers=tuple(dataclasses.replace(one, window=by(one.window) if one.window else 0) for one in config.layers),
    )


def fields(**change) -> Callable[[Architecture], Architecture]:
    return lambda config: dataclasses.replace(config, **change)


def other_angles(config: Architecture) -> Architecture:
    """Every layer turns as those of the other kind."""
    first, second = {one.rotary for one in config.layers}
    swap = {first: second, second: first}
    return dataclasses.replace(
        config, layers=tuple(dataclasses.replace(one, rotary=swap[one.rotary]) for one in config.layers)
    )


WRONG = [
    *((name, "eps", fields(norm_eps=1e-3)) for name in FAMILIES),
    ("tiny_bert", "eps of RoBERTa", fields(norm_eps=1e-5)),
    ("xlm_roberta", "eps of BERT", fields(norm_eps=1e-12)),
    ("modernbert", "eps of BERT", fields(norm_eps=1e-12)),
    ("qwen3", "eps 1e-5", fields(norm_eps=1e-5)),
    *(
        (name, "tanh gelu", fields(hidden_act="gelu_new"))
        for name in ("tiny_bert", "xlm_roberta", "mpnet", "modernbert")
    ),
    *((name, "exact gelu", fields(hidden_act="gelu")) for name in ("gpt2", "gemma3", "embedding_gemma", "t5_v1_1")),
    ("t5", "gelu", fields(hidden_act="gelu")),
    *((name, "gelu", fields(hidden_act="gelu")) for name in ("llama", "qwen3")),
    ("tiny_bert", "no token type", fields(type_vocab_size=0)),
    ("xlm_roberta", "no token type", fields(type_vocab_size=0)),
    *((name, "positions from 0", fields(position_offset=0)) for name in ("xlm_roberta", "mpnet")),
    *((name, "positions from 1", fields(position_offset=1)) for name in ("xlm_roberta", "mpnet", "gpt2", "tiny_bert")),
    *((name, "no positions", fields(learned_positions=False)) for name in ("tiny_bert", "mpnet")),
    *((name, "no embedding norm", fields(embedding_norm=False)) for name in ("tiny_bert", "mpnet", "modernbert")),
    *((name, "no final norm", fields(final_norm=False)) for name in FAMILIES if load_golden(name).config.final_norm),
    *((name, "norms before", fields(norm_order="pre")) for name in ("tiny_bert", "xlm_roberta", "mpnet")),
    *((name, "two norms", fields(norm_order="pre")) for name in ("gemma3", "embedding_gemma")),
    *((name, "norms behind", fields(norm_order="post")) for name in ("gpt2", "t5", "llama")),
    ("modernbert", "a norm before the first attention", layers(attention_norm=True)),
    *((name, "scale by w", fields(norm_unit_offset=False)) for name in ("gemma3", "embedding_gemma")),
    *((name, "mean taken out", fields(norm="layer", norm_bias=False)) for name in ("t5", "llama", "gemma3")),
    ("gpt2", "mean left in", fields(norm="rms")),
    *((name, "embeddings unscaled", fields(embedding_scale=1.0)) for name in ("gemma3", "embedding_gemma")),
    *((name, "scores by head_dim", fields(query_scale=16**-0.5)) for name in ("gemma3", "embedding_gemma")),
    *((name, "scores scaled", fields(query_scale=10**-0.5)) for name in ("t5", "t5_v1_1")),
    *((name, "scores by width", fields(query_scale=8**-0.5)) for name in ("qwen3", "llama", "mistral")),
    *((name, "no norm of heads", fields(query_key_norm=False)) for name in ("qwen3", "gemma3", "embedding_gemma")),
    *((name, "angles swapped", other_angles) for name in ("modernbert", "gemma3", "embedding_gemma")),
    *((name, "usual angles", layers(rotary=Rotary())) for name in ("qwen3", "llama")),
    ("llama", "linear scaling", layers(rotary=Rotary(scaling="linear", factor=4.0))),
    *(
        (name, "window + 1", windows(lambda w: w + 1))
        for name in ("modernbert", "gemma3", "embedding_gemma", "mistral")
    ),
    *(
        (name, "window - 1", windows(lambda w: w - 1))
        for name in ("modernbert", "gemma3", "embedding_gemma", "mistral")
    ),
    ("embedding_gemma", "window not halved", windows(lambda w: 8)),
    ("modernbert", "window not halved", windows(lambda w: 9)),
    *((name, "no window", windows(lambda w: 0)) for name in ("qwen2", "mistral", "gemma3")),
    ("qwen2", "windows in all layers", layers(window=6)),
    ("modernbert", "every layer slides", layers(window=5)),
    *((name, "both ways", fields(causal=False)) for name in ("qwen3", "qwen2", "llama", "mistral", "gemma3", "gpt2")),
    *((name, "one way", fields(causal=True)) for name in ("tiny_bert", "modernbert", "embedding_gemma", "t5", "mpnet")),
    *((name, "no relative positions", fields(relative_buckets=0)) for name in ("mpnet", "t5", "t5_v1_1")),
    *((name, "buckets to 128", fields(relative_max_distance=128)) for name in ("t5", "t5_v1_1")),
    ("mpnet", "buckets to 20", fields(relative_max_distance=20)),
    ("qwen2", "no biases", fields(qkv_bias=False)),
    *((name, "no biases of the MLP", fields(mlp_bias=False)) for name in ("tiny_bert", "gpt2")),
    *((name, "no bias of the output", fields(output_bias=False)) for name in ("xlm_roberta", "gpt2")),
    *((name, "no gate", fields(gated_mlp=False)) for name in ("t5_v1_1", "llama", "modernbert")),
]


@pytest.mark.slow  # what it says is about the golden vectors, which do not change
@pytest.mark.parametrize(
    ("family", "detail", "wrong"), WRONG, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_wrong_detail_fails_parity(family: str, detail: str, wrong) -> None:
    enc = load_golden(family)
    assert error(family, make_apply(Transformer(wrong(enc.config))), enc.params) > 2 * tolerance(family)


def exchange(one: str, other: str):
    return lambda inner: inner | {one: inner[other], other: inner[one]}


def transpose(name: str):
    return lambda inner: inner | {name: inner[name] | {"kernel": inner[name]["kernel"].transpose(0, 2, 1)}}


WRONG_WEIGHTS = [
    *((name, exchange("mlp_gate", "mlp_in")) for name in ("modernbert", "t5_v1_1", "qwen3", "gemma3")),
    *((name, exchange("query", "key")) for name in ("modernbert", "gpt2", "tiny_bert")),
    *((name, exchange("key", "value")) for name in ("modernbert", "gpt2", "qwen3")),
    *((name, exchange("query_norm", "key_norm")) for name in ("qwen3", "gemma3")),
    *((name, exchange("attention_norm", "mlp_norm")) for name in ("t5", "llama", "gpt2", "mpnet")),
    *((name, exchange("attention_post_norm", "mlp_norm")) for name in ("gemma3", "embedding_gemma")),
    *((name, transpose("attention_output")) for name in ("gpt2", "tiny_bert", "xlm_roberta", "mpnet", "modernbert")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "wrong"), WRONG_WEIGHTS)
def test_weights_in_each_others_place_fail_parity(family: str, wrong) -> None:
    enc = load_golden(family)
    params = enc.params | {"layers": wrong(enc.params["layers"])}
    assert error(family, enc.apply, params) > 2 * tolerance(family)


def fresh(family: str):
    """The model's function, traced anew: for tests that change what it calls."""
    module = Transformer(load_golden(family).config)
    return lambda params, ids, mask: module.apply({"params": params}, ids, mask)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama", "mistral", "gemma3"])
def test_key_heads_tiled_instead_of_repeated_fail_parity(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def tiled(query, key, value, *rest):
        times = (1, query.shape[1] // key.shape[1], 1, 1)
        return attention(query, jnp.tile(key, times), jnp.tile(value, times), *rest)

    monkeypatch.setattr(transformer, "attention", tiled)
    assert error(family, fresh(family), load_golden(family).params) > 2 * tolerance(family)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen3", "llama", "modernbert", "gemma3"])
def test_neighbouring_channels_turned_together_fail_parity(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interleaved(x, cos, sin):
        order = np.arange(x.shape[-1]).reshape(-1, 2).T.ravel()  # 0 2 4 ... 1 3 5 ...
        return positions.rotate(x[..., order], cos, sin)[..., np.argsort(order)]

    monkeypatch.setattr(transformer, "rotate", interleaved)
    assert error(family, fresh(family), load_golden(family).params) > 2 * tolerance(family)


@pytest.mark.slow
def test_heads_normed_behind_the_rotation_fail_parity(monkeypatch: pytest.MonkeyPatch) -> None:
    enc = load_golden("qwen3")
    rotary = enc.config.layers[0].rotary
    assert rotary is not None
    cos, sin = positions.rotary_table(rotary, enc.config.head_dim, jnp.arange(24)[None, None])

    def turn_first(call, args, kwargs, context):
        if context.module.name in ("query_norm", "key_norm"):
            args = (positions.rotate(args[0], cos, sin),)
        return call(*args, **kwargs)

    monkeypatch.setattr(transformer, "rotate", lambda x, cos, sin: x)
    apply = fresh("qwen3")

    def late(params, ids, mask):
        with nn.intercept_methods(turn_first):
            return apply(params, ids, mask)

    assert error("qwen3", late, enc.params) > 2 * tolerance("qwen3")


@pytest.mark.slow
@pytest.mark.parametrize("family", ["t5", "t5_v1_1", "mpnet"])
def test_relative_positions_in_the_first_layer_alone_fail_parity(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    enc, original = load_golden(family), Transformer._shared

    def first_only(self, *inputs):
        shared = original(self, *inputs)
        structure = jnp.concatenate([shared.structure[:1], jnp.zeros_like(shared.structure[:1])])
        return shared._replace(structure=structure)

    monkeypatch.setattr(Transformer, "_shared", first_only)
    config = dataclasses.replace(enc.config, layers=(LayerKind(), *(LayerKind(window=99),) * 3))
    module = Transformer(config)
    assert error(family, functools.partial(_apply, module), enc.params) > 2 * tolerance(family)


def _apply(module: nn.Module, params, ids, mask):
    return module.apply({"params": params}, ids, mask)


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_on_either_side_changes_no_token(family: str) -> None:
    enc, want = load_golden(family), reference(family)
    ids, mask = np.where(want["mask"] > 0, want["ids"], 7), want["mask"]
    lengths = mask.sum(axis=1)
    for shift in (np.zeros_like(lengths), 24 - lengths):  # padding behind the tokens, then before them
        rolled = [np.stack([np.roll(row, by) for row, by in zip(x, shift, strict=True)]) for x in (ids, mask)]
        hidden = np.asarray(quick(enc.apply)(enc.params, *rolled))
        for row, by in enumerate(shift):
            tokens = slice(by, by + lengths[row])
            np.testing.assert_allclose(hidden[row, tokens], want["hidden"][row, : lengths[row]], atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_without_tokens_are_finite(family: str) -> None:
    enc, want = load_golden(family), reference(family)
    empty = np.zeros_like(want["mask"])
    hidden = quick(enc.apply)(enc.params, want["ids"], empty)
    assert bool(jnp.isfinite(hidden).all())
    assert bool(jnp.isfinite(enc.pool(enc.params, hidden, jnp.array(empty))).all())
