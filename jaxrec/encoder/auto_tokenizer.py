"""Tokenizers and chat templates that only transformers can read; it is imported on first use.

Folders with a `tokenizer.json` need none of this. Nothing here needs torch or the network, and no code from a model's
folder is run.
"""

import contextlib
import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from jaxrec.checks import InputError
from jaxrec.encoder.trial import library_errors, try_folder

_FILES = ("vocab.txt", "merges.txt", "*.model")  # of WordPiece, byte-level BPE and SentencePiece
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def read_tokenizer(folder: Path, arguments: Mapping[str, Any] | None = None) -> Tokenizer | None:
    """The tokenizer of a model folder without tokenizer.json, as transformers builds it; None where there is none."""
    found = next((path for name in _FILES for path in sorted(folder.glob(name))), None)
    if found is None:
        return None
    if found.name == "vocab.txt":
        _check_wordpiece(found)
    if found.suffix == ".model":
        for library, package in (("sentencepiece", "sentencepiece"), ("google.protobuf", "protobuf")):
            _imported(library, package, str(found))
    return built(folder, arguments or {})


def built(folder: Path, arguments: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that transformers builds from all files of a model folder; `arguments` come before its settings."""
    try_folder(folder, arguments)
    tokenizer = _open(folder, arguments)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise InputError(
            f"{folder}: transformers reads this tokenizer only in Python ({type(tokenizer).__name__}), which is not "
            "supported; add the model's tokenizer.json."
        )
    return backend


def chat_text(folder: str | Path, messages: Sequence[Mapping[str, Any]], generate: bool = False) -> str:
    """Write `messages`, each {"role": ..., "content": ...}, as one text by the chat template of a model folder.

    With `generate` the text ends where the model's answer begins. Tokenise the text with `Encoder.tokenize`.
    """
    tokenizer = _open(Path(folder))
    if not tokenizer.chat_template:
        raise InputError(f"{folder}: no chat template; expected chat_template.jinja, or one in tokenizer_config.json.")
    _imported("jinja2", "jinja2", f"{folder}: its chat template")
    try:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=generate))
    except Exception as error:  # whatever a template raises
        raise InputError(f"{folder}: the chat template refuses these messages ({_line(error)}).") from None


def render_chat(
    where: str, tokenizer: Tokenizer, template: str, words: Mapping[str, str], messages: Sequence[Mapping[str, Any]]
) -> str:
    """The text of `chat_text`, up to where the answer begins, for a template and special words by their role."""
    with _quiet():
        library = _imported("transformers", "transformers", where)
        _imported("jinja2", "jinja2", f"{where}: its chat template")
        try:
            whole = library.PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=template, **words)
            return str(whole.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True))
        except Exception as error:  # whatever a template raises
            raise InputError(f"{where}: the chat template refuses these messages ({_line(error)}).") from None


def _open(folder: Path, arguments: Mapping[str, Any] | None = None) -> Any:
    options: Any = {**(arguments or {}), "local_files_only": True, "trust_remote_code": False}
    with _quiet(), library_errors(str(folder)):
        library = _imported("transformers", "transformers", str(folder))
        try:
            return library.AutoTokenizer.from_pretrained(folder, **options)
        except Exception as error:  # the library raises many types
            raise InputError(f"{folder}: transformers cannot read this tokenizer ({_line(error)}).") from None


def _imported(library: str, package: str, where: str) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError:
        raise InputError(f"{where}: reading it needs the package {package}; run `pip install {package}`.") from None


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(". ")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from recommending torch, which nothing here needs."""
    name = "TRANSFORMERS_NO_ADVISORY_WARNINGS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _check_wordpiece(vocabulary: Path) -> None:
    """Reject what transformers would accept silently: a vocabulary without special tokens."""
    try:
        known = set(vocabulary.read_text(encoding="utf-8").split("\n"))
    except UnicodeDecodeError as error:
        raise InputError(f"{vocabulary}: byte {error.start}: not UTF-8 text; fetch the file again.") from None
    # Families other than BERT write their special tokens in <>.
    if not known & {"<s>", "</s>", "<pad>"} and (lost := [token for token in _SPECIAL if token not in known]):
        raise InputError(f"{vocabulary}: no {' '.join(lost)}; expected one token per line, as in BERT.")
