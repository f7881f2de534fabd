"""The files of sentence-transformers around a transformer: modules, pooling, dense heads, dimensions, prompts."""

from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError, check_name
from jaxrec.encoder.folder import read_json
from jaxrec.encoder.pool import HEAD_ACTIVATIONS, POOLERS, Head, Pooling
from jaxrec.encoder.weights import read_tensors, weight_files
from jaxrec.foreign import quoted
from jaxrec.storage.inside import inside
from jaxrec.types import Params

_FLAGS = {  # older files have one flag per mode
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


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
    folder, mode, normalise, heads, weights, places = root, "", False, [], {}, []
    for module in read_json(path, list):
        if not isinstance(module, dict) or not all(isinstance(module.get(k), str) for k in ("type", "path")):
            raise InputError(f"{path}: expected objects with strings 'type' and 'path', got {quoted(module)}.")
        kind, place = module["type"].rpartition(".")[2], inside(root, module["path"], f"{path}: path")
        check_name(f"{path}: type", kind, ("Transformer", "Pooling", "Dense", "Normalize", "Dropout"))
        if kind == "Dropout":  # of training only
            continue
        if normalise:
            raise InputError(f"{path}: {kind} after Normalize is not supported.")
        if kind == "Transformer":
            folder = place
        elif kind == "Pooling":
            mode = _pooling_mode(place / "config.json")
        elif kind == "Dense":
            if not mode:
                raise InputError(f"{path}: Dense before Pooling is not supported.")
            weights[str(len(heads))], head = _read_head(place)
            heads.append(head)
            places.append(place)
        else:
            _check_normalise(place / "config.json")
            normalise = True
    if not mode:
        raise InputError(f"{path}: no Pooling, so the model has a vector per token but none per text; add the module.")
    return Modules(folder, Pooling(mode, normalise, tuple(heads)), weights, tuple(places))


def _check_normalise(path: Path) -> None:
    """Raise unless what is normalised is the text's vector; older folders have no file."""
    for name, value in (read_json(path) if path.is_file() else {}).items():
        if name in ("module_input_name", "module_output_name") and value not in (None, "sentence_embedding"):
            raise InputError(f"{path}: {name}: only 'sentence_embedding' is supported, got {quoted(value)}.")


def read_dimensions(root: Path) -> int:
    """Number of leading channels that a model keeps by default; 0 for all."""
    path = root / "config_sentence_transformers.json"
    settings = read_json(path) if path.is_file() else {}
    if settings.get("model_type") not in (None, "SentenceTransformer"):
        raise InputError(
            f"{path}: model_type: only 'SentenceTransformer' is supported, got {quoted(settings['model_type'])}."
        )
    stored = settings.get("truncate_dim")
    if stored is not None and (type(stored) is not int or stored < 1):
        raise InputError(f"{path}: truncate_dim: expected a whole number of channels, got {quoted(stored)}.")
    return stored or 0


def read_prompts(root: Path) -> tuple[dict[str, str], str]:
    """Read the prompts of a model by name, and the one put in front of texts by default ('' for none)."""
    path = root / "config_sentence_transformers.json"
    if not path.is_file():
        return {}, ""
    stored = read_json(path)
    prompts, default = stored.get("prompts") or {}, stored.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
        raise InputError(f"{path}: prompts: expected an object of strings, got {quoted(prompts)}.")
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
    if len(on) != 1 or not isinstance(on[0], str) or on[0] not in POOLERS:
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
    files = weight_files(folder)
    if len(files) != 1:
        raise InputError(f"{folder}: a dense layer in {len(files)} files; expected one model.safetensors.")
    tensors = read_tensors(files[0], shapes)
    weights = {"kernel": jnp.asarray(np.ascontiguousarray(tensors["linear.weight"].T))}
    if bias:
        weights["bias"] = jnp.asarray(tensors["linear.bias"])
    return weights, Head(stored["out_features"], activation)
