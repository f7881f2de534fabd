"""Python in the documentation runs as it is written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "checkpoints.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
PRINTED = (
    ("policy", "(60, 34) 60 items", "query.kernel (8, 8)"),
    ("policy", "", ""),
    ("", "update 8", "(8, 8)"),
    ("", "update ", "reward "),
)


@pytest.mark.parametrize(("block", "want"), list(zip(BLOCKS, PRINTED, strict=True)), ids=range(1, 5))
def test_a_block_about_checkpoints_prints_what_the_page_promises(
    tiny_run: Path, block: str, want: tuple[str, ...]
) -> None:
    folder, *lines = want
    done = subprocess.run([sys.executable, "-c", block, str(tiny_run / folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(line in done.stdout for line in lines) and len(done.stdout.splitlines()) >= 1
