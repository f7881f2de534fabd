"""Python in the page about other libraries runs as it is written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "other-libraries.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
PRINTED = (
    ("gymnasium", "MultiDiscrete([10 10 10]) (220,) slice(20, 220, None)"),
    ("gymnasium", "left after watching"),
    ("gymnax", "interest_evolution 120 (220,) (220,)"),
    ("gymnax", "steps on the pole, mean of the last episodes: "),
    ("jax", "of the last episode: 0.0 0"),
)


CASES = [
    pytest.param(block, want, id=str(n), marks=pytest.mark.slow if "pole" in want[1] else ())  # it learns to balance
    for n, (block, want) in enumerate(zip(BLOCKS, PRINTED, strict=True), 1)
]


@pytest.mark.parametrize(("block", "want"), CASES)
def test_a_block_prints_what_the_page_promises(block: str, want: tuple[str, str]) -> None:
    library, line = want
    pytest.importorskip(library)
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert line in done.stdout
