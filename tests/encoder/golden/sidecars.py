"""Settings in the files next to a model's weights: what is changed in golden/sidecars, and the texts that are encoded."""

import json
from pathlib import Path
from typing import Any

SETTINGS, TOKENS = "sentence_bert_config.json", "tokenizer_config.json"
MODEL, TOKENIZER = "config_sentence_transformers.json", "tokenizer.json"
TEXTS = [
    "",
    "the red film",
    "The Red FILM of the NIGHT",
    "caf\u00e9 \u00dcn\u00efc\u00f6d\u00e9 \u5343\u3068\u5343 \u0130stanbul",
    "toy <new> story <New> (1995) [ISBN] heat",
    "a [MASK] in space [SEP] and back",
    "love " * 9 + "heat 9 Of " * 9 + "space",
]
CASED = {"do_lower_case": False}
_ADDED = {"<new>": 108, "[ISBN]": 109}
_DECODER = {
    str(row): {"content": word, "lstrip": False, "rstrip": False, "normalized": True, "single_word": False}
    for word, row in _ADDED.items()
}

# Name: file -> values that are merged into its JSON, a text, or None where the file is taken away.
CHANGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "lower": {SETTINGS: {"do_lower_case": True}, TOKENS: CASED},
    "lower_no": {SETTINGS: {"do_lower_case": False}},
    "cased": {TOKENS: CASED},
    "cased_no_flag": {TOKENS: "{}"},
    "cased_generic": {TOKENS: CASED | {"tokenizer_class": "PreTrainedTokenizerFast"}},
    "accents": {TOKENS: {"strip_accents": False}},
    "accents_cased": {TOKENS: {"strip_accents": True, "do_lower_case": False}},
    "chinese": {TOKENS: {"tokenize_chinese_chars": False}},
    "length": {SETTINGS: {"max_seq_length": 10}},
    "length_tokenizer": {TOKENS: {"model_max_length": 10}},
    "length_both": {SETTINGS: {"max_seq_length": 12}, TOKENS: {"model_max_length": 10}},
    "left": {SETTINGS: {"max_seq_length": 10}, TOKENS: {"truncation_side": "left"}},
    "left_arguments": {SETTINGS: {"max_seq_length": 10, "tokenizer_args": {"truncation_side": "left"}}},
    "left_new_arguments": {SETTINGS: {"processor_kwargs": {"truncation_side": "left", "model_max_length": 11}}},
    "left_json": {SETTINGS: {"max_seq_length": 10}, TOKENIZER: {"truncation": {"direction": "Left", "max_length": 20, "strategy": "LongestFirst", "stride": 0}}},
    "left_json_right": {SETTINGS: {"max_seq_length": 10}, TOKENS: {"truncation_side": "right"}, TOKENIZER: {"truncation": {"direction": "Left", "max_length": 20, "strategy": "LongestFirst", "stride": 0}}},
    "padding_left": {TOKENS: {"padding_side": "left"}},
    "vocab": {TOKENIZER: None},
    "vocab_cased": {TOKENIZER: None, TOKENS: CASED},
    "vocab_lower": {TOKENIZER: None, TOKENS: CASED, SETTINGS: {"do_lower_case": True}},
    "vocab_only": {TOKENIZER: None, TOKENS: None},
    "vocab_left": {TOKENIZER: None, SETTINGS: {"max_seq_length": 10}, TOKENS: {"truncation_side": "left"}},
    "vocab_added": {TOKENIZER: None, "added_tokens.json": json.dumps(_ADDED)},
    "vocab_added_bare": {TOKENIZER: None, TOKENS: None, "added_tokens.json": json.dumps(_ADDED)},
    "vocab_added_gap": {TOKENIZER: None, TOKENS: None, "added_tokens.json": json.dumps({"<new>": 110, "[ISBN]": 109})},
    "vocab_added_cased": {TOKENIZER: None, TOKENS: CASED, "added_tokens.json": json.dumps(_ADDED | {"<New>": 110})},
    "vocab_decoder": {TOKENIZER: None, TOKENS: {"added_tokens_decoder": _DECODER}},
    "added": {"added_tokens.json": json.dumps(_ADDED)},
    "added_bare": {TOKENS: None, "added_tokens.json": json.dumps(_ADDED)},
    "decoder": {TOKENS: {"added_tokens_decoder": _DECODER}},
    "extra": {TOKENS: {"extra_special_tokens": ["<new>"]}},
    "additional": {TOKENS: {"additional_special_tokens": ["<new>"]}},
    "split": {TOKENS: {"split_special_tokens": True}},
    "dimensions": {MODEL: {"truncate_dim": 5}},
    "dimensions_many": {MODEL: {"truncate_dim": 500}},
    "no_modules": {"modules.json": None, SETTINGS: {"max_seq_length": 10}},
    "unk": {TOKENS: {"unk_token": "a"}},
    "cls": {TOKENS: {"cls_token": "[SEP]"}},
    "no_settings": {SETTINGS: None},
    "no_tokens": {TOKENS: None},
}


def change(folder: Path, files: dict[str, Any]) -> None:
    """Change the files of a model folder, one of `CHANGES`."""
    for name, values in files.items():
        path = folder / name
        if values is None:
            path.unlink()
        elif isinstance(values, str):
            path.write_text(values)
        else:
            path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | values))
