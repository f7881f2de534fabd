"""Low-rank adapters (LoRA, arXiv:2106.09685) next to frozen kernels: x W + alpha / rank * x A B.

The adapters of all layers are stacked like the kernels: A [L, in, rank], B [L, rank, out], at `kernel_lora_a` and
`kernel_lora_b` next to `kernel`. qwix puts them into the module, so that frozen kernels need no gradient.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.numpy import save_file

from jaxrec.checks import InputError
from jaxrec.encoder.config_json import read_architecture
from jaxrec.encoder.families import key_table
from jaxrec.encoder.load import Encoder
from jaxrec.encoder.sentence_transformers import read_modules
from jaxrec.encoder.weight_names import Rule
from jaxrec.sharding.compile import compiled
from jaxrec.storage.digests import sealed_folder
from jaxrec.types import Array, Params

A, B = "_lora_a", "_lora_b"


def with_adapters(
    module: nn.Module, rank: int, alpha: float, kernels: Sequence[str], dropout: float = 0.0
) -> nn.Module:
    """Add adapters to `kernels` of a module; its outputs stay the same while B is zero.

    With `dropout`, which applies to the inputs of adapters, every call needs a "dropout" key.
    """
    try:
        import qwix
    except ImportError:
        raise InputError("lora needs qwix; install it with `pip install qwix`, or tune all weights (full).") from None
    path = rf"layers/({'|'.join(kernels)})"
    provider = qwix.LoraProvider(module_path=path, rank=rank, alpha=alpha, dropout=dropout)
    return qwix.apply_lora_to_model(module, provider)  # type: ignore[return-value]


def new_adapters(module: nn.Module, key: Array) -> Params:
    """Initialise the adapters of a module that has them: A random, B zero."""

    def init(key: Array) -> dict[str, Array]:
        with jax.numpy_dtype_promotion("standard"):
            keys = {"params": key, "dropout": key}  # dropout does not change the parameters
            params = module.init(keys, jnp.zeros((1, 1), jnp.int32), jnp.ones((1, 1), jnp.int32))["params"]
        flat: Any = flatten_dict(params, sep="/")
        return {path: x for path, x in flat.items() if path.endswith((A, B))}

    return unflatten_dict(compiled(init)(key), sep="/")


def joined(params: Params, other: Params) -> Params:
    """Merge the leaves of both; those of `other` win."""
    return unflatten_dict(flatten_dict(params) | flatten_dict(other))


def merged(params: Params, adapters: Params, scale: float) -> Params:
    """Merge adapters into plain weights: kernel + scale * A B."""
    flat: Any = flatten_dict(params, sep="/")
    low: Any = flatten_dict(adapters, sep="/")
    new = dict(flat)
    for path, a in low.items():
        if path.endswith(A):
            kernel = path.removesuffix(A)
            new[kernel] = flat[kernel] + scale * jnp.matmul(a, low[kernel + B], precision=jax.lax.Precision.HIGHEST)
    return unflatten_dict(new, sep="/")


def save_adapters(enc: Encoder, adapters: Params, rank: int, alpha: float, folder: Path) -> None:
    """Write adapters in the format of PEFT: adapter_config.json and adapter_model.safetensors.

    Where a family stores several kernels in one tensor, their adapters become one, with the sum of their ranks: the A
    are concatenated, the B form a block-diagonal matrix.
    """
    modules = read_modules(enc.folder)
    family, _ = read_architecture(modules.folder / "config.json")
    low: Any = flatten_dict(adapters, sep="/")
    fused: dict[str, list[Rule]] = {}
    for rule in key_table(family, enc.config).rules:
        if rule.path.endswith("/kernel"):
            fused.setdefault(rule.name, []).append(rule)
    fused = {name: rules for name, rules in fused.items() if any(rule.path + A in low for rule in rules)}
    tensors, sizes = {}, {}
    for name, rules in fused.items():
        module = name.removesuffix(".weight")
        for layer in range(enc.config.num_hidden_layers):
            a, b = _fuse(rules, low, enc.params, layer)
            place = f"base_model.model.{module.format(layer=layer)}"
            tensors[f"{place}.lora_A.weight"] = np.ascontiguousarray(a.T)
            tensors[f"{place}.lora_B.weight"] = np.ascontiguousarray(b.T)
            sizes[module] = a.shape[1]
    description = _description(sizes, rank, alpha, transposed=not any(r.transpose for rs in fused.values() for r in rs))
    with sealed_folder(folder) as temporary:
        save_file(tensors, temporary / "adapter_model.safetensors", metadata={"format": "pt"})
        (temporary / "adapter_config.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def _fuse(rules: list[Rule], low: Mapping, params: Params, layer: int) -> tuple[np.ndarray, np.ndarray]:
    """A [in, r] and B [r, out] of one stored tensor: ranks of its parts are concatenated, their outputs kept apart."""
    kernels: Any = flatten_dict(params, sep="/")
    parts = [rule for rule in sorted(rules, key=lambda r: r.part) if rule.path + A in low]
    a = np.concatenate([np.asarray(low[rule.path + A][layer], np.float32) for rule in parts], axis=1)
    width = kernels[rules[0].path].shape[-1]
    b = np.zeros((a.shape[1], width * rules[0].parts), np.float32)
    row = 0
    for rule in parts:
        block = np.asarray(low[rule.path + B][layer], np.float32)
        b[row : row + len(block), rule.part * width :][:, :width] = block
        row += len(block)
    return a, b


def _description(sizes: Mapping[str, int], rank: int, alpha: float, transposed: bool) -> dict[str, Any]:
    """Contents of adapter_config.json; a module of several parts has its own rank and alpha."""

    def pattern(module: str) -> str:
        return r"\d+".join(map(re.escape, module.split("{layer}")))

    wide = {pattern(module): size // rank for module, size in sizes.items() if size != rank}
    return {
        "peft_type": "LORA",
        "task_type": "FEATURE_EXTRACTION",
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {module: times * rank for module, times in wide.items()},
        "alpha_pattern": {module: times * alpha for module, times in wide.items()},
        "target_modules": "|".join(map(pattern, sizes)),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": transposed,  # GPT-2 stores its kernels transposed
        "inference_mode": True,
    }
