"""Texts to token ids with the model's own tokenizer."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from jaxrec.checks import InputError
from jaxrec.encoder.folder import read_json

Tokenize = Callable[[Sequence[str]], list[list[int]]]


def load_tokenizer(folder: Path, max_length: int) -> Tokenizer | None:
    """Give the tokenizer of a model folder, cutting at `max_length` tokens, special ones included.

    None where the folder has none: a model without it still maps ids to vectors.
    """
    whole, vocabulary = folder / "tokenizer.json", folder / "vocab.txt"
    if whole.is_file():
        read_json(whole)  # names line and column of a damaged file
        try:
            tokenizer = Tokenizer.from_file(str(whole))
        except Exception as error:  # the library raises no narrower type
            raise InputError(f"{whole}: not a tokenizer ({error}); fetch the file again.") from None
    elif vocabulary.is_file():
        tokenizer = wordpiece(vocabulary)
    else:
        return None
    _add_ends(tokenizer, folder)
    # Files may bake in both, MiniLM's cuts and pads at 128: batches are padded here, to the bucket.
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer


def _add_ends(tokenizer: Tokenizer, folder: Path) -> None:
    """Put tokens before and behind each text that tokenizer_config.json asks for and tokenizer.json forgets.

    Last-token pooling reads the one behind (E5-mistral).
    """
    path = folder / "tokenizer_config.json"
    stored = read_json(path) if path.is_file() else {}
    seen, template, known = tokenizer.encode("a").tokens, "$A", []
    for flag, name, place in (("add_bos_token", "bos_token", 0), ("add_eos_token", "eos_token", -1)):
        token = stored.get(name)
        token = token.get("content") if isinstance(token, dict) else token
        if stored.get(flag) is not True or (seen and seen[place] == token):
            continue
        row = tokenizer.token_to_id(token) if isinstance(token, str) else None
        if row is None:
            raise InputError(f"{path}: {flag} is true, but {name} {token!r} is not in the vocabulary; set it to false.")
        template = f"{token} {template}" if place == 0 else f"{template} {token}"
        known.append((token, row))
    if known:
        added = processors.TemplateProcessing(single=template, special_tokens=known)
        before = [] if tokenizer.post_processor is None else [tokenizer.post_processor]
        tokenizer.post_processor = processors.Sequence([*before, added])  # type: ignore[assignment]


def wordpiece(vocabulary: Path) -> Tokenizer:
    """Build BERT's tokenizer from a vocab.txt and the flags of a tokenizer_config.json beside it."""
    try:
        lines = vocabulary.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{vocabulary}: byte {error.start}: not UTF-8 text; fetch the file again.") from None
    vocab = {token: row for row, token in enumerate(lines)}
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    if lost := [token for token in special[:4] if token not in vocab]:
        raise InputError(f"{vocabulary}: no {' '.join(lost)}; expected one token a line, as BERT has it.")
    flags: dict[str, Any] = {"do_lower_case": True, "tokenize_chinese_chars": True, "strip_accents": None}
    settings = vocabulary.with_name("tokenizer_config.json")
    if settings.is_file():
        stored = read_json(settings)
        flags = {name: stored.get(name, default) for name, default in flags.items()}
        for name, value in flags.items():
            if not isinstance(value, bool | None):
                raise InputError(f"{settings}: {name}: expected true, false or null, got {value!r}.")
    tokenizer = Tokenizer(WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.add_special_tokens([token for token in special if token in vocab])
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=flags["do_lower_case"],
        handle_chinese_chars=flags["tokenize_chinese_chars"],
        strip_accents=flags["strip_accents"],
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(token, vocab[token]) for token in ("[CLS]", "[SEP]")]
    )
    return tokenizer


def make_tokenize(tokenizer: Tokenizer | None, folder: Path, vocab_size: int) -> Tokenize:
    """Give the function texts -> ids, a list of a text's ids each; tokens without a row in the model are left out."""
    foreign = tokenizer is not None and tokenizer.get_vocab_size() > vocab_size

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        check_texts(texts)
        if tokenizer is None:
            raise InputError(f"{folder}: no tokenizer.json or vocab.txt, so texts cannot be read; add one of them.")
        rows = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]
        return [[token for token in row if token < vocab_size] for row in rows] if foreign else rows

    return tokenize


def check_texts(texts: Sequence[str]) -> None:
    """Raise unless `texts` is a sequence of strings that UTF-8 can carry."""
    if isinstance(texts, str | bytes):
        raise InputError(f"texts: expected a list of strings, got one {type(texts).__name__}; write [text].")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"texts[{row}]: expected a string, got {type(text).__name__} ({text!r:.40}).")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"texts[{row}]: character {error.start} is half of a surrogate pair; mend the text."
            ) from None
