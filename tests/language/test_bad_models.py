"""Damaged and foreign models: one clear line each."""

import json
from pathlib import Path

import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.language import load_language_model
from tests.encoder.references import GOLDEN
from tests.language.conftest import model_folder
from tests.language.ggufs import write_gguf


def refused(path: Path, wanted: str) -> None:
    with pytest.raises(InputError, match=wanted) as found:
        load_language_model(path)
    assert "\n" not in str(found.value)


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m", "qwen2")
    (folder / "tokenizer.json").unlink()
    refused(folder, r"no tokenizer\.json or vocab\.txt, so texts cannot be read; add one")


def test_an_encoder_is_no_language_model() -> None:
    refused(GOLDEN / "tiny_bert", "model_type 'bert' encodes texts and gives no likelihood of them; expected a decoder")


def test_a_folder_with_two_gguf_files(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    refused(tmp_path, r"2 GGUF files; name one of them \(a\.gguf, b\.gguf\)")


@pytest.mark.parametrize("start", [b"", b"PK\x03\x04 a zip", b"GGU"])
def test_a_file_that_is_no_gguf(start: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(start)
    refused(path, "not a GGUF file; it starts with b.*, expected b'GGUF'")


@pytest.mark.parametrize("share", [0.0, 0.02, 0.2, 0.5, 0.999])
def test_a_truncated_gguf_file(share: float, tmp_path: Path) -> None:
    whole = write_gguf(tmp_path / "whole.gguf", "qwen3").read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[: max(4, int(len(whole) * share))])
    refused(path, "not a whole GGUF file .*; fetch it again")


def test_flipped_bytes_in_the_head_of_a_gguf_file_end_in_one_line(tmp_path: Path) -> None:
    whole = bytearray(write_gguf(tmp_path / "whole.gguf", "qwen3").read_bytes())
    path, rng = tmp_path / "flipped.gguf", np.random.default_rng(0)
    refused_ones = 0
    for place in rng.integers(4, 3000, 25):
        damaged = whole.copy()
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            load_language_model(path)
        except InputError as error:
            refused_ones += 1
            assert "\n" not in str(error)
    assert refused_ones  # a flipped byte of a name that nothing reads does no harm


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"architecture": "mamba"}, "general.architecture 'mamba' is not supported; supported: llama, qwen2"),
        (
            {"settings": lambda w: w.add_expert_count(8)},
            "a mixture of experts is not supported; take a model without experts",
        ),
        ({"settings": lambda w: w.add_rope_dimension_count(4)}, "rope.dimension_count: only 16 is supported, got 4"),
        (
            {"settings": lambda w: w.add_rope_scaling_type(type("T", (), {"value": "yarn"}))},
            "rope_type: no 'yarn'",
        ),
        (
            {"change": lambda name, x: np.full_like(x, np.nan) if "layers.2.mlp.up" in name else x},
            "layers/mlp_in/kernel has numbers that are not finite; the weights are damaged",
        ),
        ({"change": lambda name, x: x[:, :16] if "up_proj" in name else x}, r"expected shape \(48, 32\)"),
        ({"settings": lambda w: w.add_tensor("more.weight", np.ones(4, np.float32))}, "more.weight.* not part of"),
    ],
    ids=["architecture", "experts", "partial", "yarn", "nan", "shape", "tensor"],
)
def test_a_gguf_file_of_another_model(changes: dict, wanted: str, tmp_path: Path) -> None:
    refused(write_gguf(tmp_path / "m.gguf", "qwen3", **changes), wanted)


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("model", "llama", "tokenizer.ggml.model: only 'gpt2' .* is supported, got 'llama'; give the folder"),
        ("pre", "mystery", "tokenizer.ggml.pre 'mystery' is not supported"),
        ("merges", ["a b c"], "a merge is no pair"),
        ("merges", ["a zebra"], "the tokenizer fails"),
    ],
)
def test_a_gguf_file_with_another_tokenizer(key: str, value, wanted: str, tmp_path: Path) -> None:
    def setting(writer) -> None:
        writer.kv_data[0].pop(f"tokenizer.ggml.{key}")
        (writer.add_array if isinstance(value, list) else writer.add_string)(f"tokenizer.ggml.{key}", value)

    refused(write_gguf(tmp_path / "m.gguf", "qwen3", settings=setting), wanted)


@pytest.mark.parametrize(("value", "wanted"), [("yes", "tie_word_embeddings: expected true or false, got 'yes'")])
def test_a_config_with_a_wrong_value(value, wanted: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m", "qwen2")
    config = json.loads((folder / "config.json").read_text()) | {"tie_word_embeddings": value}
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder, wanted)


def test_without_the_package_gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_gguf(tmp_path / "m.gguf", "qwen3")
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    refused(path, r"reading it needs the package gguf; run `pip install 'jaxrec\[lm\]'`")


def test_a_folder_that_holds_one_gguf_file_stands_for_it(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", "qwen3")
    assert load_language_model(tmp_path).path == tmp_path / "m.gguf"
