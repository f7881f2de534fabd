import random
from pathlib import Path

import pytest

from jaxrec.storage.digests import is_whole, seal
from tests.hostile.launch import Launcher
from tests.kills import corrupt_newest, jobs_in, kill_often


def test_only_the_newest_of_several_whole_checkpoints_is_damaged_and_only_once(tmp_path: Path) -> None:
    draw = random.Random(0)
    for step in (4, 12):
        assert not corrupt_newest(tmp_path, draw)  # none, then one
        (tmp_path / str(step) / "default").mkdir(parents=True)
        for name in ("default/a", "default/b", "metrics"):
            (tmp_path / str(step) / name).write_bytes(b"weights")
        seal(tmp_path / str(step))

    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    before = contents()
    assert corrupt_newest(tmp_path, draw)
    (changed,) = (path for path, content in contents().items() if content != before[path])
    assert changed.is_relative_to(tmp_path / "12") and is_whole(tmp_path / "4") and not is_whole(tmp_path / "12")
    damaged = contents()
    assert not corrupt_newest(tmp_path, draw) and contents() == damaged


@pytest.mark.slow
def test_a_training_with_replay_that_is_killed_again_and_again_ends_in_the_same_bits(
    tiny_run: Path, tmp_path: Path
) -> None:
    with Launcher() as launcher:
        job = next(job for job in jobs_in(tmp_path, launcher, tiny_run / "simulators") if job.name == "dqn")
        killed = kill_often(job, tmp_path, launcher, 4, random.Random(0))
    assert killed.random + killed.inside_saves == 4 and killed.inside_saves and killed.compared and not killed.differ
