"""From a model's name to an `Encoder`: a frozen bundle of weights and pure functions."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from tokenizers import Tokenizer

from jaxrec.checks import InputError, check_name, check_range
from jaxrec.encoder.bert import Bert, BertConfig
from jaxrec.encoder.folder import find_model, read_json
from jaxrec.encoder.keys import BERT_KEYS, KeyTable
from jaxrec.encoder.pool import Pooling
from jaxrec.encoder.tokenize import Tokenize, load_tokenizer, make_tokenize
from jaxrec.encoder.weights import read_params, weight_files
from jaxrec.types import Array, Params

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
Apply = Callable[[Params, Array, Array], Array]


@dataclasses.dataclass(frozen=True)
class Family:
    """One architecture: its sizes, its mathematics, and the names in its checkpoints."""

    config: type[BertConfig]
    module: type[nn.Module]
    keys: KeyTable
    fixed: dict[str, Any]  # the one value of each of these config.json keys that the module computes


FAMILIES = {
    "bert": Family(BertConfig, Bert, BERT_KEYS, {"position_embedding_type": "absolute", "is_decoder": False}),
}


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A language model that turns texts into vectors; its functions are pure, `params` is their argument."""

    name: str
    config: BertConfig
    params: Params  # nested dict, float32; layers stacked on the leading axis
    apply: Apply  # params, ids [B, T] int32, mask [B, T] int32 (1: token, 0: padding) -> hidden [B, T, E]
    pool: Pooling  # hidden [B, T, E], mask [B, T] -> [B, E]
    tokenize: Tokenize  # texts -> lists of ids, special tokens included, cut at max_length
    max_length: int  # tokens a text
    identity: str  # hash of all but weights and pooling that decides a vector


def load_encoder(name: str | Path, max_length: int = 128, dtype: str = "float32") -> Encoder:
    """Load a model by folder or name; `dtype` (float32, bfloat16) is that of the matrix products.

    Looks for a folder, then an installed package (all-MiniLM-L6-v2), then the Hugging Face cache and hub.
    Reads safetensors only. Raises InputError where the model is not found, not whole, or of another family.
    """
    check_name("dtype", dtype, DTYPES)
    root = find_model(str(name))
    folder, pooling = read_modules(root)
    family, config = read_config(folder / "config.json")
    check_range("max_length", max_length, 3, config.max_position_embeddings)
    tokenizer = load_tokenizer(folder, max_length) or load_tokenizer(root, max_length)
    if tokenizer is not None and tokenizer.get_vocab_size() > config.vocab_size:
        raise InputError(
            f"{folder}: the tokenizer has {tokenizer.get_vocab_size()} tokens, config.json says vocab_size "
            f"{config.vocab_size}; take both from the same model."
        )
    module = family.module(config, DTYPES[dtype])
    shapes = jax.eval_shape(module.init, jax.random.key(0), *(jnp.zeros((1, 1), jnp.int32),) * 2)["params"]
    return Encoder(
        name=str(name),
        config=config,
        params=read_params(weight_files(folder), family.keys, shapes, config.num_hidden_layers),
        apply=make_apply(module),
        pool=pooling,
        tokenize=make_tokenize(tokenizer, folder),
        max_length=max_length,
        identity=_identity(config, tokenizer, max_length, dtype),
    )


@functools.cache
def make_apply(module: nn.Module) -> Apply:
    """Give params, ids, mask -> hidden; equal modules share one function, hence its compiled programs."""

    def apply(params: Params, ids: Array, mask: Array) -> Any:
        return module.apply({"params": params}, ids, mask)

    return apply


def read_config(path: Path) -> tuple[Family, BertConfig]:
    """Read the sizes of a model from its config.json, as transformers 4 or 5 wrote it."""
    stored = read_json(path)
    kind = str(stored.get("model_type"))
    if kind not in FAMILIES:
        raise InputError(f"{path}: model_type {kind!r} is not supported; supported: {', '.join(FAMILIES)}.")
    family = FAMILIES[kind]
    for key, want in family.fixed.items():
        if stored.get(key, want) != want:
            raise InputError(f"{path}: {key}: only {want!r} is supported, got {stored[key]!r}.")
    fields = {field.name: field for field in dataclasses.fields(family.config)}
    if lost := [n for n, f in fields.items() if f.default is dataclasses.MISSING and n not in stored]:
        raise InputError(f"{path}: {', '.join(lost)} missing; fetch the file again.")
    try:
        return family, family.config(**{name: stored[name] for name in fields if name in stored})
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_modules(root: Path) -> tuple[Path, Pooling]:
    """Give the folder of the transformer and how to pool, by modules.json; without it the plain mean."""
    path = root / "modules.json"
    if not path.is_file():
        return root, Pooling()
    folder, pooling = root, Pooling()
    for module in read_json(path, list):
        if not isinstance(module, dict) or not all(isinstance(module.get(k), str) for k in ("type", "path")):
            raise InputError(f"{path}: expected objects with strings 'type' and 'path', got {module!r:.60}.")
        kind = module["type"].rpartition(".")[2]
        check_name(f"{path}: type", kind, ("Transformer", "Pooling", "Normalize"))
        if kind == "Transformer":
            folder = root / module["path"]
        elif kind == "Pooling":
            pooling = Pooling(_pooling_mode(root / module["path"] / "config.json"), pooling.normalise)
        else:
            pooling = Pooling(pooling.mode, normalise=True)
    return folder, pooling


def _pooling_mode(path: Path) -> Any:
    """Mean or cls; newer files say it in one word, older ones in a flag a mode."""
    stored = read_json(path)
    names = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    on = [stored["pooling_mode"]] if "pooling_mode" in stored else []
    on += [names.get(k, k) for k, v in stored.items() if k.startswith("pooling_mode_") and v]
    if len(on) != 1 or on[0] not in names.values():
        raise InputError(f"{path}: expected the pooling mode mean or cls, got {', '.join(map(str, on)) or 'none'}.")
    return on[0]


def _identity(config: BertConfig, tokenizer: Tokenizer | None, max_length: int, dtype: str) -> str:
    parts = [dataclasses.asdict(config), tokenizer.to_str() if tokenizer else None, max_length, dtype]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
