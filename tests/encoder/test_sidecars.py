"""Files next to the weights: vectors are those of sentence-transformers for each setting, and the rest is refused."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from tokenizers.processors import RobertaProcessing

from jaxrec.checks import InputError
from jaxrec.encoder import encode, load_encoder
from jaxrec.encoder.embed import embed_counted
from jaxrec.encoder.tokenize import Tokens, cuts_of, load_tokenizer
from jaxrec.storage.digests import remove_file
from tests.encoder.golden.sidecar_changes import (
    ADDED,
    CHANGES,
    MODEL,
    MODULES,
    SETTINGS,
    TEXTS,
    TOKENIZER,
    TOKENS,
    WORDS,
    change,
)
from tests.encoder.references import GOLDEN

SIDECARS, WEIGHTS = GOLDEN / "sidecars", "model.safetensors"


@pytest.fixture(scope="module")
def published() -> dict[str, np.ndarray]:
    """Vectors of `TEXTS` by sentence-transformers for each of `CHANGES`."""
    with np.load(SIDECARS / "vectors.npz") as stored:
        return dict(stored)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The model in a folder that a test may change."""
    return Path(shutil.copytree(SIDECARS, tmp_path / "model"))


@pytest.mark.parametrize("name", CHANGES)
def test_vectors_equal_those_of_sentence_transformers(name: str, copy: Path, published) -> None:
    change(copy, CHANGES[name])
    got = encode(TEXTS, copy, cache_dir="")
    np.testing.assert_allclose(got, published[name], atol=1e-5)


def test_nearly_every_setting_changes_a_vector(published) -> None:
    plain = published["plain"]
    same = {name for name, x in published.items() if x.shape == plain.shape and np.abs(x - plain).max() < 1e-3}
    assert same == {
        "plain",
        "case left to the tokenizer",
        "cased, another class",  # of which tokenizer.json has the last word
        "no flag",
        "vocab.txt",
        "vocab.txt alone",
        "more channels than there are",
        "no settings",
        "no settings of the tokenizer",
    }


@pytest.mark.parametrize(
    "prefix",
    ["_orig_mod.", "module.", "0.auto_model.", "0.model.", "_orig_mod.module.", "module.0.auto_model.bert.", "bert."],
)
def test_names_of_weights_may_be_wrapped(prefix: str, copy: Path, published) -> None:
    stored = load_file(copy / WEIGHTS)
    save_file({prefix + name: x for name, x in stored.items()}, copy / WEIGHTS)
    np.testing.assert_allclose(encode(TEXTS, copy, cache_dir=""), published["plain"], atol=1e-5)


