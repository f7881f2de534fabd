"""Whether the settings of a tokenizer ask for something else than its tokenizer.json does.

transformers, and with it sentence-transformers, lets tokenizer_config.json decide on case, accents, spaces in front and
added tokens. tokenizer.json alone is read faster, so it is read wherever both say the same.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from jaxrec.encoder.folder import read_json

ADDED = "added_tokens.json"
_WORD_PIECE = ("Bert", "MPNet", "DistilBert", "Electra")  # classes that build their own normaliser
_BYTE_LEVEL = ("Roberta", "GPT2", "Bart", "Longformer")  # and their own pre-tokeniser
_CLASSES = {"bert": "Bert", "mpnet": "MPNet", "roberta": "Roberta", "gpt2": "GPT2"}  # where no file names one
_FLAGS = (("lowercase", "do_lower_case", True), ("handle_chinese_chars", "tokenize_chinese_chars", True))


def other_settings(contents: Mapping[str, Any], tokenizer: Tokenizer, stored: Mapping[str, Any], folder: Path) -> bool:
    """Whether `stored`, settings of the tokenizer in `folder`, differ from `contents` of its tokenizer.json."""
    known = {one.get("content") for one in contents.get("added_tokens") or [] if isinstance(one, dict)}
    if not known.issuperset(_added(stored, folder)):
        return True
    kind = _kind(stored, folder)
    if kind in _BYTE_LEVEL:
        spaces = _parts(contents.get("pre_tokenizer"), "pretokenizers", "ByteLevel")
        return any(one.get("add_prefix_space") != bool(stored.get("add_prefix_space")) for one in spaces)
    return kind in _WORD_PIECE and _other_words(contents, tokenizer, stored)


def _other_words(contents: Mapping[str, Any], tokenizer: Tokenizer, stored: Mapping[str, Any]) -> bool:
    for one in _parts(contents.get("normalizer"), "normalizers", "BertNormalizer"):
        flags = [(one.get(name), _given(stored, key, default)) for name, key, default in _FLAGS]
        if any(have != want for have, want in flags) or one.get("strip_accents") != stored.get("strip_accents"):
            return True
    model = contents.get("model")
    unknown = model.get("unk_token") if isinstance(model, dict) else None
    ends = tokenizer.encode("").tokens
    wanted = [_text(stored.get(name)) for name in ("cls_token", "sep_token")]
    other_ends = len(ends) == 2 and any(want and want != have for want, have in zip(wanted, ends, strict=True))
    return other_ends or (stored.get("unk_token") is not None and _text(stored["unk_token"]) != unknown)


def _kind(stored: Mapping[str, Any], folder: Path) -> str:
    """Class of the tokenizer, as its settings, or else the model's family, name it."""
    named = stored.get("tokenizer_class")
    if isinstance(named, str):
        return named.removesuffix("Fast").removesuffix("Tokenizer")
    config = folder / "config.json"
    return _CLASSES.get(str(read_json(config).get("model_type")), "") if config.is_file() else ""


def _parts(step: Any, inner: str, kind: str) -> Iterator[Mapping[str, Any]]:
    """Steps of one kind in a normaliser or pre-tokeniser, which may be a sequence."""
    if not isinstance(step, dict):
        return
    for one in step.get(inner) or [step]:
        if isinstance(one, dict) and one.get("type") == kind:
            yield one


def _added(stored: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Tokens that the settings add to the vocabulary."""
    for name in ("added_tokens_decoder", "extra_special_tokens", "additional_special_tokens"):
        listed = stored.get(name) or ()
        for one in listed.values() if isinstance(listed, dict) else listed:
            yield _text(one)
    path = folder / ADDED
    yield from read_json(path) if path.is_file() else ()


def _text(token: Any) -> str:
    return str(token.get("content")) if isinstance(token, dict) else str(token or "")


def _given(stored: Mapping[str, Any], name: str, default: Any) -> Any:
    return default if stored.get(name) is None else stored[name]
