"""The files that sentence-transformers puts next to a transformer: lengths, pooling, dense heads, prompts."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError, check_name
from jaxrec.encoder.folder import read_json
from jaxrec.encoder.pool import HEAD_ACTIVATIONS, POOLERS, Head, Pooling
from jaxrec.encoder.weights import read_tensors, weight_files
from jaxrec.types import Params

_FLAGS = {  # older files have one flag per mode
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_SETTINGS = tuple(  # older files are named after the family
    f"sentence_{family}_config.json"
    for family in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_NO_LIMIT = 1 << 20  # tokens, where positions are only relative and no file names a length


class Modules(NamedTuple):
    """What modules.json lists."""

    folder: Path  # of the transformer
    pooling: Pooling
    heads: Params  # weights of the dense heads, by number
    head_folders: tuple[Path, ...] = ()  # in the same order


def read_modules(root: Path) -> Modules:
    """Read modules.json and what it names; without it, pooling is the plain mean of the tokens."""
    path = root / "modules.json"
    if not path.is_file():
        return Modules(root, Pooling(), {})
    folder, mode, normalise, heads, weights, places = root, "mean", False, [], {}, []
    for module in read_json(path, list):
        if not isinstance(module, dict) or not all(isinstance(module.get(k), str) for k in ("type", "path")):
            raise InputError(f"{path}: expected objects with strings 'type' and 'path', got {module!r:.60}.")
        kind, place = module["type"].rpartition(".")[2], root / module["path"]
        check_name(f"{path}: type", kind, ("Transformer", "Pooling", "Dense", "Normalize"))
        if normalise:
            raise InputError(f"{path}: {kind} after Normalize is not supported.")
        if kind == "Transformer":
            folder = place
        elif kind == "Pooling":
            mode = _pooling_mode(place / "config.json")
        elif kind == "Dense":
            weights[str(len(heads))], head = _read_head(place)
            heads.append(head)
            places.append(place)
        else:
            normalise = True
    return Modules(folder, Pooling(mode, normalise, tuple(heads)), weights, tuple(places))


def read_settings(folder: Path) -> dict[str, Any]:
    """Settings of the transformer in `folder` (sentence_bert_config.json); empty where it has none."""
    path = next((folder / name for name in _SETTINGS if (folder / name).is_file()), None)
    return {} if path is None else read_json(path)


def own_length(folder: Path, positions: float) -> int:
    """Number of tokens at which sentence-transformers cuts texts for the model in `folder`, at most `positions`.

    That is `max_seq_length` of its settings, else `model_max_length` of its tokenizer.
    """
    settings, tokenizer = read_settings(folder), folder / "tokenizer_config.json"
    for arguments in (settings.get("processor_kwargs"), settings.get("tokenizer_args"), settings):
        for name in ("model_max_length", "max_seq_length"):
            if isinstance(arguments, dict) and arguments.get(name) is not None:
                return _length(f"{folder / _SETTINGS[0]}: {name}", arguments[name], positions)
    stored = read_json(tokenizer).get("model_max_length") if tokenizer.is_file() else None
    return _length(f"{tokenizer}: model_max_length", math.inf if stored is None else stored, positions)


def _length(name: str, value: Any, positions: float) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 3:
        raise InputError(f"{name}: expected a number of tokens, at least 3, got {value!r}.")
    return int(min(value, positions, _NO_LIMIT))


def read_dimensions(root: Path) -> int:
    """Number of leading channels that a model keeps by default; 0 for all."""
    path = root / "config_sentence_transformers.json"
    stored = read_json(path).get("truncate_dim") if path.is_file() else None
    if stored is not None and (type(stored) is not int or stored < 1):
        raise InputError(f"{path}: truncate_dim: expected a whole number of channels, got {stored!r}.")
    return stored or 0


def read_prompts(root: Path) -> tuple[dict[str, str], str]:
    """Read the prompts of a model by name, and the one put in front of texts by default ('' for none)."""
    path = root / "config_sentence_transformers.json"
    if not path.is_file():
        return {}, ""
    stored = read_json(path)
    prompts, default = stored.get("prompts") or {}, stored.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
        raise InputError(f"{path}: prompts: expected an object of strings, got {prompts!r:.60}.")
    prompts = {name: text or "" for name, text in prompts.items()}
    if default is None:
        return prompts, ""
    check_name(f"{path}: default_prompt_name", str(default), prompts)
    return prompts, prompts[default]


def _pooling_mode(path: Path) -> str:
    """Read the pooling mode: one word in newer files, one flag per mode in older ones."""
    stored = read_json(path)
    on = stored.get("pooling_mode") or [
        _FLAGS.get(k, k) for k, v in stored.items() if k.startswith("pooling_mode_") and v
    ]
    on = on if isinstance(on, list) else [on]
    if len(on) != 1 or on[0] not in POOLERS:
        raise InputError(
            f"{path}: expected one pooling mode of {', '.join(POOLERS)}, got {', '.join(map(str, on)) or 'none'}."
        )
    if stored.get("include_prompt") is False:
        raise InputError(f"{path}: include_prompt: only true is supported, got false.")
    return on[0]


def _read_head(folder: Path) -> tuple[Params, Head]:
    """Read a Dense module: kernel [in, out] and, where it has one, bias [out]."""
    path = folder / "config.json"
    stored = read_json(path)
    activation = str(stored.get("activation_function", "Tanh")).rpartition(".")[2]
    check_name(f"{path}: activation_function", activation, HEAD_ACTIVATIONS)
    if stored.get("use_residual") or stored.get("module_input_name", "sentence_embedding") != "sentence_embedding":
        raise InputError(f"{path}: only dense layers of the sentence embedding without residual are supported.")
    bias = stored.get("bias", True)
    shapes: dict[str, Any] = {"linear.weight": (stored.get("out_features"), stored.get("in_features"))}
    if bias:
        shapes["linear.bias"] = (stored.get("out_features"),)
    (file,) = weight_files(folder)
    tensors = read_tensors(file, shapes)
    weights = {"kernel": jnp.asarray(np.ascontiguousarray(tensors["linear.weight"].T))}
    if bias:
        weights["bias"] = jnp.asarray(tensors["linear.bias"])
    return weights, Head(stored["out_features"], activation)