@pytest.mark.parametrize("wrapper", ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
def test_layers_may_be_wrapped_one_by_one(wrapper: str, copy: Path, published) -> None:
    stored = load_file(copy / WEIGHTS)
    names = {name: re.sub(r"(layer\.\d+)\.", rf"\1.{wrapper}.", name) for name in stored}
    save_file({names[name]: x for name, x in stored.items()}, copy / WEIGHTS)
    np.testing.assert_allclose(encode(TEXTS, copy, cache_dir=""), published["plain"], atol=1e-5)


def test_two_models_in_one_file_are_refused(copy: Path) -> None:
    stored = load_file(copy / WEIGHTS)
    name = "embeddings.word_embeddings.weight"
    save_file(stored | {f"module.{name}": stored[name] + 1}, copy / WEIGHTS)
    with pytest.raises(InputError, match=r"embeddings\.weight are the same tensor of two models; keep one of them"):
        load_encoder(copy)
    rest = {n: x for n, x in stored.items() if n != name} | {f"student.{name}": stored[name]}
    save_file(rest, copy / WEIGHTS)
    with pytest.raises(InputError, match=r"1 tensor \(embeddings\.word_embeddings\.weight\) missing"):
        load_encoder(copy)


REFUSED = [
    (SETTINGS, {"do_lower_case": "yes"}, r"do_lower_case: expected true, false or null, got 'yes'"),
    (SETTINGS, {"transformer_task": "fill-mask"}, r"transformer_task: only 'feature-extraction' is supported"),
    (SETTINGS, {"module_output_name": "scores"}, r"module_output_name: only 'token_embeddings' is supported"),
    (SETTINGS, {"modality_config": {"message": {}}}, r"modality_config: only text read by .* is supported, got None"),
    (
        SETTINGS,
        {"modality_config": {"text": {"method": "forward", "method_output_name": "pooler_output"}}},
        r"modality_config: only text read by .*'last_hidden_state'.* got .*pooler_output",
    ),
    (SETTINGS, {"processing_kwargs": {"text": {"max_length": 8}}}, r"processing_kwargs: .* is not supported"),
    (SETTINGS, {"query_length": 32}, r"query_length: 32 is not supported; set it to null"),
    (SETTINGS, {"tokenizer_name_or_path": "other"}, r"tokenizer_name_or_path: 'other' is not supported"),
    (SETTINGS, {"model_args": {"torch_dtype": "float16"}}, r"model_args: torch_dtype: 'float16' is not followed"),
    (SETTINGS, {"model_kwargs": {"add_pooling_layer": True}}, r"model_kwargs: add_pooling_layer: True is not supp"),
    (SETTINGS, {"config_args": {"num_hidden_layers": 1}}, r"config_args: num_hidden_layers: 1 is not supported"),
    (SETTINGS, {"tokenizer_args": {"stride": 3}}, r"tokenizer_args: stride: 3 is not supported; delete it"),
    (SETTINGS, {"tokenizer_args": 3}, r"tokenizer_args: expected an object, got 3"),
    (TOKENS, {"truncation_side": "middle"}, r"truncation_side: no 'middle' \(known: left, right\)"),
    (TOKENS, {"padding_side": "left"}, r"padding_side: 'left' is not supported with learned positions.* 'right'"),
    (TOKENS, {"strip_accents": "no"}, r"strip_accents: expected true, false or null, got 'no'"),
    (MODEL, {"model_type": "SparseEncoder"}, r"model_type: only 'SentenceTransformer' is supported, got 'SparseE"),
    (MODEL, {"truncate_dim": 0}, r"truncate_dim: expected a whole number of channels, got 0"),
    ("1_Pooling/config.json", {"include_prompt": False}, r"include_prompt: only true is supported"),
    (ADDED, {"<new>": 110}, r"added_tokens\.json: '<new>': expected row 110, but the tokenizer has it at 108"),
]


@pytest.mark.parametrize(("file", "values", "says"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_is_not_followed_is_refused_by_name_and_file(file: str, values: dict, says: str, copy: Path) -> None:
    change(copy, {file: values})
    with pytest.raises(InputError, match=says) as caught:
        load_encoder(copy)
    assert str(copy / file) in str(caught.value) and "\n" not in str(caught.value)


def test_what_changes_no_vector_is_accepted(copy: Path, published) -> None:
    arguments = {"model_args": {"attn_implementation": "sdpa", "torch_dtype": "float32"}, "config_args": {}}
    harmless = {"unpad_inputs": False, "query_length": None, "tokenizer_args": {"use_fast": True}, "max_seq_length": 64}
    change(copy, {SETTINGS: arguments | harmless})
    np.testing.assert_allclose(encode(TEXTS, copy, cache_dir=""), published["plain"], atol=1e-5)


def edit_modules(folder: Path, *modules: str) -> None:
    listed = [
        {"type": f"sentence_transformers.models.{kind}", "path": path}
        for kind, _, path in (one.partition(" ") for one in modules)
    ]
    (folder / MODULES).write_text(json.dumps(listed))


def test_modules_of_training_are_passed_over_and_a_missing_pooling_is_refused(copy: Path, published) -> None:
    edit_modules(copy, "Transformer", "Pooling 1_Pooling", "Dropout 2_Dropout")
    np.testing.assert_allclose(encode(TEXTS, copy, cache_dir=""), published["plain"], atol=1e-5)
    edit_modules(copy, "Transformer")
    with pytest.raises(InputError, match=r"modules\.json: no Pooling, so the model has a vector per token"):
        load_encoder(copy)
    edit_modules(copy, "Transformer", "Dense 2_Dense", "Pooling 1_Pooling")
    with pytest.raises(InputError, match=r"modules\.json: Dense before Pooling is not supported"):
        load_encoder(copy)
    edit_modules(copy, "Transformer", "Pooling 1_Pooling", "Normalize 2_Normalize")
    (copy / "2_Normalize").mkdir()
    (copy / "2_Normalize" / "config.json").write_text('{"module_input_name": "token_embeddings"}')
    with pytest.raises(InputError, match=r"module_input_name: only 'sentence_embedding' is supported, got 'token_emb"):
        load_encoder(copy)


def test_transformers_reads_tokenizer_json_only_where_the_settings_ask_for_something_else(
    copy: Path, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    change(copy, CHANGES["left"])  # the side of cutting needs no other program
    assert len(load_encoder(copy).tokenize(TEXTS)) == 7
    change(copy, {TOKENS: {"do_lower_case": False}})
    with pytest.raises(InputError, match=r"model: reading it needs the package transformers"):
        load_encoder(copy)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("roberta", {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True}),
        ("roberta", {"tokenizer_class": "RobertaTokenizer"}),
        ("gpt2", {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True}),
        ("gpt2", {"add_prefix_space": True}),
        ("gpt2", {"tokenizer_class": "PreTrainedTokenizerFast", "add_prefix_space": True}),
        ("gpt2", {"extra_special_tokens": ["<new>"]}),
    ],
)
def test_byte_level_tokenizers_give_the_ids_of_transformers(family: str, settings: dict, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    made = ByteLevelBPETokenizer()
    made.train_from_iterator(TEXTS * 9, vocab_size=300, special_tokens=["<s>", "</s>"], show_progress=False)
    whole = Tokenizer.from_str(made.to_str())
    if family == "roberta":
        whole.post_processor = RobertaProcessing(("</s>", 1), ("<s>", 0))  # type: ignore[assignment]
    whole.save(str(tmp_path / TOKENIZER))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    (tmp_path / TOKENS).write_text(json.dumps(settings))
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path, 12)
    assert tokenizer is not None
    for text in TEXTS:
        assert tokenizer.encode(text).ids == reference(text, truncation=True, max_length=12)["input_ids"]


@pytest.mark.parametrize("side", ["left", "right"])
def test_texts_that_are_cut_are_counted(side: str, copy: Path, tmp_path: Path) -> None:
    change(copy, {SETTINGS: {"max_seq_length": 6}, TOKENS: {"truncation_side": side}})
    enc = load_encoder(copy)
    texts = ["a b", "a b c d", "a b c d e", "a b c d e f", "", "b " * 30]  # with both ends 4, 6, 7, 8, 2 and 32 tokens
    tokens = enc.tokenize(texts)
    assert isinstance(tokens, Tokens) and cuts_of(tokens) == 3 and [len(ids) for ids in tokens] == [4, 6, 6, 6, 2, 6]
    first, again = (embed_counted(enc, texts, 8192, str(tmp_path / "cache")) for _ in range(2))
    assert first.cut == again.cut == 3 and first.vectors.tobytes() == again.vectors.tobytes()
    (file,) = (tmp_path / "cache").glob("*.npz")
    remove_file(file)
    np.savez(file, vectors=first.vectors)  # as earlier versions wrote it
    assert embed_counted(enc, texts, 8192, str(tmp_path / "cache")).cut == 3
    assert embed_counted(enc, texts[:2], 8192).cut == 0 == embed_counted(enc, [], 8192).cut


def test_tokens_without_a_row_do_not_hide_that_a_text_was_cut(copy: Path) -> None:
    change(copy, {SETTINGS: {"max_seq_length": 6}, ADDED: WORDS | {"<a>": 110, "<b>": 111, "<c>": 112}})
    tokens = load_encoder(copy).tokenize(["a <c> b c d e f", "a <c>"])  # the model has rows 0 to 111
    assert cuts_of(tokens) == 1 and [len(ids) for ids in tokens] == [5, 3]
