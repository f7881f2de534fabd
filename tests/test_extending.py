"""The code in docs/extending.md runs as it is written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
PRINTED = {
    "user model": "['first_topic', 'policy', 'random']",
    "learner": "'value_loss'",
    "metric": "of the slates were ignored",
    "recommender": "40 users, NDCG@10 0.",
    "reader": "24 4 6",
}
# The family of encoders is executed and compared with its reference in tests/encoder/test_extending.py.


def run(block: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_section_has_one_block() -> None:
    assert len(BLOCKS) == len(PRINTED) + 1 == len(re.findall(r"^## ", PAGE.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize(("block", "want"), list(zip(BLOCKS, PRINTED.values(), strict=False)), ids=PRINTED)
def test_a_block_prints_what_the_page_promises(block: str, want: str, tmp_path: Path) -> None:
    assert want in run(block, tmp_path)


def test_the_metric_is_the_share_of_slates_without_feedback(tmp_path: Path) -> None:
    # RecSim's published rate of clicks on random slates is .573 (docs/simulators.md); 64 users, 4,500 slates.
    assert float(run(BLOCKS[2], tmp_path).split()[0]) == pytest.approx(1 - 0.573, abs=0.03)
