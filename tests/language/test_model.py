"""Logits, the cache and the loading of language models; references are PyTorch's hidden states and logits."""

import json
from pathlib import Path

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxrec.checks import InputError
from jaxrec.encoder.transformer import Cache
from jaxrec.language import LanguageModel, load_language_model, logits
from jaxrec.language.gguf_file import open_gguf
from jaxrec.language.model import run
from tests.encoder.references import GOLDEN, reference
from tests.language.conftest import model_folder
from tests.language.ggufs import write_gguf

WORDS_OF = {"gpt2": "wte.weight"}


def want_logits(family: str, head: np.ndarray | None = None) -> np.ndarray:
    """PyTorch's hidden states [24, 32] of the first row times the table of words, or another head [V, E]."""
    stored = load_file(GOLDEN / family / "model.safetensors")
    (name,) = [one for one in stored if one.endswith(WORDS_OF.get(family, "embed_tokens.weight"))]
    table = np.asarray(stored[name] if head is None else head, np.float64)
    return reference(family)["hidden"][0].astype(np.float64) @ table.T


def first_ids(family: str) -> list[int]:
    return reference(family)["ids"][0].tolist()


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3", "mistral", "gemma3"])
def test_a_tied_head_gives_the_logits_of_pytorch(family: str, tmp_path: Path) -> None:
    lm = load_language_model(model_folder(tmp_path / family, family))
    np.testing.assert_allclose(logits(lm, [first_ids(family)])[0], want_logits(family), atol=2e-3)


def test_an_untied_head_is_read_and_needed(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "llama", "llama", tied=False)
    with pytest.raises(InputError, match=r"1 tensor \(lm_head.weight\) missing; the file does not fit"):
        load_language_model(folder)
    head = np.random.default_rng(0).normal(size=(120, 32)).astype(np.float32)
    save_file(load_file(folder / "model.safetensors") | {"lm_head.weight": head}, folder / "model.safetensors")
    got = logits(load_language_model(folder), [first_ids("llama")])[0]
    np.testing.assert_allclose(got, want_logits("llama", head), atol=2e-3)


@pytest.mark.parametrize("family", ["gpt2", "qwen3"])
def test_a_gguf_file_gives_the_logits_of_pytorch(family: str, tmp_path: Path) -> None:
    head = np.random.default_rng(0).normal(size=(120, 32)).astype(np.float32) if family == "qwen3" else None
    lm = load_language_model(write_gguf(tmp_path / "model.gguf", family, head=head))
    np.testing.assert_allclose(logits(lm, [first_ids(family)])[0], want_logits(family, head), atol=2e-3)


def test_a_gguf_file_of_llama_gives_the_logits_of_its_folder(tmp_path: Path) -> None:
    """The reference of the golden Llama has stretched angles, which a file of 64 positions cannot say."""
    folder = model_folder(tmp_path / "folder", "llama")
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"] = {"rope_theta": 10000.0, "rope_type": "default"}
    (folder / "config.json").write_text(json.dumps(config))
    want = logits(load_language_model(folder), [first_ids("llama")])[0]
    got = logits(load_language_model(write_gguf(tmp_path / "model.gguf", "llama")), [first_ids("llama")])[0]
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert np.abs(np.asarray(want) - want_logits("llama")).max() > 0.1


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_the_divisors_of_llama_3_are_recognised(factor: float, tmp_path: Path) -> None:
    frequency = 10000.0 ** (-np.arange(0, 16, 2) / 16)
    keep = np.clip((8192 * frequency / (2 * np.pi) - 1) / 3, 0, 1)  # 1 turn in 8192 positions: slow; 4: kept
    divisors = (1 / (keep + (1 - keep) / factor)).astype(np.float32)

    def write(name: str, divisors: np.ndarray) -> Path:
        return write_gguf(tmp_path / name, "llama", settings=lambda w: w.add_tensor("rope_freqs.weight", divisors))

    rotary = load_language_model(write("right.gguf", divisors)).config.layers[0].rotary
    assert rotary is not None and (rotary.scaling, rotary.factor) == ("llama3", factor)
    with pytest.raises(InputError, match=r"rope_freqs\.weight is not that of Llama 3\.1"):
        load_language_model(write("wrong.gguf", divisors[::-1].copy()))


