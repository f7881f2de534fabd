import random
from pathlib import Path

import pytest

from tests.hostile.launch import Launcher
from tests.kills import jobs_in, kill_often


@pytest.mark.slow
def test_a_training_with_replay_that_is_killed_again_and_again_ends_in_the_same_bits(
    tiny_run: Path, tmp_path: Path
) -> None:
    with Launcher() as launcher:
        job = next(job for job in jobs_in(tmp_path, launcher, tiny_run / "simulators") if job.name == "dqn")
        killed = kill_often(job, tmp_path, launcher, 4, random.Random(0))
    assert killed.random + killed.inside_saves == 4 and killed.inside_saves and killed.compared and not killed.differ
