"""Saving an encoder in the format it came in: a folder that transformers and sentence-transformers read."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from jaxrec.checks import InputError
from jaxrec.encoder.architecture import Architecture
from jaxrec.encoder.config_json import parse_architecture
from jaxrec.encoder.config_sizes import with_sizes
from jaxrec.encoder.families import key_table
from jaxrec.encoder.folder import read_json
from jaxrec.encoder.load import Encoder
from jaxrec.encoder.sentence_transformers import read_modules
from jaxrec.encoder.weight_names import KeyTable
from jaxrec.storage.digests import sealed_folder
from jaxrec.storage.inside import check_folder
from jaxrec.types import Params

WEIGHTS = "model.safetensors"
_KEPT = {".json", ".txt", ".md", ".model", ".jinja"}  # settings, tokenizers, prompts, licences
_OTHER = {"onnx", "openvino"}  # the original weights for other programs


def save_encoder(enc: Encoder, folder: str | Path) -> None:
    """Write `enc.params`, float32, with the settings and tokenizer files of the folder they were read from.

    Only what an encoder uses is written: heads of a training task and decoders are left out. Other programs may
    refuse an encoder with fewer heads than its source had (docs/text-encoders.md). Pooling, prompt and
    other settings given when loading are not saved, so give them again. A folder that
    jaxrec wrote is replaced, and InputError is raised for any other that is not empty.
    """
    if enc.params["words"]["embedding"].dtype == np.int8:
        raise InputError(f"{folder}: int8 weights cannot be saved; load them as float32.")
    check_folder(enc.folder)
    modules = read_modules(enc.folder)
    inner = modules.folder.relative_to(enc.folder)
    with sealed_folder(Path(folder)) as temporary:
        for path in _settings(enc.folder):
            target = temporary / path.relative_to(enc.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        family = _describe(modules.folder / "config.json", temporary / inner / "config.json", enc.config)
        _write(stored_tensors(enc.params, key_table(family, enc.config), enc.config), temporary / inner)
        for number, head in enumerate(modules.head_folders):
            weights = enc.params["heads"][str(number)]
            tensors = {"linear.weight": weights["kernel"].T}
            if "bias" in weights:
                tensors["linear.bias"] = weights["bias"]
            _write(tensors, temporary / head.relative_to(enc.folder))


def stored_tensors(params: Params, table: KeyTable, config: Architecture) -> dict[str, np.ndarray]:
    """Tensors under the names of a family, without prefix: the inverse of `read_params`."""
    flat: Any = flatten_dict(params, sep="/")
    parts: dict[str, dict[int, np.ndarray]] = {}
    transposed = {}
    for name, (rule, layer) in table.places(config, flat):
        value = np.asarray(flat[rule.path] if layer is None else flat[rule.path][layer], np.float32)
        parts.setdefault(name, {})[rule.part] = value
        transposed[name] = rule.transpose
    tensors = {name: np.concatenate([some[n] for n in sorted(some)], axis=-1) for name, some in parts.items()}
    return {name: x.T if transposed[name] else x for name, x in tensors.items()}


def _settings(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        hidden = any(part.startswith(".") or part in _OTHER for part in inside.parts)
        if path.is_file() and path.suffix in _KEPT and not path.name.endswith(".index.json") and not hidden:
            yield path


def _describe(source: Path, target: Path, config: Architecture) -> str:
    """Write the config.json at `source` to `target` with the sizes of `config`; gives its family.

    Its dtype is float32: programs that load weights in the dtype it names would otherwise round them.
    """
    stored = with_sizes(read_json(source), source, config)
    stored |= {name: "float32" for name in ("dtype", "torch_dtype") if name in stored}
    target.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")
    return parse_architecture(stored, source)[0]


def _write(tensors: Mapping[str, Any], folder: Path) -> None:
    save_file(
        {n: np.ascontiguousarray(x, np.float32) for n, x in tensors.items()},
        folder / WEIGHTS,
        metadata={"format": "pt"},
    )
