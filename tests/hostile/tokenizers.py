"""Hostile tokenizers: files on which the libraries panic, abort or run for hours."""

import json
from typing import Any

from tests.hostile.frame import Hostile, Place
from tests.hostile.models import EMBED, Change, file, model, removed


def tokenizer(**values: Any) -> Change:
    """Change parts of tokenizer.json."""

    def build(place: Place) -> None:
        path = place.model / "tokenizer.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return build


def case(name: str, *wants: str, code: int = 2, **values: Any) -> Hostile:
    return Hostile(f"a tokenizer {name}", EMBED, model(tokenizer(**values)), wants, code=code)


def replacing(text: str, by: str, times: int) -> dict[str, Any]:
    step = {"type": "Replace", "pattern": {"String": text}, "content": by}
    return {"type": "Sequence", "normalizers": [step] * times}


def padded(**values: Any) -> dict[str, Any]:
    usual = {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0}
    return {**usual, "pad_type_id": 0, "pad_token": "[PAD]", **values}


def template(part: dict[str, Any]) -> dict[str, Any]:
    return {"type": "TemplateProcessing", "single": [part], "pair": [], "special_tokens": {}}


def nested(depth: int) -> dict[str, Any]:
    step: dict[str, Any] = {"type": "Lowercase"}
    for _ in range(depth):
        step = {"type": "Sequence", "normalizers": [step]}
    return step


def unigram(unknown: int | None, *vocabulary: tuple[str, float]) -> dict[str, Any]:
    return {"type": "Unigram", "unk_id": unknown, "vocab": [list(one) for one in vocabulary], "byte_fallback": False}


def charsmap(text: str) -> dict[str, Any]:
    return {"type": "Precompiled", "precompiled_charsmap": text}


def bpe(vocabulary: dict[str, int], *merges: str) -> dict[str, Any]:
    return {"type": "BPE", "vocab": vocabulary, "merges": list(merges)}


def without(*changes: Change) -> Change:
    """Remove tokenizer.json, and change something else."""
    every = (removed("tokenizer.json"), *changes)
    return lambda place: [change(place) for change in every]


CRASH, PANIC = "ends the process that reads it", "panic"
REFUSED = "do not use it"  # whether its memory or its time runs out first depends on the machine
NOISE = bytes(range(256)) * 9
SLOW = {"type": "Replace", "pattern": {"Regex": "(.*)(.*)(.*)(.*)\\1\\2\\3\\4x"}, "content": ""}
SPECIAL, SECOND = {"SpecialToken": {"id": "[X]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}
WORDS = {"type": "WordPiece", "unk_token": "zz", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
CODE = json.dumps({"auto_map": {"AutoTokenizer": ["evil.Evil", None]}})
TOKENIZERS = (
    case("that grows its texts a thousandfold", REFUSED, normalizer=replacing("a", "a" * 1000, 4)),
    case("that doubles its texts sixty times", "takes more than", normalizer=replacing("a", "aa", 60)),
    case("with a slow expression", PANIC, normalizer=SLOW),
    case("with an unknown word in its template", PANIC, post_processor=template(SPECIAL)),
    case("with a second text in its template", PANIC, post_processor=template(SECOND)),
    case("with a character map of three bytes", PANIC, normalizer=charsmap("AAAA")),
    case("with a character map of ones", CRASH, normalizer=charsmap("/////w==")),
    case("with a character map that is damaged", PANIC, normalizer=charsmap("CAAAAP////8AAAAAAAAAAA==")),
    case("with pieces of length zero", PANIC, pre_tokenizer={"type": "FixedLength", "length": 0}),
    case("that pads to multiples of zero", code=0, padding=padded(pad_to_multiple_of=0)),
    case("that pads to a million million", code=0, padding=padded(strategy={"Fixed": 10**12})),
    case("that puts a long text before each text", code=0, normalizer={"type": "Prepend", "prepend": "x" * 10**5}),
    case("of an unknown word beyond its list", model=unigram(100, ("<unk>", 0.0), ("a", -1.0))),
    case("of an empty list", model=unigram(0)),
    case("of infinite scores", model=unigram(0, ("<unk>", 0.0), ("a", float("inf")))),
    case("of merges without words", model=bpe({"a": 0}, "a b")),
    case("without its unknown word", "the tokenizer fails", model={**WORDS, "vocab": {"a": 0}}),
    case("nested a hundred levels deep", normalizer=nested(100)),
    case("of an unknown kind", "tokenizer.json", model={"type": "Evil"}),
    case("with rows of 70 bits", "tokenizer.json", model=bpe({"a": 2**70})),
    Hostile("a tokenizer of a list", EMBED, model(file("tokenizer.json", "[]")), ("tokenizer.json", "an object")),
    Hostile("a tokenizer of nothing", EMBED, model(file("tokenizer.json", "")), ("tokenizer.json", "not JSON")),
    Hostile("a tokenizer of another encoding", EMBED, model(file("tokenizer.json", b"\xff\xfe{}")), ("not UTF-8",)),
    Hostile("a tokenizer of brackets", EMBED, model(file("tokenizer.json", "[" * 10**6)), ("tokenizer.json",)),
    Hostile(
        "a tokenizer of code",
        EMBED,
        model(without(file("tokenizer_config.json", CODE), file("evil.py", "open('evil', 'w')"))),
        ("no tokenizer.json",),
    ),
    Hostile("a vocabulary of noise", EMBED, model(without(file("vocab.txt", NOISE))), ("vocab.txt", "not UTF-8")),
    Hostile(
        "a SentencePiece model of noise",
        EMBED,
        model(file("spiece.model", NOISE), of="t5"),
    ),
    Hostile("added tokens of a list", EMBED, model(file("added_tokens.json", "[1]")), ("added_tokens", "an object")),
)
