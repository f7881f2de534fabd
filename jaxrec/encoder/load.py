"""From a model's name to an `Encoder`: a frozen bundle of weights and pure functions."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from tokenizers import Tokenizer

from jaxrec.checks import InputError, check_name, check_range
from jaxrec.config.schema import EncoderConfig
from jaxrec.encoder.architecture import Architecture
from jaxrec.encoder.config_json import read_architecture
from jaxrec.encoder.families import key_table
from jaxrec.encoder.folder import find_model
from jaxrec.encoder.int8 import quantised
from jaxrec.encoder.layout import lay_out, sharding_of
from jaxrec.encoder.pool import Pooling
from jaxrec.encoder.sentence_transformers import Modules, read_dimensions, read_modules, read_prompts
from jaxrec.encoder.settings import check_padding, own_length
from jaxrec.encoder.tokenize import Tokenize, load_tokenizer, make_tokenize
from jaxrec.encoder.transformer import REMAT, Transformer
from jaxrec.encoder.weights import read_params, weight_files
from jaxrec.foreign import quoted
from jaxrec.storage.digests import DIGESTS, check_digests
from jaxrec.types import Array, Params

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
WEIGHTS = ("float32", "int8")
Apply = Callable[[Params, Array, Array], Array]


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A language model that turns texts into vectors; its functions are pure and take `params` as an argument."""

    name: str
    folder: Path  # it was read from
    config: Architecture
    params: Params  # nested dict, float32; layers stacked on the leading axis
    apply: Apply  # params, ids [B, T] int32, mask [B, T] int32 (1: token, 0: padding) -> hidden [B, T, E]
    pool: Pooling  # params, hidden [B, T, E], mask [B, T] -> [B, width]
    tokenize: Tokenize  # texts -> lists of ids, special tokens included, cut at max_length
    max_length: int  # tokens per text
    dtype: str  # of the matrix products
    identity: str  # hash of all that vectors depend on, except weights, pooling and prompt
    prompts: Mapping[str, str]  # texts to put in front of inputs, by their use (query, document, ...)
    prompt: str  # the one that `embed_texts` puts in front of every text

    @property
    def width(self) -> int:
        """Length of a text's vector."""
        return self.pool.width(self.config.hidden_size)


def load_encoder(
    name: str | Path,
    max_length: int = 0,
    dtype: str = "float32",
    *,
    pooling: str = "",
    dimensions: int = 0,
    prompt: str = "",
    prompt_name: str = "",
    bidirectional: bool = False,
    remat: Literal["none", "dots", "full"] = "none",
    weights: Literal["float32", "int8"] = "float32",
    mesh: Mesh | None = None,
) -> Encoder:
    """Load a model by folder or name; `dtype` (float32, bfloat16) is that of the matrix products.

    Looks for a folder, then an installed package (all-MiniLM-L6-v2), then the Hugging Face cache and hub.
    Reads safetensors only. Raises InputError if the model is not found, incomplete, or of another family.

    Texts are cut at `max_length` tokens; 0 means the length that sentence-transformers uses for the model.
    `pooling` (mean, cls, lasttoken, max, weightedmean, mean_sqrt_len_tokens) and `prompt`, put in front of every
    text, replace the model's own; `prompt_name` picks one of its prompts. `dimensions` keeps the leading
    channels of a vector. `bidirectional` lets the tokens of a decoder see those after them. `remat` (none, dots,
    full) is how much of each layer a gradient recomputes. `weights` (float32, int8) is how kernels and words are kept:
    int8 takes a quarter of the memory and has no gradient. With a `mesh` every device reads its own part of the weights
    (`jaxrec.encoder.layout`); without it all are on the default device.
    """
    check_name("dtype", dtype, DTYPES)
    check_name("remat", remat, REMAT)
    check_name("weights", weights, WEIGHTS)
    root = find_model(str(name))
    check_digests(root, f"make or copy it again, or delete {DIGESTS} in it if you changed it yourself", must=False)
    modules = read_modules(root)
    family, config = read_architecture(modules.folder / "config.json")
    if bidirectional:
        config = dataclasses.replace(config, causal=False)
    max_length = _length(modules, config, max_length)
    tokenizer = load_tokenizer(modules.folder, max_length) or load_tokenizer(root, max_length)
    _check_vocabulary(modules.folder, tokenizer, config)
    check_padding(modules.folder, config)
    prompts, chosen = _choose_prompt(root, prompt, prompt_name)
    module: Any = Transformer(config, DTYPES[dtype], remat)
    shapes = jax.eval_shape(module.init, jax.random.key(0), *(jnp.zeros((1, 1), jnp.int32),) * 2)["params"]
    params = _read_params(modules, family, config, shapes, weights, mesh)
    return Encoder(
        name=str(name),
        folder=root,
        config=config,
        params=params,
        apply=make_apply(module.clone(int8=True) if weights == "int8" else module),
        pool=_make_pool(root, modules, config, pooling, dimensions),
        tokenize=make_tokenize(tokenizer, modules.folder, config.vocab_size),
        max_length=max_length,
        dtype=dtype,
        identity=_identity(config, tokenizer, max_length, dtype),
        prompts=prompts,
        prompt=chosen,
    )


