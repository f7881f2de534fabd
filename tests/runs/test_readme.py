"""The README's "Train from Python" runs as it is written, with a smaller recipe in place of the demo's."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
SECTION = README.read_text(encoding="utf-8").split("### Train from Python")[1].split("\n### ")[0]
FROM_FILE, FROM_DICT = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)


def printed(code: str, folder: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_recipe_in_a_file(recipe: Path, tmp_path: Path) -> None:
    code = FROM_FILE.replace("configs/demo.yaml", str(recipe)).replace('"train.updates": 100', '"train.updates": 4')
    assert code != FROM_FILE
    lines = printed(code, tmp_path)
    assert any(line.startswith("train: ") for line in lines)
    assert 0 <= float(lines[-1]) <= 12  # likes of 4 slates of 3
    assert (tmp_path / "runs/first/evaluation.json").is_file()


@pytest.mark.slow
def test_a_recipe_in_a_dict(tmp_path: Path) -> None:
    code = FROM_DICT.replace('"updates": 40', '"updates": 5').replace('"checkpoint_every": 20', '"checkpoint_every": 5')
    assert code != FROM_DICT
    assert float(printed(f"import jaxrec\n{code}", tmp_path)[-1]) > 150  # minutes; random slates give 160
