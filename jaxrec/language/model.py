"""Decoders that give the likelihood of texts: loading, logits, and a cache of what was read before."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict
from jax import lax
from tokenizers import Tokenizer

from jaxrec.checks import InputError, check_name, check_range
from jaxrec.encoder.architecture import Architecture
from jaxrec.encoder.auto_tokenizer import chat_text, render_chat
from jaxrec.encoder.config_json import parse_architecture
from jaxrec.encoder.families import gguf_table, language_table
from jaxrec.encoder.folder import find_model, read_json
from jaxrec.encoder.load import DTYPES
from jaxrec.encoder.settings import tokenizer_settings
from jaxrec.encoder.tokenize import load_tokenizer
from jaxrec.encoder.transformer import Cache, Transformer, precision
from jaxrec.encoder.trial import library_errors
from jaxrec.encoder.weights import read_params, weight_files
from jaxrec.foreign import quoted
from jaxrec.home import expanded
from jaxrec.language.gguf_file import GgufFile, config_values, open_gguf
from jaxrec.language.gguf_tokenizer import gguf_tokenizer, special_word
from jaxrec.sharding.compile import compiled
from jaxrec.storage.digests import DIGESTS, check_digests
from jaxrec.types import Array, Params

GGUF = ".gguf"
EXAMPLE = "SmolLM2-135M-Instruct"
_TIED = {"gpt2": True, "gemma3_text": True}  # whether the head is the table of words, where a config does not say
_SUMS = 1 << 20  # tokens that a model without a limit of its own may read


@dataclasses.dataclass(frozen=True)
class LanguageModel:
    """A decoder with its head; what computes takes `params` as an argument."""

    name: str
    path: Path  # the folder or the GGUF file
    config: Architecture
    params: Params  # nested dict, float32; layers stacked on the leading axis; "head" only where it is not tied
    tokenizer: Tokenizer
    max_length: int  # tokens of a text
    dtype: str  # of the matrix products
    chat_template: str | None  # Jinja; None where the folder has it in files, or where there is none
    words: Mapping[str, str]  # special ones: bos_token, eos_token

    @property
    def module(self) -> Any:
        """The transformer, which also returns keys and values."""
        return Transformer(self.config, DTYPES[self.dtype], keep=True)

    def encode(self, text: str, first: bool = True) -> list[int]:
        """Token ids of a text; with `first` it begins as the model expects the beginning of a text."""
        with library_errors(str(self.path)):
            return list(self.tokenizer.encode(text, add_special_tokens=first).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, without special ones."""
        with library_errors(str(self.path)):
            return self.tokenizer.decode(list(ids), skip_special_tokens=True)

    def chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Messages {"role": ..., "content": ...} as one text up to where the answer begins, by the chat template."""
        if not self.path.is_file():
            return chat_text(self.path, messages, generate=True)
        if self.chat_template is None:
            raise InputError(f"{self.path}: no chat template (tokenizer.chat_template); leave chat out.")
        return render_chat(str(self.path), self.tokenizer, self.chat_template, self.words, messages)

    @property
    def has_chat(self) -> bool:
        """Whether there is a chat template."""
        if self.path.is_file():
            return self.chat_template is not None
        return (self.path / "chat_template.jinja").is_file() or bool(tokenizer_settings(self.path).get("chat_template"))


class _Source(NamedTuple):
    """What a folder or a file says before its weights are read."""

    path: Path
    family: str
    config: Architecture
    tied: bool
    gguf: GgufFile | None


def load_language_model(name: str | Path = EXAMPLE, dtype: str = "float32", max_length: int = 0) -> LanguageModel:
    """Load a decoder with its head: a GGUF file, a folder with safetensors, or a name as `load_encoder` takes it.

    Families: llama, mistral, qwen2, qwen3, gemma3_text and gpt2 of folders; llama, qwen2, qwen3 and gpt2 of GGUF files,
    whose weights become float32. `dtype` (float32, bfloat16) is that of the matrix products. `max_length` tokens are
    read at most; 0: as many as the model can. Raises InputError for what is no language model, damaged, or without a
    tokenizer.
    """
    check_name("dtype", dtype, DTYPES)
    source = _source(str(name))
    config, gguf = source.config, source.gguf
    most = int(min(config.max_length, _SUMS))
    if max_length:
        check_range("max_length", max_length, 2, most)
    shapes = _shapes(config, source.tied)
    if gguf is None:
        tokenizer = load_tokenizer(source.path, most)
        if tokenizer is None:
            raise InputError(
                f"{source.path}: no tokenizer.json or vocab.txt, so texts cannot be read; add one of them."
            )
        tokenizer.no_truncation()  # what is too long is refused by whoever knows what to leave out
        table = language_table(source.family, config)
        params = read_params(weight_files(source.path), table, shapes, config)
        words, template = _special_words(source.path), None
    else:
        tokenizer = gguf_tokenizer(gguf)
        params = read_params([gguf.path], gguf_table(source.family), shapes, config, open_file=lambda _: gguf)
        found = {f"{one}_token": special_word(gguf, one) for one in ("bos", "eos")}
        words = {one: word for one, word in found.items() if word is not None}
        template = gguf.get("tokenizer.chat_template", str, "") or None
    _check_finite(source.path, params)
    if tokenizer.get_vocab_size(with_added_tokens=False) > config.vocab_size:
        raise InputError(
            f"{source.path}: the tokenizer has {tokenizer.get_vocab_size(with_added_tokens=False)} tokens, the model "
            f"has rows for {config.vocab_size}; take both from the same model."
        )
    return LanguageModel(str(name), source.path, config, params, tokenizer, max_length or most, dtype, template, words)


def _source(name: str) -> _Source:
    path = expanded(name)
    if not path.is_file():
        path = find_model(name)
        files = [] if (path / "config.json").is_file() else sorted(path.glob(f"*{GGUF}"))
        if len(files) > 1:
            raise InputError(f"{path}: {len(files)} GGUF files; name one of them ({', '.join(f.name for f in files)}).")
        path = files[0] if files else path
    gguf = open_gguf(path) if path.is_file() else None
    if gguf is None:
        check_digests(path, f"make or copy it again, or delete {DIGESTS} in it if you changed it yourself", must=False)
    values = read_json(path / "config.json") if gguf is None else config_values(gguf)
    family, config = parse_architecture(values, path / "config.json" if gguf is None else path)
    if not config.causal or config.relative_buckets:
        raise InputError(
            f"{path}: model_type {quoted(family)} encodes texts and gives no likelihood of them; expected a decoder "
            "such as llama, qwen3 or gpt2."
        )
    if values.get("final_logit_softcapping") is not None:
        raise InputError(f"{path}: final_logit_softcapping is not supported; take a model without it.")
    tied = values.get("tie_word_embeddings")
    if not isinstance(tied, bool | None):
        raise InputError(f"{path}: tie_word_embeddings: expected true or false, got {quoted(tied)}.")
    return _Source(path, family, config, _TIED.get(family, False) if tied is None else tied, gguf)


def _shapes(config: Architecture, tied: bool) -> Params:
    module: Any = Transformer(config)
    shapes = jax.eval_shape(module.init, jax.random.key(0), *(jnp.zeros((1, 1), jnp.int32),) * 2)["params"]
    if tied:
        return shapes
    kernel = jax.ShapeDtypeStruct((config.hidden_size, config.vocab_size), jnp.float32)
    return shapes | {"head": {"kernel": kernel}}


def _special_words(folder: Path) -> dict[str, str]:
    stored = tokenizer_settings(folder)
    found = {name: stored.get(name) for name in ("bos_token", "eos_token")}
    texts = {name: one.get("content") if isinstance(one, dict) else one for name, one in found.items()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def _check_finite(path: Path, params: Params) -> None:
    flat: Any = flatten_dict(params, sep="/")
    finite = compiled(lambda arrays: {name: jnp.isfinite(x).all() for name, x in arrays.items()})(flat)
    if damaged := [name for name, whole in finite.items() if not whole]:
        raise InputError(
            f"{path}: {damaged[0]} has numbers that are not finite; the weights are damaged, fetch them again."
        )


def run(
    module: Transformer, params: Params, ids: Array, mask: Array, cache: Cache | None = None
) -> tuple[Array, Cache]:
    """Hidden vectors [B, T, E] float32 of tokens [B, T] after those of a cache, and the cache of these alone."""
    own: Any = {name: x for name, x in params.items() if name != "head"}
    return module.apply({"params": own}, ids, mask, cache)  # type: ignore[return-value]


def head(params: Params, hidden: Array, dtype: Any) -> Array:
    """Logits of the next token; hidden [..., E] -> [..., V] float32."""
    kernel = params["head"]["kernel"] if "head" in params else params["words"]["embedding"].T
    x, kernel = hidden.astype(dtype), kernel.astype(dtype)
    return lax.dot_general(
        x,
        kernel,
        (((x.ndim - 1,), (0,)), ((), ())),
        precision=precision(dtype),
        preferred_element_type=jnp.float32,
    )


@functools.cache
def logits_program(module: Transformer):
    """Compiled params, ids [B, T], mask [B, T] -> logits [B, T, V]; equal architectures share it."""
    return compiled(lambda params, ids, mask: head(params, run(module, params, ids, mask)[0], module.dtype))


def logits(lm: LanguageModel, texts: Sequence[Sequence[int]]) -> Array:
    """Logits of the token after each token; B texts of at most T token ids -> [B, T, V] float32.

    Raises InputError without any text, and for texts that are longer than the model can read.
    """
    if not texts:
        raise InputError("texts: expected at least one text.")
    check_lengths(lm, [len(text) for text in texts], "texts")
    width = max(1, max(len(text) for text in texts))
    ids = jnp.array([[*text, *[0] * (width - len(text))] for text in texts], jnp.int32)
    mask = jnp.array([[n < len(text) for n in range(width)] for text in texts], jnp.int32)
    return logits_program(lm.module)(lm.params, ids, mask)


def check_lengths(lm: LanguageModel, lengths: Sequence[int], what: str, advice: str = "give shorter texts") -> None:
    """Raise InputError if one of `lengths` is more than the model can read."""
    for row, length in enumerate(lengths):
        if length > lm.max_length:
            raise InputError(
                f"{what}[{row}]: {length:,} tokens, but {lm.name} reads at most {lm.max_length:,}; {advice}."
            )
