import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxrec.cli import main
from tests.several import ONE_DEVICE, RECIPE, assert_same_metrics

SHARDS_64 = RECIPE.replace("num_users: 8, num_shards: 4", "num_users: 64, num_shards: 64")
TWO = ["train.updates=2", "train.checkpoint_every=2"]


@pytest.mark.slow
def test_sixteen_devices_share_64_shards_and_learn_what_one_does(tmp_path: Path) -> None:
    assert SHARDS_64 != RECIPE
    (tmp_path / "recipe.yaml").write_text(SHARDS_64)
    command = [sys.executable, "-m", "jaxrec.cli", "train", "recipe.yaml", "--run", "many", *TWO]
    env = os.environ | ONE_DEVICE | {"JAX_NUM_CPU_DEVICES": "16"}
    many = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert many.returncode == 0, many.stderr
    assert many.stdout.startswith("run many on 16 x cpu, jax ")
    alone = ["train", str(tmp_path / "recipe.yaml"), "--run", str(tmp_path / "one"), *TWO, "train.devices=1"]
    assert main(alone) == 0
    assert_same_metrics(tmp_path / "many", tmp_path / "one", 2)
