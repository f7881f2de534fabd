"""`encode` gives what `SentenceTransformer.encode` gives for the same call."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.schema import EncoderConfig
from jaxrec.encoder import Encoder, embed_texts, encode, load_encoder
from jaxrec.encoder.encode_ids import encode_ids
from jaxrec.encoder.load import length_of
from tests.encoder.golden.long_texts import long_texts
from tests.encoder.references import GOLDEN

UNSCALED, SENTENCE = GOLDEN / "unscaled", GOLDEN / "sentence"
SETTINGS = "sentence_bert_config.json"


@pytest.fixture(scope="module")
def unscaled() -> dict[str, np.ndarray]:
    """Vectors of 40 long texts by a model without Normalize."""
    with np.load(UNSCALED / "vectors.npz") as stored:
        return dict(stored)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The model of 66 positions in a folder that a test may change."""
    return Path(shutil.copytree(UNSCALED, tmp_path / "unscaled"))


def test_texts_of_1_to_600_words_have_the_vectors_of_sentence_transformers(minilm: Encoder) -> None:
    texts = long_texts()
    words = [len(text.split()) for text in texts]
    assert len(texts) == 200 and min(words) == 1 and 550 < max(words) < 700
    tokens = np.array([len(ids) for ids in load_encoder(minilm.name).tokenize(texts)])
    assert tokens.max() == 256 and (tokens == 256).sum() > 20 and (tokens > 128).sum() > 50
    got = encode(texts, cache_dir="")
    assert got.shape == (200, 384) and got.dtype == np.float32
    assert np.abs(got - np.load(GOLDEN / "long.npy")).max() < 1e-5


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("plain", {}),
        ("unit", {"normalize": True}),
        ("cut", {"dimensions": 5}),
        ("cut_unit", {"dimensions": 5, "normalize": True}),
        ("short", {"max_length": 20}),
    ],
)
def test_a_model_of_66_positions_without_normalize(unscaled, key: str, options: dict) -> None:
    got = encode(long_texts(40), UNSCALED, cache_dir="", **options)
    np.testing.assert_allclose(got, unscaled[key], atol=1e-5)
    assert (np.abs(np.linalg.norm(got, axis=1) - 1).max() < 1e-5) == options.get("normalize", False)


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("plain", {}),
        ("plain", {"normalize": True}),
        ("plain", {"prompt": ""}),
        ("query", {"prompt_name": "query"}),
        ("query", {"prompt": "find toy: "}),
        ("cut_after", {"dimensions": 5}),
        ("cut", {"dimensions": 5, "normalize": True}),
        ("lasttoken", {"pooling": "lasttoken"}),
    ],
)
def test_a_model_with_heads_prompts_and_normalize(key: str, options: dict) -> None:
    published = json.loads((SENTENCE / "reference.json").read_text())
    got = encode(published["texts"], SENTENCE, cache_dir="", **options)
    np.testing.assert_allclose(got, published[key], atol=2e-6)


def test_an_empty_prompt_stands_for_none_and_no_prompt_for_the_default(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SENTENCE, tmp_path / "sentence"))
    change(folder / "config_sentence_transformers.json", default_prompt_name="query")
    published = json.loads((SENTENCE / "reference.json").read_text())
    for key, options in (("query", {}), ("plain", {"prompt": ""}), ("plain", {"prompt_name": "document"})):
        got = encode(published["texts"], folder, cache_dir="", **options)
        np.testing.assert_allclose(got, published[key], atol=2e-6)


def test_channels_that_the_folder_says_are_kept_without_options(copy: Path, unscaled) -> None:
    change(copy / "config_sentence_transformers.json", truncate_dim=5)
    np.testing.assert_allclose(encode(long_texts(40), copy, cache_dir=""), unscaled["cut"], atol=1e-5)
    assert encode("red", copy, dimensions=16, cache_dir="").shape == (16,)
    change(copy / "config_sentence_transformers.json", truncate_dim="5")
    with pytest.raises(InputError, match="truncate_dim: expected a whole number of channels, got '5'"):
        load_encoder(copy)


