"""Texts, and changes to the files next to the weights of golden/sidecars; make_golden.py and the tests read them."""

import json
from pathlib import Path
from typing import Any

SETTINGS, TOKENS, MODEL = "sentence_bert_config.json", "tokenizer_config.json", "config_sentence_transformers.json"
TOKENIZER, ADDED, MODULES = "tokenizer.json", "added_tokens.json", "modules.json"
TEXTS = [
    "",
    "the red film",
    "The Red FILM of the NIGHT",
    "caf\u00e9 \u00dcn\u00efc\u00f6d\u00e9 \u5343\u3068\u5343 \u0130stanbul",
    "toy <new> story <New> (1995) [ISBN] heat",
    "a [MASK] in space [SEP] and back",
    "love " * 9 + "heat 9 Of " * 9 + "space",
]
WORDS = {"<new>": 108, "[ISBN]": 109}  # the vocabulary has 108 words, the model 112 rows
_CASED = {"do_lower_case": False}
_TEN = {"max_seq_length": 10}
_LEFT = {"truncation": {"direction": "Left", "max_length": 20, "strategy": "LongestFirst", "stride": 0}}
_DECODER = {
    str(row): {"content": word, "lstrip": False, "rstrip": False, "normalized": True, "single_word": False}
    for word, row in WORDS.items()
}

# Name: file -> values that are merged into its JSON, a text, or None where the file is taken away.
CHANGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "lower case by the settings": {SETTINGS: {"do_lower_case": True}, TOKENS: _CASED},
    "case left to the tokenizer": {SETTINGS: {"do_lower_case": False}},
    "cased": {TOKENS: _CASED},
    "cased by the arguments": {SETTINGS: {"processor_kwargs": _CASED}},
    "cased, another class": {TOKENS: _CASED | {"tokenizer_class": "PreTrainedTokenizerFast"}},
    "no flag": {TOKENS: "{}"},
    "accents": {TOKENS: {"strip_accents": False}},
    "no accents, cased": {TOKENS: _CASED | {"strip_accents": True}},
    "Chinese characters": {TOKENS: {"tokenize_chinese_chars": False}},
    "length": {SETTINGS: _TEN},
    "length of the tokenizer": {TOKENS: {"model_max_length": 10}},
    "two lengths": {SETTINGS: {"max_seq_length": 12}, TOKENS: {"model_max_length": 10}},
    "left": {SETTINGS: _TEN, TOKENS: {"truncation_side": "left"}},
    "left by older arguments": {SETTINGS: _TEN | {"tokenizer_args": {"truncation_side": "left"}}},
    "left by arguments": {SETTINGS: {"processor_kwargs": {"truncation_side": "left", "model_max_length": 11}}},
    "left by tokenizer.json": {SETTINGS: _TEN, TOKENIZER: _LEFT},
    "right before tokenizer.json": {SETTINGS: _TEN, TOKENS: {"truncation_side": "right"}, TOKENIZER: _LEFT},
    "vocab.txt": {TOKENIZER: None},
    "vocab.txt alone": {TOKENIZER: None, TOKENS: None},
    "vocab.txt, cased": {TOKENIZER: None, TOKENS: _CASED},
    "vocab.txt, lower case": {TOKENIZER: None, TOKENS: _CASED, SETTINGS: {"do_lower_case": True}},
    "vocab.txt, left": {TOKENIZER: None, SETTINGS: _TEN, TOKENS: {"truncation_side": "left"}},
    "vocab.txt, added": {TOKENIZER: None, ADDED: WORDS},
    "vocab.txt alone, added": {TOKENIZER: None, TOKENS: None, ADDED: WORDS},
    "vocab.txt, cased, added": {TOKENIZER: None, TOKENS: _CASED, ADDED: WORDS | {"<New>": 110}},
    "vocab.txt, listed": {TOKENIZER: None, TOKENS: {"added_tokens_decoder": _DECODER}},
    "added": {ADDED: WORDS},
    "added, no settings": {TOKENS: None, ADDED: WORDS},
    "listed": {TOKENS: {"added_tokens_decoder": _DECODER}},
    "special": {TOKENS: {"extra_special_tokens": ["<new>"]}},
    "special, older name": {TOKENS: {"additional_special_tokens": ["<new>"]}},
    "special tokens as text": {TOKENS: {"split_special_tokens": True}},
    "another unknown": {TOKENS: {"unk_token": "a"}},
    "another start": {TOKENS: {"cls_token": "[SEP]"}},
    "channels": {MODEL: {"truncate_dim": 5}},
    "more channels than there are": {MODEL: {"truncate_dim": 500}},
    "no settings": {SETTINGS: None},
    "no settings of the tokenizer": {TOKENS: None},
}


def change(folder: Path, files: dict[str, Any]) -> None:
    """Change the files of a model folder as one of `CHANGES` says."""
    for name, values in files.items():
        path = folder / name
        if values is None:
            path.unlink()
        elif isinstance(values, str):
            path.write_text(values)
        else:
            path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | values))
