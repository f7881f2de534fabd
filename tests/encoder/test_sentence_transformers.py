import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxrec.checks import InputError
from jaxrec.config.schema import EncoderConfig
from jaxrec.encoder import Encoder, embed_texts, load_encoder, open_encoder
from jaxrec.encoder.pool import Head, Pooling
from tests.encoder.references import GOLDEN

SENTENCE = GOLDEN / "sentence"


@pytest.fixture(scope="session")
def published() -> dict[str, list]:
    """Texts and their vectors by sentence-transformers, in several ways."""
    return json.loads((SENTENCE / "reference.json").read_text())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The sentence encoder in a folder that a test may damage."""
    return Path(shutil.copytree(SENTENCE, tmp_path / "sentence"))


def edit(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def load(folder: Path, **options) -> Encoder:
    return load_encoder(folder, max_length=64, **options)


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("plain", {}),
        ("query", {"prompt_name": "query"}),
        ("query", {"prompt": "find toy: "}),
        ("plain", {"prompt_name": "document"}),
        ("cut", {"dimensions": 5}),
        *((mode, {"pooling": mode}) for mode in ("mean", "cls", "lasttoken", "max", "mean_sqrt_len_tokens")),
    ],
)
def test_vectors_equal_those_of_sentence_transformers(published, key: str, options: dict) -> None:
    enc = load(SENTENCE, **options)
    got = embed_texts(enc, published["texts"])
    assert got.shape == (4, enc.width)
    np.testing.assert_allclose(got, published[key], atol=2e-6)


def test_a_recipe_sets_what_the_function_sets(published) -> None:
    config = EncoderConfig(model=str(SENTENCE), max_length=64, prompt_name="query", dimensions=5)
    got = embed_texts(open_encoder(config), published["texts"])
    want = embed_texts(load(SENTENCE, prompt_name="query", dimensions=5), published["texts"])
    np.testing.assert_array_equal(got, want)


def test_prompts_are_kept_for_later_and_change_without_loading_again(published) -> None:
    enc = load(SENTENCE)
    assert enc.prompts == {"query": "find toy: ", "document": ""} and enc.prompt == ""
    query = dataclasses.replace(enc, prompt=enc.prompts["query"])
    np.testing.assert_allclose(embed_texts(query, published["texts"]), published["query"], atol=2e-6)


def test_the_default_prompt_is_taken_unless_another_is_given(copy: Path) -> None:
    edit(copy / "config_sentence_transformers.json", default_prompt_name="query")
    assert load(copy).prompt == "find toy: "
    assert load(copy, prompt_name="document").prompt == ""
    assert load(copy, prompt="passage: ").prompt == "passage: "


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"prompt_name": "querry"}, "prompt_name: no 'querry'; did you mean 'query'"),
        ({"prompt_name": "query", "prompt": "a"}, "prompt_name: 'query', but a prompt is given too"),
        ({"dimensions": 13}, "dimensions: expected at most 12, the model's width, got 13"),
        ({"pooling": "avg"}, "pooling: no 'avg'"),
    ],
)
def test_options_that_the_model_cannot_follow_are_refused(options: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        load(SENTENCE, **options)


def test_a_prompt_name_without_prompts_is_refused(copy: Path) -> None:
    (copy / "config_sentence_transformers.json").unlink()
    with pytest.raises(InputError, match="has no prompts; give the text as prompt"):
        load(copy, prompt_name="query")


@pytest.mark.parametrize(
    ("stored", "mode"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_lasttoken": True}, "lasttoken"),
        ({"pooling_mode_weightedmean_tokens": True}, "weightedmean"),
        ({"pooling_mode": "max"}, "max"),
        ({"pooling_mode": ["mean"], "pooling_mode_cls_token": True}, "mean"),
    ],
)
def test_pooling_of_older_and_newer_files(copy: Path, stored: dict, mode: str) -> None:
    (copy / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16} | stored))
    assert load(copy).pool == Pooling(mode, True, (Head(20, "Tanh"), Head(12, "Identity")))


def test_the_transformer_may_have_a_folder_of_its_own(copy: Path, published) -> None:
    inner = copy / "0_Transformer"
    inner.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (copy / name).rename(inner / name)
    modules = json.loads((copy / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (copy / "modules.json").write_text(json.dumps(modules))
    np.testing.assert_allclose(embed_texts(load(copy), published["texts"]), published["plain"], atol=2e-6)


def test_without_modules_json_the_mean_is_taken_as_it_is(tiny: Encoder) -> None:
    assert tiny.pool == Pooling("mean", normalise=False) and tiny.width == 32 and "heads" not in tiny.params


@pytest.mark.parametrize(
    ("modules", "says"),
    [
        ('[{"type": "sentence_transformers.models.LSTM", "path": "2_LSTM"}]', "type: no 'LSTM'"),
        ('[{"type": "sentence_transformers.models.Pooling", "path": "1_P"}]', r"1_P/config\.json: missing"),
        ('[{"type": "x.Normalize", "path": ""}, {"type": "x.Dense", "path": "2_Dense"}]', "Dense after Normalize"),
        ('[{"name": "0"}]', "expected objects with strings 'type' and 'path'"),
        ("{}", "expected a list at the top, got dict"),
    ],
)
def test_unknown_modules_are_refused(copy: Path, modules: str, says: str) -> None:
    (copy / "modules.json").write_text(modules)
    with pytest.raises(InputError, match=says):
        load(copy)


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("1_Pooling", {"pooling_mode": ["mean", "max"]}, "expected one pooling mode of mean, .*, got mean, max"),
        ("1_Pooling", {"pooling_mode": "bm25"}, "expected one pooling mode of mean, .*, got bm25"),
        ("1_Pooling", {"include_prompt": False}, "include_prompt: only true is supported"),
        ("2_Dense", {"activation_function": "os.system"}, "activation_function: no 'system'"),
        ("2_Dense", {"use_residual": True}, "without residual"),
        (
            "2_Dense",
            {"out_features": 21},
            r"linear\.weight: expected shape \(21, 16\) by the model's config, got \(20, 16\)",
        ),
        ("2_Dense", {"bias": False}, r"expected tensors linear\.weight, got linear\.bias, linear\.weight"),
    ],
)
def test_modules_that_cannot_be_followed_are_refused(copy: Path, file: str, change: dict, says: str) -> None:
    edit(copy / file / "config.json", **change)
    with pytest.raises(InputError, match=says):
        load(copy)


def test_heads_must_fit_what_is_before_them(copy: Path) -> None:
    shutil.rmtree(copy / "3_Dense")
    shutil.copytree(copy / "2_Dense", copy / "3_Dense")
    with pytest.raises(InputError, match="dense layer 1 takes 16 channels, but gets 20"):
        load(copy)


def test_heads_in_pickles_are_refused(copy: Path) -> None:
    weights = copy / "2_Dense" / "model.safetensors"
    weights.rename(copy / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model\.bin: a pickle can run any code"):
        load(copy)


def test_heads_are_part_of_what_the_cache_goes_by(copy: Path, published, tmp_path: Path) -> None:
    weights, cache = copy / "3_Dense" / "model.safetensors", str(tmp_path / "cache")
    before = embed_texts(load(copy), published["texts"], cache_dir=cache)
    save_file({name: -x for name, x in load_file(weights).items()}, weights)
    after = embed_texts(load(copy), published["texts"], cache_dir=cache)
    np.testing.assert_allclose(after, -before, atol=1e-6)