@pytest.mark.parametrize(("kind", "worst"), [("Q8_0", 0.35), ("Q4_1", 6.0)])
def test_quantised_weights_are_those_that_gguf_reads(kind: str, worst: float, tmp_path: Path) -> None:
    one = gguf.GGMLQuantizationType[kind]
    path = write_gguf(tmp_path / "model.gguf", "qwen3", kind=one)
    stored = open_gguf(path)
    tensor = stored.get_slice("blk.2.ffn_up.weight")
    whole = load_file(GOLDEN / "qwen3" / "model.safetensors")
    (name,) = [name for name in whole if name.endswith("layers.2.mlp.up_proj.weight")]
    exact = np.asarray(whole[name], np.float32)
    step = np.ptp(exact.reshape(-1, 32), axis=1).max() / (15 if kind == "Q4_1" else 127)
    assert tensor.get_shape() == [48, 32]
    assert 0 < np.abs(tensor[:] - exact).max() <= 0.51 * step + 1e-3
    np.testing.assert_array_equal(tensor[3:5, 1:4], tensor[:][3:5, 1:4])
    difference = np.abs(np.asarray(logits(load_language_model(path), [first_ids("qwen3")])[0]) - want_logits("qwen3"))
    assert 1e-3 < difference.max() < worst


def test_rows_of_queries_and_keys_are_moved_back_for_llama_alone(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "llama.gguf", "llama")
    stored = load_file(GOLDEN / "llama" / "model.safetensors")
    opened = open_gguf(path)
    for kind in ("q", "k"):
        (name,) = [name for name in stored if name.endswith(f"layers.1.self_attn.{kind}_proj.weight")]
        want = np.asarray(stored[name], np.float32)
        np.testing.assert_array_equal(opened.get_slice(f"blk.1.attn_{kind}.weight")[:], want)
        assert np.abs(np.asarray(opened.tensors[f"blk.1.attn_{kind}.weight"].data) - want).max() > 0.1


@pytest.mark.parametrize("family", ["qwen2", "gpt2"])
def test_reading_in_steps_equals_reading_at_once(family: str, tmp_path: Path) -> None:
    """Windows of 6 tokens (qwen2), learned positions (gpt2); prompts of unequal length, two texts after each."""
    lm = load_language_model(model_folder(tmp_path / family, family))
    rng = np.random.default_rng(1)
    prompts = [rng.integers(0, 120, n).tolist() for n in (11, 4)]
    texts = [[rng.integers(0, 120, 5).tolist() for _ in range(2)] for _ in prompts]
    ids, mask = np.zeros((2, 2, 14), np.int32)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)], mask[row, : len(prompt)] = prompt, 1
    hidden = lambda params, ids, mask, cache=None: run(lm.module, params, ids, mask, cache)  # noqa: E731
    program = jax.jit(hidden)
    cache = program(lm.params, ids, mask)[1]
    after = np.array([text for own in texts for text in own], np.int32)
    got, kept = program(lm.params, after[:, :3], np.ones((4, 3), np.int32), cache)
    longer = Cache(
        *(
            jnp.concatenate([jnp.repeat(old, 2, axis=1), new], axis=3)
            for old, new in ((cache.key, kept.key), (cache.value, kept.value))
        ),
        jnp.concatenate([jnp.repeat(cache.mask, 2, axis=0), kept.mask], axis=1),
    )
    rest, _ = program(lm.params, after[:, 3:], np.ones((4, 2), np.int32), longer)
    for row, text in enumerate(after.tolist()):
        whole = np.array([[*prompts[row // 2], *text]], np.int32)
        want = program(lm.params, whole, np.ones_like(whole))[0][0, -5:]
        np.testing.assert_allclose(np.concatenate([got[row], rest[row]]), want, atol=2e-4)


def test_smollm_gives_the_logits_of_pytorch(smollm: LanguageModel) -> None:
    """smollm2.json was written by make_golden.py: transformers' Llama on the same dequantised weights."""
    golden = json.loads(Path(__file__).with_name("smollm2.json").read_text())
    for row in golden["rows"]:
        assert smollm.encode(row["text"], False) == row["ids"]
        got = np.asarray(logits(smollm, [[*row["ids"], *[0] * (40 - len(row["ids"]))]])[0])[: len(row["ids"])]
        np.testing.assert_allclose(got.max(-1), row["best_logits"], atol=1e-3)
        np.testing.assert_array_equal(got.argmax(-1), row["best"])
        np.testing.assert_allclose(np.asarray(jax.nn.logsumexp(got, axis=-1)), row["log_sums"], atol=1e-3)
        np.testing.assert_allclose(got[-3:, :: golden["step"]], row["logits"], atol=1e-3)


def test_smollm_writes_its_chat_template(smollm: LanguageModel) -> None:
    text = smollm.chat([{"role": "system", "content": "S"}, {"role": "user", "content": "U"}])
    assert text == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
    assert smollm.decode(smollm.encode(text)) == "system\nS\nuser\nU\nassistant\n"
