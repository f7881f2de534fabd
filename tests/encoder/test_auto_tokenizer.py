"""Tokenizers that transformers reads, and what happens without what it needs."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tokenizers import ByteLevelBPETokenizer

from jaxrec.checks import InputError
from jaxrec.encoder import chat_text, load_encoder
from jaxrec.encoder.auto_tokenizer import read_tokenizer
from jaxrec.encoder.tokenize import load_tokenizer
from tests.encoder.references import GOLDEN

LINES = ["the red film", "blue song of the night", "love story", "toy heat space", "a book, a film and a song"] * 40
TEXTS = ["the red film", "Love  story!", "zzz \U0001f642 é", ""]


def sentence_piece(path: Path, **options) -> Any:
    """Train a small SentencePiece model into `path`; gives the library's own reader of it."""
    library = pytest.importorskip("sentencepiece")
    made = io.BytesIO()
    library.SentencePieceTrainer.train(sentence_iterator=iter(LINES), model_writer=made, minloglevel=2, **options)
    path.write_bytes(made.getvalue())
    return library.SentencePieceProcessor(model_file=str(path))


def test_sentencepiece_of_t5_gives_the_ids_of_its_own_library_and_an_end(tmp_path: Path) -> None:
    own = sentence_piece(
        tmp_path / "spiece.model", vocab_size=34, model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1
    )
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    tokenizer = load_tokenizer(tmp_path, 100)
    assert tokenizer is not None
    for text in TEXTS:
        assert tokenizer.encode(text).ids == [*own.encode(text), 1]


def test_sentencepiece_of_llama_gives_the_ids_of_its_own_library_and_a_start(tmp_path: Path) -> None:
    as_llama: Any = {"byte_fallback": True, "remove_extra_whitespaces": False, "normalization_rule_name": "identity"}
    own = sentence_piece(tmp_path / "tokenizer.model", vocab_size=300, model_type="bpe", **as_llama)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    settings = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "bos_token": "<s>", "legacy": False}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = load_tokenizer(tmp_path, 100)
    assert tokenizer is not None
    for text in TEXTS:
        assert tokenizer.encode(text).ids == [1, *own.encode(text)]
    assert load_tokenizer(tmp_path, 4).encode("the red film").ids == [1, *own.encode("the red film")][:4]


def test_byte_level_bpe_of_gpt2_gives_the_ids_of_its_files(tmp_path: Path) -> None:
    made = ByteLevelBPETokenizer()
    made.train_from_iterator(LINES, vocab_size=300, special_tokens=["<|endoftext|>"], show_progress=False)
    made.save_model(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    tokenizer = load_tokenizer(tmp_path, 100)
    assert tokenizer is not None
    for text in TEXTS:
        assert tokenizer.encode(text).ids == made.encode(text).ids


@pytest.mark.parametrize(("library", "package"), [("sentencepiece", "sentencepiece"), ("google.protobuf", "protobuf")])
def test_what_has_to_be_installed_is_said_in_a_line(tmp_path: Path, monkeypatch, library: str, package: str) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError) as caught:
        read_tokenizer(tmp_path)
    assert f"tokenizer.model: reading it needs the package {package}; run `pip install {package}`." in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_transformers_a_vocab_txt_is_refused_in_a_line(tiny_copy: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"tiny_bert: reading it needs the package transformers; run `pip install tra"):
        load_encoder(tiny_copy)


def test_damaged_files_and_foreign_code_are_refused_in_a_line(tmp_path: Path, tiny_copy: Path) -> None:
    pytest.importorskip("sentencepiece")
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    (tmp_path / "spiece.model").write_bytes(b"no model")
    with pytest.raises(InputError, match="transformers cannot read this tokenizer") as caught:
        read_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)
    code = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    (tiny_copy / "tokenizer_config.json").write_text(json.dumps(code))
    (tiny_copy / "evil.py").write_text("raise SystemExit('this was run')\n")
    with pytest.raises(InputError, match="transformers cannot read this tokenizer") as caught:
        load_encoder(tiny_copy)
    assert "\n" not in str(caught.value)


TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}</{{ message.role }}>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def test_messages_become_one_text_by_the_template_of_the_folder(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(GOLDEN / "sentence", tmp_path / "sentence"))
    messages = [{"role": "user", "content": "the red film"}, {"role": "assistant", "content": "toy"}]
    with pytest.raises(InputError, match=r"sentence: no chat template; expected chat_template\.jinja"):
        chat_text(folder, messages)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    assert chat_text(folder, messages) == "<user>the red film</user><assistant>toy</assistant>"
    assert chat_text(str(folder), messages[:1], generate=True) == "<user>the red film</user><assistant>"
    (folder / "chat_template.jinja").write_text("{{ raise_exception('users only') }}")
    with pytest.raises(InputError, match=r"the chat template refuses these messages \(users only\)"):
        chat_text(folder, messages)


def test_advice_about_torch_is_not_printed_and_the_environment_stays(tmp_path: Path) -> None:
    code = (
        "import os, sys; before = dict(os.environ); from jaxrec.encoder import load_encoder;"
        f"load_encoder({str(GOLDEN / 'tiny_bert')!r}); assert 'transformers' in sys.modules;"
        "assert not set(os.environ) ^ set(before), set(os.environ) ^ set(before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "use",
    [
        "import jaxrec",
        "import jaxrec; jaxrec.encode, jaxrec.load_policy, jaxrec.make_env, jaxrec.make_learner",
        f"import jaxrec; jaxrec.load_encoder({str(GOLDEN / 'sentence')!r}).tokenize(['red'])",
    ],
)
def test_heavy_libraries_are_imported_only_when_something_needs_them(use: str) -> None:
    heavy = ("transformers", "torch", "tensorflow", "matplotlib", "gymnasium")
    code = f"{use}\nimport sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_folders_without_any_tokenizer_have_none(tmp_path: Path) -> None:
    assert read_tokenizer(tmp_path) is None and load_tokenizer(tmp_path, 8) is None
    assert read_tokenizer(GOLDEN / "t5") is None
