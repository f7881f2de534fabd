"""GGUF files: settings, words and weights of a language model in one file, as llama.cpp reads them.

Weights may be quantised; the package gguf turns them into float32 as they are read.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.checks import InputError
from jaxrec.encoder.architecture import Rotary
from jaxrec.encoder.positions import inverse_frequencies
from jaxrec.foreign import quoted

MAGIC = b"GGUF"
_FREQUENCIES = "rope_freqs.weight"
_TURNED = re.compile(r"blk\.\d+\.attn_([qk])\.(?:weight|bias)")
# Llama 3.1 and later: a file has the divisors of the frequencies instead of the numbers that they are made of.
_LLAMA3 = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
_LLAMA3_LENGTH = 8192


class GgufFile:
    """An open GGUF file; as a context it has `keys()` and `get_slice(name)`, as a safetensors file does."""

    def __init__(self, path: Path, reader: Any):
        self.path = path
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}
        self._fields = reader.fields
        self.family = str(self.get("general.architecture", str))

    def get(self, name: str, kind: type, default: Any = None) -> Any:
        """The setting `name`, or `default`; raises InputError for one of another type, or for a missing one."""
        value = self._value(name)
        value = default if value is None else value
        if value is None:
            raise InputError(f"{self.path}: no {name} in its metadata; fetch the file again.")
        if type(value) is not kind:
            raise InputError(f"{self.path}: {name}: expected a {kind.__name__}, got {quoted(value)}.")
        return value

    def number(self, name: str) -> Any:
        """A setting of the family, None where the file has none."""
        return self._value(f"{self.family}.{name}")

    def _value(self, name: str) -> Any:
        field = self._fields.get(name)
        try:
            return None if field is None else field.contents()
        except (ValueError, IndexError):
            raise InputError(f"{self.path}: {name} cannot be read; the file is damaged, fetch it again.") from None

    def __enter__(self) -> "GgufFile":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def keys(self) -> Iterator[str]:
        """Names of the tensors."""
        return iter(self.tensors)

    def get_slice(self, name: str) -> "GgufTensor":
        """One tensor, which is read when it is indexed."""
        heads, turned = 0, _TURNED.fullmatch(name)
        if turned and self.family == "llama":
            count, shared = self.number("attention.head_count"), self.number("attention.head_count_kv")
            heads = count if turned[1] == "q" or shared is None else shared
        return GgufTensor(self.path, self.tensors[name], heads)


class GgufTensor:
    """A tensor of a GGUF file, as float32 in the order [out, in].

    llama.cpp turns neighbouring channels of a head together, and its converter moves the rows of queries and keys of
    Llama accordingly. Here channel i turns with channel i + D / 2, so the rows of `heads` heads are moved back.
    """

    def __init__(self, path: Path, tensor: Any, heads: int = 0):
        self._path, self._tensor, self._heads = path, tensor, heads

    def get_dtype(self) -> str:
        """The type of the numbers after they are read."""
        return "F32"

    def get_shape(self) -> list[int]:
        """Sizes, outputs first; GGUF has them the other way round."""
        return [int(n) for n in self._tensor.shape[::-1]]

    def __getitem__(self, index: Any) -> np.ndarray:
        from gguf.quants import dequantize

        try:
            values = np.asarray(dequantize(self._tensor.data, self._tensor.tensor_type), np.float32)
        except RuntimeError:  # gguf raises a subclass of it for a type that it does not read
            kind = self._tensor.tensor_type.name
            raise InputError(
                f"{self._path}: {self._tensor.name} has the type {kind}, which the package gguf cannot turn into "
                "float32; take a file of another quantisation, for instance Q8_0."
            ) from None
        values = values.reshape(self.get_shape())
        if self._heads:
            pairs = values.reshape(self._heads, -1, 2, *values.shape[1:])
            values = pairs.swapaxes(1, 2).reshape(values.shape)
        return values[index]


def open_gguf(path: Path) -> GgufFile:
    """Open a GGUF file; raises InputError unless it is one, and whole."""
    try:
        from gguf import GGUFReader
    except ImportError:
        raise InputError(f"{path}: reading it needs the package gguf; run `pip install 'jaxrec[lm]'`.") from None
    with path.open("rb") as file:
        start = file.read(len(MAGIC))
    if start != MAGIC:
        raise InputError(f"{path}: not a GGUF file; it starts with {quoted(start)}, expected {quoted(MAGIC)}.")
    try:
        reader = GGUFReader(path)
    except Exception as error:  # of many types, wherever a cut or damaged file leads the reader
        why = str(error).partition("\n")[0].rstrip(". ")
        raise InputError(f"{path}: not a whole GGUF file ({why}); fetch it again.") from None
    return GgufFile(path, reader)


def config_values(file: GgufFile) -> dict[str, Any]:
    """What a config.json would say about the model in `file`."""
    readers = {"llama": _rotary_family, "qwen2": _rotary_family, "qwen3": _rotary_family, "gpt2": _gpt2}
    if file.family not in readers:
        raise InputError(
            f"{file.path}: general.architecture {quoted(file.family)} is not supported; supported: "
            f"{', '.join(readers)} (Mistral and SmolLM files say llama)."
        )
    if "token_embd.weight" not in file.tensors:
        raise InputError(f"{file.path}: no tensor token_embd.weight; take a file that holds the whole model.")
    if file.number("expert_count"):
        raise InputError(f"{file.path}: a mixture of experts is not supported; take a model without experts.")
    return readers[file.family](file) | {
        "model_type": file.family,
        "vocab_size": int(file.tensors["token_embd.weight"].shape[-1]),
        "tie_word_embeddings": "output.weight" not in file.tensors,
    }


def _gpt2(file: GgufFile) -> dict[str, Any]:
    return {
        "n_embd": file.number("embedding_length"),
        "n_head": file.number("attention.head_count"),
        "n_layer": file.number("block_count"),
        "n_inner": file.number("feed_forward_length"),
        "n_positions": file.number("context_length"),
        "layer_norm_epsilon": file.number("attention.layer_norm_epsilon"),
    }


def _rotary_family(file: GgufFile) -> dict[str, Any]:
    values = {
        "hidden_size": file.number("embedding_length"),
        "num_hidden_layers": file.number("block_count"),
        "num_attention_heads": file.number("attention.head_count"),
        "num_key_value_heads": file.number("attention.head_count_kv"),
        "head_dim": file.number("attention.key_length"),
        "intermediate_size": file.number("feed_forward_length"),
        "rms_norm_eps": file.number("attention.layer_norm_rms_epsilon"),
        "rope_theta": file.number("rope.freq_base"),
        "max_position_embeddings": file.number("context_length"),
    }
    kind, turned = file.number("rope.scaling.type"), file.number("rope.dimension_count")
    head_dim = values["head_dim"] or _ratio(values["hidden_size"], values["num_attention_heads"])
    if turned not in (None, head_dim):
        raise InputError(f"{file.path}: rope.dimension_count: only {head_dim} is supported, got {quoted(turned)}.")
    if kind not in (None, "none"):
        values["rope_scaling"] = {"rope_type": kind, "factor": file.number("rope.scaling.factor")}
    elif _FREQUENCIES in file.tensors:
        values["rope_scaling"] = _llama3(file, float(values["rope_theta"] or 10_000.0), head_dim)
    return values


def _ratio(width: Any, count: Any) -> Any:
    both = isinstance(width, int) and isinstance(count, int)
    return width // count if both and count > 0 else None


def _llama3(file: GgufFile, theta: float, head_dim: int) -> dict[str, Any]:
    """The scaling that gives the divisors of the file; raises InputError where they are others."""
    divisors = GgufTensor(file.path, file.tensors[_FREQUENCIES])[:]
    sizes = {"factor": float(divisors.max()), "original_max_position_embeddings": _LLAMA3_LENGTH}
    rotary = Rotary(theta=theta, scaling="llama3", factor=sizes["factor"], original_length=_LLAMA3_LENGTH)
    wanted = inverse_frequencies(Rotary(theta=theta), head_dim) / inverse_frequencies(rotary, head_dim)
    if divisors.shape != wanted.shape or not np.allclose(divisors, wanted, rtol=1e-3):
        raise InputError(f"{file.path}: {_FREQUENCIES} is not that of Llama 3.1 or 3.2; such a model is not supported.")
    return _LLAMA3 | sizes