def change(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("settings", "tokenizer", "length"),
    [
        ({"max_seq_length": 20}, {}, 20),
        ({"max_seq_length": 20}, {"model_max_length": 10}, 20),
        ({"max_seq_length": 512}, {}, 66),  # the positions end there
        ({"processor_kwargs": {"model_max_length": 30}, "max_seq_length": 20}, {}, 30),
        ({"tokenizer_args": {"model_max_length": 30}}, {}, 30),
        ({"max_seq_length": None}, {"model_max_length": 10}, 10),
        ({}, {"model_max_length": 1000000000000000019884624838656}, 66),
        ({}, {"model_max_length": 1e30}, 66),
        ({}, {"model_max_length": None}, 66),
    ],
)
def test_an_unset_length_is_that_of_sentence_transformers(copy: Path, unscaled, settings, tokenizer, length) -> None:
    change(copy / SETTINGS, **settings)
    change(copy / "tokenizer_config.json", **tokenizer)
    enc = load_encoder(copy)
    assert enc.max_length == length == length_of(EncoderConfig(model=str(copy)))
    assert max(map(len, enc.tokenize(long_texts(40)))) == length
    assert load_encoder(copy, max_length=12).max_length == 12
    assert length_of(EncoderConfig(model=str(copy), max_length=12)) == 12
    if length == 20:
        np.testing.assert_allclose(encode(long_texts(40), copy, cache_dir=""), unscaled["short"], atol=1e-5)


def test_older_names_of_the_settings_are_read(copy: Path) -> None:
    change(copy / SETTINGS, max_seq_length=20)
    (copy / SETTINGS).rename(copy / "sentence_xlm-roberta_config.json")
    assert load_encoder(copy).max_length == 20


def test_without_settings_the_positions_are_the_length() -> None:
    lengths = {name: load_encoder(GOLDEN / name).max_length for name in ("tiny_bert", "xlm_roberta", "qwen3", "t5")}
    # Two of RoBERTa's 64 rows are for padding; T5 has relative positions and no limit.
    assert lengths == {"tiny_bert": 64, "xlm_roberta": 62, "qwen3": 64, "t5": 1 << 20}


@pytest.mark.parametrize("value", ["256", 2, True, float("nan")])
def test_a_length_that_is_none_is_refused(copy: Path, value) -> None:
    change(copy / SETTINGS, max_seq_length=value)
    with pytest.raises(InputError, match=rf"{SETTINGS}: max_seq_length: expected a number of tokens, at least 3, got"):
        load_encoder(copy)


def test_texts_are_lowered_where_the_settings_say_so(copy: Path) -> None:
    change(copy / SETTINGS, do_lower_case=True)
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["normalizer"] = None
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    lowered = load_encoder(copy)
    assert lowered.tokenize(["Red FILM"]) == lowered.tokenize(["red film"])
    change(copy / SETTINGS, do_lower_case=False)
    plain = load_encoder(copy)
    assert plain.tokenize(["Red FILM"]) != plain.tokenize(["red film"]) == lowered.tokenize(["red film"])


def test_a_text_longer_than_a_batch_is_a_batch_of_its_own() -> None:
    enc = load_encoder(GOLDEN / "t5")
    ids = [[5 + n % 100 for n in range(length)] for length in (40, 3, 24, 1)]
    enc = dataclasses.replace(enc, tokenize=lambda texts: [ids[int(text)] for text in texts])
    assert enc.max_length > EncoderConfig.batch_tokens  # and yet short texts need no larger batches
    together = embed_texts(enc, ["0", "1", "2", "3"])
    alone = encode_ids(enc, ids, 16, lambda *_: None)
    np.testing.assert_allclose(alone, together, atol=1e-5)
    with pytest.raises(InputError, match="batch_tokens: expected a value at least 8192, got 4096"):
        embed_texts(enc, ["0"], batch_tokens=4096)


@pytest.mark.parametrize("length", [-1, 7])
def test_recipes_refuse_lengths_that_hold_no_text(length: int) -> None:
    with pytest.raises(InputError, match=rf"encoder\.max_length: expected a value at least 8, got {length}"):
        EncoderConfig(max_length=length)
