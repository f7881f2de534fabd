import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.encoder import Encoder, embed_texts, encode, load_encoder
from jaxrec.encoder.encode_ids import forward_program
from jaxrec.encoder.pool import Pooling
from tests.encoder.references import load_golden

WORDS = ["the", "red", "blue", "film", "song", "book", "story", "toy", "heat", "space", "night", "love"]


def titles(count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 30))) for _ in range(count)]


def test_vectors_of_hostile_sentences_equal_the_published_model(minilm: Encoder, golden: Path) -> None:
    texts = json.loads((golden / "minilm.json").read_text())
    vectors = embed_texts(minilm, texts)
    assert vectors.shape == (14, 384) and vectors.dtype == np.float32
    assert np.abs(vectors - np.load(golden / "minilm.npy")).max() <= 1e-5


def test_vectors_are_in_the_order_of_the_texts(tiny: Encoder) -> None:
    texts = titles(50)
    vectors = embed_texts(tiny, texts)
    turned = embed_texts(tiny, texts[::-1])
    np.testing.assert_allclose(turned[::-1], vectors, atol=1e-6)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


def test_a_vector_does_not_depend_on_its_batch(tiny: Encoder) -> None:
    texts = titles(60)
    together = embed_texts(tiny, texts)
    small = embed_texts(tiny, texts, batch_tokens=64)
    np.testing.assert_allclose(small, together, atol=1e-6)
    alone = np.concatenate([embed_texts(tiny, [text]) for text in texts[:2]])
    np.testing.assert_allclose(alone, together[:2], atol=1e-6)


def test_no_texts_give_no_rows(tiny: Encoder) -> None:
    assert embed_texts(tiny, []).shape == (0, 32)


def test_item_titles_cost_at_most_four_compiled_shapes(tiny: Encoder) -> None:
    enc = dataclasses.replace(tiny, pool=dataclasses.replace(tiny.pool, normalise=True))
    program = forward_program(enc.apply, enc.pool)
    before = program._cache_size()
    embed_texts(enc, titles(600), batch_tokens=2048)
    embed_texts(enc, titles(600), batch_tokens=2048)
    assert 1 <= program._cache_size() - before <= 4


def test_a_cache_hit_gives_identical_bytes(tiny: Encoder, tmp_path: Path) -> None:
    texts = titles(20)
    first = embed_texts(tiny, texts, cache_dir=str(tmp_path))
    (file,) = tmp_path.glob("*.npz")
    stamp = file.stat().st_mtime_ns
    again = embed_texts(tiny, texts, cache_dir=str(tmp_path))
    assert again.tobytes() == first.tobytes() == embed_texts(tiny, texts).tobytes()
    assert file.stat().st_mtime_ns == stamp


def test_a_changed_text_weight_pooling_or_setting_misses_the_cache(tiny: Encoder, tmp_path: Path) -> None:
    texts = titles(4)
    weight = jax.tree.map(lambda x: x, tiny.params)
    weight["words"]["embedding"] = weight["words"]["embedding"].at[7, 0].add(1e-3)
    cases = [
        (tiny, texts),
        (tiny, ["".join(texts[:2]), *texts[2:], ""]),
        (tiny, texts[::-1]),
        (dataclasses.replace(tiny, params=weight), texts),
        (dataclasses.replace(tiny, pool=dataclasses.replace(tiny.pool, mode="cls")), texts),
        (dataclasses.replace(tiny, identity="another tokenizer"), texts),
    ]
    for enc, words in cases:
        embed_texts(enc, words, cache_dir=str(tmp_path))
    assert len(list(tmp_path.glob("*.npz"))) == len(cases)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "shape"])
def test_a_damaged_cache_file_is_written_anew(tiny: Encoder, tmp_path: Path, damage: str) -> None:
    texts = titles(20)
    want = embed_texts(tiny, texts, cache_dir=str(tmp_path))
    (file,) = tmp_path.glob("*.npz")
    whole = file.read_bytes()
    if damage == "shape":
        with file.open("wb") as out:
            np.savez(out, vectors=want[:3])
    else:
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        file.write_bytes({"cut": whole[:-50], "flipped": flipped, "empty": b""}[damage])
    np.testing.assert_array_equal(embed_texts(tiny, texts, cache_dir=str(tmp_path)), want)
    assert file.read_bytes()[-50:] == whole[-50:]


