from pathlib import Path

import pytest

from jaxrec.cli import main
from tests.recipes import TINY


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def tiny_run(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests that change it copy it first."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["train", str(recipe), "--run", str(run)]) == 0
    return run
