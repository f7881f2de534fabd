import importlib.util
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jaxrec.checks import InputError
from jaxrec.storage.events import event_file


def write(folder: Path, begin: int, steps: range, offset: float = 0.0) -> None:
    """One process: it begins behind update `begin` and measures `steps`."""
    with event_file(folder, begin) as rows:
        for step in steps:
            rows([{"step": step, "loss": step + offset}])


def read(folder: Path, tag: str = "train/loss") -> list[tuple[int, float]]:
    """What TensorBoard shows: every event counts, none is sampled away."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_rows_come_back_under_their_names_and_steps(tmp_path: Path) -> None:
    with event_file(tmp_path, 0) as rows:
        rows([{"step": 1, "loss": 0.1, "reward": 2}, {"step": 2, "loss": 0.3}])
        rows([{"step": 2, "user_steps_per_s": 12_000}])
    assert read(tmp_path) == [(1, np.float32(0.1)), (2, np.float32(0.3))]
    assert read(tmp_path, "train/reward") == [(1, 2.0)]
    assert read(tmp_path, "train/user_steps_per_s") == [(2, 12_000.0)]


def test_rows_are_on_disk_when_they_are_written_not_when_the_file_is_closed(tmp_path: Path) -> None:
    with event_file(tmp_path, 0) as rows:
        rows([{"step": 1, "loss": 1.0}])
        assert read(tmp_path) == [(1, 1.0)]


def test_a_failure_closes_the_file_and_keeps_its_rows(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), event_file(tmp_path, 0) as rows:
        rows([{"step": 1, "loss": 1.0}])
        raise KeyboardInterrupt
    assert read(tmp_path) == [(1, 1.0)]


def test_values_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    with event_file(tmp_path, 0) as rows:
        rows([{"step": 1, "loss": float("nan"), "reward": 1.0}, {"step": 2, "loss": 5.0, "reward": float("inf")}])
    assert read(tmp_path) == [(2, 5.0)] and read(tmp_path, "train/reward") == [(1, 1.0)]


def test_a_resumed_run_repeats_nothing(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 8))  # killed at 7, its newest checkpoint is 4
    write(tmp_path, 4, range(5, 11), offset=0.5)
    assert read(tmp_path) == [(n, float(n)) for n in range(1, 5)] + [(n, n + 0.5) for n in range(5, 11)]


def test_a_run_that_goes_on_behind_its_end_repeats_and_loses_nothing(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 5))
    write(tmp_path, 4, range(5, 9))
    assert read(tmp_path) == [(n, float(n)) for n in range(1, 9)]


def test_a_record_cut_short_by_a_kill_hides_nothing_before_or_behind_it(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 6))
    path = tmp_path / names(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-7])  # in the middle of update 5
    write(tmp_path, 4, range(5, 7), offset=0.5)
    assert read(tmp_path) == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, 5.5), (6, 6.5)]


def test_a_run_set_back_behind_an_earlier_resume_forgets_it(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 6))
    write(tmp_path, 4, range(5, 9), offset=0.25)
    write(tmp_path, 2, range(3, 5), offset=0.5)  # the damaged checkpoint 4 was deleted
    assert read(tmp_path) == [(1, 1.0), (2, 2.0), (3, 3.5), (4, 4.5)]
    assert len(names(tmp_path)) == 2


def test_starting_again_at_the_same_update_replaces_the_file(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 3))
    write(tmp_path, 0, range(1, 2), offset=0.5)
    assert read(tmp_path) == [(1, 1.5)] and len(names(tmp_path)) == 1


def test_no_events_are_written_where_none_are_wanted(tmp_path: Path) -> None:
    with event_file(tmp_path, 0, wanted=False) as rows:
        rows([{"step": 1, "loss": 1.0}])
    assert names(tmp_path) == []


def test_without_the_package_one_line_says_both_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install tensorboardX.*train.tensorboard=false"), event_file(tmp_path, 0):
        pass
    with event_file(tmp_path, 0, wanted=False):
        pass
    assert names(tmp_path) == []
