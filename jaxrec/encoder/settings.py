"""Settings next to a transformer's weights: sentence_bert_config.json and tokenizer_config.json.

What changes vectors is followed, as sentence-transformers follows it, or refused by name.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxrec.checks import InputError, check_name
from jaxrec.encoder.architecture import Architecture
from jaxrec.encoder.folder import read_json
from jaxrec.foreign import quoted

_FILES = tuple(  # older files are named after the family
    f"sentence_{family}_config.json"
    for family in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_NO_LIMIT = 1 << 20  # tokens, where positions are only relative and no file names a length

_FOLLOWED = ("max_seq_length", "do_lower_case")
_SPEED = ("unpad_inputs",)  # changes how fast vectors are computed, not what they are
_ONLY = {  # the values that describe what is computed here
    "transformer_task": ("feature-extraction",),
    "module_output_name": ("token_embeddings",),
}
_ARGUMENTS = {  # under its old and new name: keys that may be there
    ("tokenizer_args", "processor_kwargs"): (
        "model_max_length",
        "truncation_side",
        "padding_side",
        "do_lower_case",
        "strip_accents",
        "tokenize_chinese_chars",
        "add_prefix_space",
        "split_special_tokens",
        "extra_special_tokens",
        "additional_special_tokens",
        "add_bos_token",
        "add_eos_token",
    ),
    ("model_args", "model_kwargs"): ("attn_implementation", "torch_dtype", "dtype", "device_map", "low_cpu_mem_usage"),
    ("config_args", "config_kwargs"): (),
}
_HARMLESS = ("trust_remote_code", "use_fast", "local_files_only", "use_safetensors")  # in every group of arguments
_DTYPES = (None, "auto", "float32", "torch.float32")
_FLAGS = ("do_lower_case", "tokenize_chinese_chars", "strip_accents", "split_special_tokens")
_SIDES = ("right", "left")


def read_settings(folder: Path) -> dict[str, Any]:
    """Settings of the transformer in `folder` (sentence_bert_config.json); empty where it has none.

    Raises InputError for settings that are not followed.
    """
    path = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if path is None:
        return {}
    stored = read_json(path)
    lower = stored.get("do_lower_case")
    if not isinstance(lower, bool | None):
        raise InputError(f"{path}: do_lower_case: expected true, false or null, got {quoted(lower)}.")
    groups = {name: keys for names, keys in _ARGUMENTS.items() for name in names}
    for name, value in stored.items():
        where = f"{path}: {name}"
        if name in _ONLY:
            if value not in (*_ONLY[name], None):
                raise InputError(f"{where}: only {_ONLY[name][0]!r} is supported, got {quoted(value)}.")
        elif name == "modality_config":
            _check_modality(where, value)
        elif name in groups:
            _check_arguments(where, value, groups[name])
        elif name not in (*_FOLLOWED, *_SPEED) and value not in (None, {}, []):
            raise InputError(f"{where}: {quoted(value)} is not supported; set it to null if vectors do not need it.")
    return stored


def _check_modality(where: str, value: Any) -> None:
    text = value.get("text") if isinstance(value, dict) else None
    wanted = {"method": "forward", "method_output_name": "last_hidden_state"}
    if not isinstance(text, dict) or any(text.get(name) != word for name, word in wanted.items()):
        raise InputError(f"{where}: only text read by {wanted} is supported, got {quoted(text)}.")


def _check_arguments(where: str, value: Any, known: tuple[str, ...]) -> None:
    if not isinstance(value, dict | None):
        raise InputError(f"{where}: expected an object, got {quoted(value)}.")
    for name, one in (value or {}).items():
        if name in ("torch_dtype", "dtype") and one not in _DTYPES:
            raise InputError(
                f"{where}: {name}: {quoted(one)} is not followed; delete it, and set encoder.dtype if you want it."
            )
        if name not in (*known, *_HARMLESS) and one not in (None, {}, []):
            raise InputError(f"{where}: {name}: {quoted(one)} is not supported; delete it if vectors do not need it.")


def tokenizer_arguments(folder: Path) -> dict[str, Any]:
    """What sentence_bert_config.json gives the tokenizer; it comes before tokenizer_config.json."""
    settings = read_settings(folder)
    found = settings.get("processor_kwargs", settings.get("tokenizer_args")) or {}
    return {name: value for name, value in found.items() if name not in _HARMLESS and value is not None}


def tokenizer_settings(folder: Path) -> dict[str, Any]:
    """Settings of the tokenizer in `folder`, those of sentence_bert_config.json before those of its own file."""
    path = folder / "tokenizer_config.json"
    stored = (read_json(path) if path.is_file() else {}) | tokenizer_arguments(folder)
    for name in _FLAGS:
        if not isinstance(stored.get(name), bool | None):
            raise InputError(f"{path}: {name}: expected true, false or null, got {quoted(stored[name])}.")
    for name in ("truncation_side", "padding_side"):
        if stored.get(name) is not None:
            check_name(f"{path}: {name}", str(stored[name]), _SIDES)
    return stored


def check_padding(folder: Path, config: Architecture) -> None:
    """Raise if padding would stand before a text and move its learned positions: its vector would follow its batch."""
    counted = config.learned_positions and not config.position_offset  # other families count from the first token
    if counted and tokenizer_settings(folder).get("padding_side") == "left":
        raise InputError(
            f"{folder / 'tokenizer_config.json'}: padding_side: 'left' is not supported with learned positions, which "
            "it moves; set it to 'right'."
        )


def own_length(folder: Path, positions: float) -> int:
    """Number of tokens at which sentence-transformers cuts texts for the model in `folder`, at most `positions`.

    That is `max_seq_length` of its settings, else `model_max_length` of its tokenizer.
    """
    settings, tokenizer = read_settings(folder), folder / "tokenizer_config.json"
    for arguments in (settings.get("processor_kwargs"), settings.get("tokenizer_args"), settings):
        for name in ("model_max_length", "max_seq_length"):
            if isinstance(arguments, Mapping) and arguments.get(name) is not None:
                return _length(f"{folder / _FILES[0]}: {name}", arguments[name], positions)
    stored = read_json(tokenizer).get("model_max_length") if tokenizer.is_file() else None
    return _length(f"{tokenizer}: model_max_length", math.inf if stored is None else stored, positions)


def _length(name: str, value: Any, positions: float) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 3:
        raise InputError(f"{name}: expected a number of tokens, at least 3, got {quoted(value)}.")
    return int(min(value, positions, _NO_LIMIT))