def _read_params(
    modules: Modules, family: str, config: Architecture, shapes: Params, weights: str, mesh: Mesh | None
) -> Params:
    """Parameters of `shapes` from the model's files, with dense heads; over a `mesh` each device reads its own part."""
    layout = None if mesh is None else functools.partial(sharding_of, config=config, mesh=mesh)
    params = read_params(weight_files(modules.folder), key_table(family, config), shapes, config, layout)
    if weights == "int8":
        params = quantised(params)
    params |= {"heads": modules.heads} if modules.heads else {}
    return params if mesh is None else lay_out(params, config, mesh)  # what is there already stays


def open_encoder(config: EncoderConfig, mesh: Mesh | None = None) -> Encoder:
    """Load the encoder that a recipe describes."""
    names = ("max_length", "dtype", "pooling", "dimensions", "prompt", "prompt_name", "bidirectional", "weights")
    return load_encoder(config.model, mesh=mesh, **{name: getattr(config, name) for name in names})


def length_of(config: EncoderConfig) -> int:
    """Number of tokens at which the encoder of a recipe cuts a text, from the model's small files alone."""
    modules = read_modules(find_model(config.model))
    return _length(modules, read_architecture(modules.folder / "config.json")[1], config.max_length)


def _length(modules: Modules, config: Architecture, wanted: int) -> int:
    if wanted:
        check_range("max_length", wanted, 3, config.max_length)
        return wanted
    return own_length(modules.folder, config.max_length)


def with_weights(enc: Encoder, config: Architecture, params: Params) -> Encoder:
    """The encoder with other sizes and float32 weights; tokenizer, pooling and prompts stay."""
    identity = hashlib.sha256(f"{enc.identity} {config}".encode()).hexdigest()
    module: Any = Transformer(config, DTYPES[enc.dtype])
    return dataclasses.replace(enc, config=config, params=params, apply=make_apply(module), identity=identity)


def tokenize_to(enc: Encoder, max_length: int) -> Tokenize:
    """The encoder's tokenizer, cutting at `max_length` tokens."""
    folder = read_modules(enc.folder).folder
    tokenizer = load_tokenizer(folder, max_length) or load_tokenizer(enc.folder, max_length)
    return make_tokenize(tokenizer, folder, enc.config.vocab_size)


@functools.cache
def make_apply(module: nn.Module) -> Apply:
    """Make the function params, ids, mask -> hidden; equal modules share one function, hence its compiled programs."""

    def apply(params: Params, ids: Array, mask: Array) -> Any:
        return module.apply({"params": params}, ids, mask)

    return apply


def _make_pool(root: Path, modules: Modules, config: Architecture, mode: str, dimensions: int) -> Pooling:
    """The model's pooling with the caller's changes; checks that the heads fit."""
    own, width = read_dimensions(root), config.hidden_size
    full = modules.pooling.width(width)  # a model may be said to keep more channels than it has
    pool = dataclasses.replace(modules.pooling, dimensions=dimensions or (own if own < full else 0))
    if mode:
        pool = dataclasses.replace(pool, mode=mode)
    for number, head in enumerate(pool.heads):
        takes = modules.heads[str(number)]["kernel"].shape[0]
        if takes != width:
            raise InputError(f"{root}: dense layer {number} takes {takes} channels, but gets {width}.")
        width = head.width
    pool.width(config.hidden_size)
    return pool


def _choose_prompt(root: Path, prompt: str, name: str) -> tuple[dict[str, str], str]:
    prompts, default = read_prompts(root)
    if prompt and name:
        raise InputError(f"prompt_name: {quoted(name)}, but a prompt is given too; give one of them.")
    if name:
        if not prompts:
            raise InputError(f"prompt_name: {root} has no prompts; give the text as prompt.")
        check_name("prompt_name", name, prompts)
    return prompts, prompts[name] if name else prompt or default


def _check_vocabulary(folder: Path, tokenizer: Tokenizer | None, config: Architecture) -> None:
    """Raise if words have no row; added tokens (of images, say) may lack one."""
    words = 0 if tokenizer is None else tokenizer.get_vocab_size(with_added_tokens=False)
    if words > config.vocab_size:
        raise InputError(
            f"{folder}: the tokenizer has {words} tokens, config.json says vocab_size "
            f"{config.vocab_size}; take both from the same model."
        )


def _identity(config: Architecture, tokenizer: Tokenizer | None, max_length: int, dtype: str) -> str:
    parts = [dataclasses.asdict(config), tokenizer.to_str() if tokenizer else None, max_length, dtype]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
