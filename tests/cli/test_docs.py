"""Python in the documentation runs as it is written."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jaxrec.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "checkpoints.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
PRINTED = (
    ("policy", "(60, 34) 60 items", "query.kernel (8, 8)"),
    ("policy", "", ""),
    ("", "update 8", "(8, 8)"),
    ("", "update ", "reward "),
)


CASES = [
    pytest.param(block, want, id=str(n), marks=pytest.mark.slow if "compile_learner" in block else ())
    for n, (block, want) in enumerate(zip(BLOCKS, PRINTED, strict=True), 1)
]


@pytest.mark.parametrize(("block", "want"), CASES)
def test_a_block_about_checkpoints_prints_what_the_page_promises(
    tiny_run: Path, block: str, want: tuple[str, ...]
) -> None:
    folder, *lines = want
    done = subprocess.run([sys.executable, "-c", block, str(tiny_run / folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(line in done.stdout for line in lines) and len(done.stdout.splitlines()) >= 1


@pytest.fixture(scope="module")
def run_of_four_devices(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run, its second half trained on four devices."""
    run = Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("runs") / "four"))
    shutil.rmtree(run / "checkpoints" / "8")
    config = run / "config.yaml"
    recipe = config.read_text().partition("\n")[2]  # without its digest, as the message says to a person who edits it
    config.write_text(re.sub(r"devices: 1\b", "devices: 4", recipe))
    assert main(["train", str(config), "--run", str(run), "--resume"]) == 0
    assert "devices: 4" in config.read_text() and (run / "checkpoints" / "8").is_dir()
    return run


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 2, 3])
def test_a_run_of_four_devices_is_read_on_one(run_of_four_devices: Path, number: int) -> None:
    folder, *lines = PRINTED[number]
    count = "import jax; assert jax.device_count() == 1\n"
    words = [sys.executable, "-c", count + BLOCKS[number], str(run_of_four_devices / folder)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(line in done.stdout for line in lines)
