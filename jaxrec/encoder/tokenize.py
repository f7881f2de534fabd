"""Texts to token ids with the model's own tokenizer."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers, processors

from jaxrec.checks import InputError
from jaxrec.encoder.auto_tokenizer import built, read_tokenizer
from jaxrec.encoder.folder import read_json
from jaxrec.encoder.settings import read_settings, tokenizer_arguments, tokenizer_settings
from jaxrec.encoder.tokenizer_json import ADDED, other_settings
from jaxrec.encoder.trial import library_errors, try_file
from jaxrec.foreign import quoted


class Tokens(list[list[int]]):
    """Token ids of some texts, a list for each; `cut` of the texts were longer than the tokenizer's limit."""

    cut: int = 0


Tokenize = Callable[[Sequence[str]], list[list[int]]]


def load_tokenizer(folder: Path, max_length: int) -> Tokenizer | None:
    """Load the tokenizer of a model folder, cutting texts at `max_length` tokens, special ones included.

    It is read from tokenizer.json. transformers reads it from the files of older models, and where the settings ask
    for something else than tokenizer.json. None if the folder has no tokenizer: a model without one still maps ids to
    vectors.
    """
    stored, whole = tokenizer_settings(folder), folder / "tokenizer.json"
    tokenizer = _whole(whole, stored) if whole.is_file() else read_tokenizer(folder, tokenizer_arguments(folder))
    if tokenizer is None:
        return None
    _check_added(tokenizer, folder)
    with library_errors(str(folder)):
        _add_ends(tokenizer, folder)
    if read_settings(folder).get("do_lower_case"):
        tokenizer.normalizer = _lowered(tokenizer.normalizer)  # type: ignore[assignment]
    if stored.get("split_special_tokens"):
        tokenizer.encode_special_tokens = True  # special tokens in a text are words like others
    # Files may set both (MiniLM's cuts and pads at 128), but batches are padded later, to their bucket.
    cut: Any = tokenizer.truncation or {}
    tokenizer.no_padding()
    side = stored.get("truncation_side") or cut.get("direction") or "right"
    tokenizer.enable_truncation(max_length, direction=str(side).lower())
    return tokenizer


def _whole(path: Path, stored: dict[str, Any]) -> Tokenizer:
    """The tokenizer of a tokenizer.json, or the one that transformers builds where the settings ask for another."""
    contents = read_json(path)  # names line and column of a damaged file
    try_file(path)
    try:
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_padding()  # a file may ask for any length
    except Exception as error:  # the library raises no narrower type
        raise InputError(f"{path}: not a tokenizer ({error}); fetch the file again.") from None
    folder = path.parent
    with library_errors(str(path)):
        other = other_settings(contents, tokenizer, stored, folder)
    if other:
        return built(folder, tokenizer_arguments(folder))
    return tokenizer


def _lowered(normalizer: Any) -> Any:
    """The normaliser with lower case first, unless it has it already."""
    steps = [] if normalizer is None else list(normalizer) if hasattr(normalizer, "__getitem__") else [normalizer]
    if any(isinstance(step, normalizers.Lowercase) for step in steps):
        return normalizer
    return normalizers.Sequence([normalizers.Lowercase(), *steps])


def _check_added(tokenizer: Tokenizer, folder: Path) -> None:
    """Raise unless every token of added_tokens.json has the row that the file says."""
    path = folder / ADDED
    for token, row in (read_json(path) if path.is_file() else {}).items():
        got = tokenizer.token_to_id(token)
        if got != row:
            has = "lacks it" if got is None else f"has it at {got}"
            raise InputError(
                f"{path}: {quoted(token)}: expected row {row}, but the tokenizer {has}; number added tokens from the "
                "end of the vocabulary, without gaps, or list them in tokenizer.json."
            )


def _add_ends(tokenizer: Tokenizer, folder: Path) -> None:
    """Add the first and last tokens that tokenizer_config.json asks for and tokenizer.json omits.

    Last-token pooling reads the last one (E5-mistral).
    """
    path, stored = folder / "tokenizer_config.json", tokenizer_settings(folder)
    seen, template, known = tokenizer.encode("a").tokens, "$A", []
    for flag, name, place in (("add_bos_token", "bos_token", 0), ("add_eos_token", "eos_token", -1)):
        token = stored.get(name)
        token = token.get("content") if isinstance(token, dict) else token
        if stored.get(flag) is not True or (seen and seen[place] == token):
            continue
        row = tokenizer.token_to_id(token) if isinstance(token, str) else None
        if row is None:
            raise InputError(
                f"{path}: {flag} is true, but {name} {quoted(token)} is not in the vocabulary; set it to false."
            )
        template = f"{token} {template}" if place == 0 else f"{template} {token}"
        known.append((token, row))
    if known:
        added = processors.TemplateProcessing(single=template, special_tokens=known)
        before = [] if tokenizer.post_processor is None else [tokenizer.post_processor]
        tokenizer.post_processor = processors.Sequence([*before, added])  # type: ignore[assignment]


def make_tokenize(tokenizer: Tokenizer | None, folder: Path, vocab_size: int) -> Tokenize:
    """Make the function texts -> `Tokens`; tokens without a row in the model are left out."""
    foreign = tokenizer is not None and tokenizer.get_vocab_size() > vocab_size

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        check_texts(texts)
        if tokenizer is None:
            raise InputError(f"{folder}: no tokenizer.json or vocab.txt, so texts cannot be read; add one of them.")
        with library_errors(str(folder)):
            rows = tokenizer.encode_batch_fast(list(texts))
        limit = (tokenizer.truncation or {}).get("max_length", 0)
        tokens = Tokens([token for token in row.ids if not foreign or token < vocab_size] for row in rows)
        tokens.cut = sum(len(row) == limit and bool(row.overflowing) for row in rows)
        return tokens

    return tokenize


def cuts_of(tokens: Sequence[Any]) -> int:
    """How many of the texts of `tokens` were cut; 0 where a tokenizer of another kind does not say."""
    return tokens.cut if isinstance(tokens, Tokens) else 0


def cut_line(cut: int, total: int, length: int, setting: str, what: str = "text") -> str:
    """One line on how many of `total` texts were cut at `length` tokens."""
    if not cut:
        return f"  no {what} is longer than {length:,} tokens"
    return f"  {cut:,} of {total:,} {what}s are cut at {length:,} tokens ({setting})"


def check_texts(texts: Sequence[str]) -> None:
    """Raise unless `texts` is a sequence of strings that UTF-8 can encode."""
    if isinstance(texts, str | bytes):
        raise InputError(f"texts: expected a list of strings, got one {type(texts).__name__}; write [text].")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"texts[{row}]: expected a string, got {type(text).__name__} ({quoted(text)}).")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"texts[{row}]: character {error.start} is half of a surrogate pair; fix the text."
            ) from None
