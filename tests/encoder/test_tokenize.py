import json
import shutil
from pathlib import Path

import pytest

from jaxrec.checks import InputError
from jaxrec.encoder import Encoder, load_encoder
from jaxrec.encoder.folder import find_model
from jaxrec.encoder.tokenize import load_tokenizer

PAD, UNK, CLS, SEP = 0, 1, 2, 3  # of the tiny vocabulary; a to z are 5 to 30, ##a to ##z 31 to 56


def test_ids_carry_special_tokens_and_word_pieces(tiny: Encoder) -> None:
    # "toy" is a word, "zab" falls into z ##a ##b, "é" loses its accent, "字" is unknown
    toy = (Path(tiny.name) / "vocab.txt").read_text().split("\n").index("toy")
    assert tiny.tokenize(["Toy zab", "é字", ""]) == [
        [CLS, toy, 30, 31, 32, SEP],
        [CLS, 9, UNK, SEP],
        [CLS, SEP],
    ]


def test_texts_are_cut_at_max_length_with_the_end_token(golden: Path) -> None:
    enc = load_encoder(str(golden / "tiny_bert"), max_length=5)
    assert enc.tokenize(["a b c d e f g"]) == [[CLS, 5, 6, 7, SEP]]


def test_cased_vocabularies_keep_capitals(tiny_copy: Path) -> None:
    (tiny_copy / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert load_encoder(str(tiny_copy), max_length=64).tokenize(["a A"]) == [[CLS, 5, UNK, SEP]]


def test_baked_in_padding_and_truncation_are_taken_off(tiny_copy: Path) -> None:
    tokenizer = load_tokenizer(tiny_copy, 64)
    tokenizer.enable_padding(length=8)
    tokenizer.enable_truncation(4)
    tokenizer.save(str(tiny_copy / "tokenizer.json"))
    enc = load_encoder(str(tiny_copy), max_length=64)
    assert enc.tokenize(["a", "a b c d"]) == [[CLS, 5, SEP], [CLS, 5, 6, 7, 8, SEP]]


def test_ends_that_the_settings_ask_for_are_put_on(tiny_copy: Path) -> None:
    tokenizer = load_tokenizer(tiny_copy, 64)
    tokenizer.post_processor = None
    tokenizer.save(str(tiny_copy / "tokenizer.json"))
    settings = tiny_copy / "tokenizer_config.json"
    ends = {"bos_token": "[CLS]", "eos_token": {"content": "[SEP]"}}
    for flags, want in (
        ({}, [[5]]),
        ({"add_eos_token": True}, [[5, SEP]]),
        ({"add_bos_token": True, "add_eos_token": True}, [[CLS, 5, SEP]]),
    ):
        settings.write_text(json.dumps(ends | flags))
        assert load_encoder(tiny_copy, max_length=64).tokenize(["a"]) == want
    assert load_encoder(tiny_copy, max_length=3).tokenize(["a b c d"]) == [[CLS, 5, SEP]]
    settings.write_text(json.dumps({"add_eos_token": True, "eos_token": "</s>"}))
    with pytest.raises(InputError, match="add_eos_token is true, but eos_token '</s>' is not in the vocabulary"):
        load_encoder(tiny_copy, max_length=64)


def test_ends_that_are_there_are_not_doubled(tiny_copy: Path, tiny: Encoder) -> None:
    settings = {"add_bos_token": True, "add_eos_token": True, "bos_token": "[CLS]", "eos_token": "[SEP]"}
    (tiny_copy / "tokenizer_config.json").write_text(json.dumps(settings))
    assert load_encoder(tiny_copy, max_length=64).tokenize(["a"]) == tiny.tokenize(["a"])


def test_vocab_txt_alone_gives_the_ids_of_tokenizer_json(minilm: Encoder, golden: Path, tmp_path: Path) -> None:
    texts = json.loads((golden / "minilm.json").read_text())
    folder = find_model("all-MiniLM-L6-v2")
    for name in ("vocab.txt", "tokenizer_config.json"):
        shutil.copy(folder / name, tmp_path)
    tokenizer = load_tokenizer(tmp_path, 128)
    assert [encoding.ids for encoding in tokenizer.encode_batch(texts)] == minilm.tokenize(texts)


def test_added_tokens_without_a_row_are_left_out(tiny_copy: Path) -> None:
    tokenizer = load_tokenizer(tiny_copy, 64)
    tokenizer.add_special_tokens(["<image>"])
    tokenizer.save(str(tiny_copy / "tokenizer.json"))
    assert tokenizer.token_to_id("<image>") == 82  # the model has rows 0 to 81
    assert load_encoder(str(tiny_copy), max_length=64).tokenize(["a <image> b"]) == [[CLS, 5, 6, SEP]]


def test_a_folder_without_a_tokenizer_loads_and_says_what_is_missing(tiny_copy: Path) -> None:
    (tiny_copy / "vocab.txt").unlink()
    enc = load_encoder(str(tiny_copy), max_length=64)
    with pytest.raises(InputError, match=r"tiny_bert: no tokenizer\.json or vocab\.txt"):
        enc.tokenize(["a"])


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ("one string", "expected a list of strings, got one str"),
        (["a", None], r"texts\[1\]: expected a string, got NoneType"),
        (["a", float("nan")], r"texts\[1\]: expected a string, got float"),
        (["\ud83d"], r"texts\[0\]: character 0 is half of a surrogate pair"),
    ],
)
def test_what_is_not_text_is_refused_with_its_place(tiny: Encoder, texts, says: str) -> None:
    with pytest.raises(InputError, match=says):
        tiny.tokenize(texts)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("tokenizer.json", b'{"model": ', r"tokenizer\.json: line 1, column 11: not JSON"),
        ("tokenizer.json", b'{"model": 3}', r"tokenizer\.json: not a tokenizer"),
        ("vocab.txt", b"a\nb\n", r"vocab\.txt: no \[PAD\] \[UNK\] \[CLS\] \[SEP\]"),
        ("vocab.txt", b"a\n\xff\n", r"vocab\.txt: byte 2: not UTF-8"),
        (
            "tokenizer_config.json",
            b'{"do_lower_case": "no"}',
            "do_lower_case: expected true, false or null, got 'no'",
        ),
        ("tokenizer_config.json", b"[1]", r"tokenizer_config\.json: expected an object at the top, got list"),
        (
            "vocab.txt",
            "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *map(str, range(99))]).encode(),
            "the tokenizer has 103 tokens, config.json says vocab_size 82",
        ),
    ],
)
def test_damaged_tokenizer_files_are_refused(tiny_copy: Path, file: str, content: bytes, says: str) -> None:
    (tiny_copy / file).write_bytes(content)
    with pytest.raises(InputError, match=says):
        load_encoder(str(tiny_copy), max_length=64)