def test_a_cache_folder_that_cannot_be_is_refused_before_the_work(tiny: Encoder, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cache_dir .*file: File exists; choose another folder"):
        embed_texts(tiny, ["a"], cache_dir=str(tmp_path / "file"))


def test_damaged_weights_give_an_error_instead_of_not_a_number(tiny: Encoder) -> None:
    params = tiny.params | {"segments": jax.tree.map(lambda x: x * np.nan, tiny.params["segments"])}
    with pytest.raises(InputError, match=r"texts\[0\] has no finite vector"):
        embed_texts(dataclasses.replace(tiny, params=params), ["a"])


def test_batches_smaller_than_a_text_are_refused(tiny: Encoder) -> None:
    with pytest.raises(InputError, match="batch_tokens: expected a value at least 64, got 32"):
        embed_texts(tiny, ["a"], batch_tokens=32)


def test_encode_gives_unit_vectors_where_it_is_asked_to(tiny: Encoder) -> None:
    texts = ["red film", "blue"]
    vectors = encode(texts, tiny.name, normalize=True, cache_dir="")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1.0, 1.0], atol=1e-6)
    plain = encode(texts, tiny.name, cache_dir="")
    np.testing.assert_array_equal(plain, embed_texts(tiny, texts))
    assert np.linalg.norm(plain, axis=1).min() > 2


def test_one_string_has_one_vector(tiny: Encoder) -> None:
    vector = encode("red film", tiny.name, cache_dir="")
    assert vector.shape == (32,)
    np.testing.assert_array_equal(vector, encode(["red film"], tiny.name, cache_dir="")[0])
    assert encode([], tiny.name, cache_dir="").shape == (0, 32)


def test_options_of_encode_are_those_of_the_encoder(tiny: Encoder, tmp_path: Path) -> None:
    texts = titles(5)
    options: Any = {"max_length": 9, "pooling": "cls", "prompt": "the ", "dtype": "bfloat16", "dimensions": 7}
    got = encode(texts, tiny.folder, batch_tokens=32, cache_dir=str(tmp_path), weights="int8", **options)
    enc = load_encoder(tiny.folder, weights="int8", **options)
    np.testing.assert_array_equal(got, embed_texts(enc, texts, batch_tokens=32))
    assert len(list(tmp_path.glob("*.npz"))) == 1
    with pytest.raises(InputError, match="batch_tokens: expected a value at least 64, got 32"):
        encode(texts, tiny.name, batch_tokens=32)
    with pytest.raises(InputError, match="max_length: expected a value at least 3 and at most 64, got 65"):
        encode(texts, tiny.name, max_length=65)


def test_long_inputs_show_progress_and_short_ones_do_not(tiny: Encoder, capfd) -> None:
    encode(["red film"], tiny.name, cache_dir="")
    assert capfd.readouterr().err == ""
    encode(["red film"], tiny.name, cache_dir="", progress=True)
    assert capfd.readouterr().err.startswith("encoding 1/1 ")
    encode(["red film " * 12_000], tiny.name, cache_dir="")
    assert capfd.readouterr().err.startswith("encoding 1/1 ")
    encode(["red film " * 12_000], tiny.name, cache_dir="", progress=False)
    assert capfd.readouterr().err == ""


def test_vectors_of_other_lengths_are_not_taken_from_the_cache(tiny: Encoder, tmp_path: Path) -> None:
    for length in (0, 64, 8):
        encode(["red film " * 20], tiny.name, max_length=length, cache_dir=str(tmp_path))
    assert len(list(tmp_path.glob("*.npz"))) == 2  # 64 is the model's own


HOSTILE = [
    "",
    " \t\r\n",
    "\x00",
    "NUL \x00 in \x00 between",
    "🙂🚀👩‍👩‍👧‍👦",
    "千と千尋の神隠し",
    "العربية من اليمين إلى اليسار \u202e",
    "<script>alert('x')</script>&nbsp;<b",
    "word " * 10_000,
    "x" * 100_000,
]


def test_hostile_texts_have_finite_vectors_of_unit_length(minilm: Encoder) -> None:
    vectors = embed_texts(minilm, HOSTILE)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), np.ones(len(HOSTILE)), atol=1e-5)
    np.testing.assert_allclose(vectors[8], embed_texts(minilm, ["word " * 200])[0], atol=1e-6)  # cut at 128 tokens


@pytest.mark.parametrize("family", ["gpt2", "qwen3", "t5", "modernbert"])
@pytest.mark.parametrize("mode", ["mean", "lasttoken"])
def test_bytes_of_hostile_texts_have_finite_vectors(family: str, mode: str) -> None:
    def tokenize(texts):  # without special tokens: an empty text has no token at all
        return [[5 + byte % 115 for byte in text.encode()[:24]] for text in texts]

    enc = dataclasses.replace(load_golden(family), tokenize=tokenize, pool=Pooling(mode, normalise=True))
    vectors = embed_texts(enc, HOSTILE)
    assert np.isfinite(vectors).all() and not vectors[0].any()
    np.testing.assert_allclose(np.linalg.norm(vectors[1:], axis=1), np.ones(len(HOSTILE) - 1), atol=1e-5)
    np.testing.assert_allclose(embed_texts(enc, HOSTILE[::-1])[::-1], vectors, atol=1e-5)


def test_like_titles_are_near_each_other(minilm: Encoder) -> None:
    lion, tiger, car = embed_texts(minilm, ["a film about lions", "a movie with tigers", "used car insurance"])
    assert lion @ tiger > lion @ car + 0.3
