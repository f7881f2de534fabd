"""The tokenizer in a GGUF file: byte-level BPE from the words and merges of its metadata."""

from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from jaxrec.checks import InputError
from jaxrec.encoder.trial import library_errors
from jaxrec.foreign import quoted
from jaxrec.language.gguf_file import GgufFile

_CONTROL, _USER_DEFINED = 3, 4  # types of words
# How texts are cut before merges, as the tokenizers of the published models do it.
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


def _plain() -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def _digits() -> Any:
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _plain()])


def _split(digits: str) -> Any:
    words = pre_tokenizers.Split(Regex(_WORDS % digits), behavior="isolated")
    return pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


_CUTS = {
    "gpt-2": _plain,
    "default": _plain,
    "smollm": _digits,
    "qwen2": lambda: _split(""),
    "llama-bpe": lambda: _split("{1,3}"),
}


def gguf_tokenizer(file: GgufFile) -> Tokenizer:
    """Build the tokenizer; raises InputError for one of another kind than byte-level BPE."""
    kind = file.get("tokenizer.ggml.model", str, "none")
    if kind != "gpt2":
        raise InputError(
            f"{file.path}: tokenizer.ggml.model: only 'gpt2' (byte-level BPE) is supported, got {quoted(kind)}; give "
            "the folder with the model's safetensors and tokenizer.json instead."
        )
    cut = file.get("tokenizer.ggml.pre", str, "default")
    if cut not in _CUTS:
        raise InputError(
            f"{file.path}: tokenizer.ggml.pre {quoted(cut)} is not supported; supported: {', '.join(_CUTS)}; give the "
            "folder with the model's safetensors and tokenizer.json instead."
        )
    words, merges = (file.get(f"tokenizer.ggml.{name}", list) for name in ("tokens", "merges"))
    rows = {word: row for row, word in enumerate(words)}
    pairs = [tuple(merge.split(" ")) for merge in merges]
    if len(rows) < len(words) or any(len(pair) != 2 for pair in pairs):
        raise InputError(f"{file.path}: a word of its tokenizer is there twice, or a merge is no pair; fetch it again.")
    with library_errors(str(file.path)):
        tokenizer = Tokenizer(models.BPE(vocab=rows, merges=pairs, ignore_merges=cut == "llama-bpe"))
        if cut == "qwen2":
            tokenizer.normalizer = normalizers.NFC()  # type: ignore[assignment]
        tokenizer.pre_tokenizer = _CUTS[cut]()
        tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
        types = file.get("tokenizer.ggml.token_type", list, [])
        for word, one in zip(words, types, strict=False):
            if one in (_CONTROL, _USER_DEFINED):
                tokenizer.add_tokens([AddedToken(word, normalized=False, special=one == _CONTROL)])
        # Files of Llama 3 without the field mean true, as llama.cpp reads them.
        if file.get("tokenizer.ggml.add_bos_token", bool, cut == "llama-bpe"):
            row = file.get("tokenizer.ggml.bos_token_id", int)
            pieces = [(tokenizer.id_to_token(row), row)]
            tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
                single=f"{pieces[0][0]} $A", special_tokens=pieces
            )
    return tokenizer


def special_word(file: GgufFile, name: str) -> str | None:
    """The text of a special word ('bos', 'eos'), None where the file names none."""
    row, words = file.get(f"tokenizer.ggml.{name}_token_id", int, -1), file.get("tokenizer.ggml.tokens", list)
    return words[row] if 0 <= row < len(words) else None
