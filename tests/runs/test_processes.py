import shutil
import signal
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.cli import main
from jaxrec.processes import count, join
from jaxrec.serve import load_policy
from jaxrec.storage.steps import steps_in
from tests.several import (
    RECIPE,
    TRAIN,
    assert_same_metrics,
    ended,
    free_port,
    rows,
    run_of_one_process,
    started,
    started_script,
    wait_until,
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of_one_process(tmp_path_factory.mktemp("alone"), RECIPE)


def test_two_processes_learn_what_one_with_two_devices_does_and_the_first_alone_writes(
    alone: Path, tmp_path: Path
) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    first, second = ended(started(tmp_path, TRAIN, TRAIN))
    assert (first.code, second.code) == (0, 0), first.err + second.err
    run = tmp_path / "run"
    assert_same_metrics(run, alone)
    np.testing.assert_array_equal([row["step"] for row in rows(run)], range(1, 13))
    assert {path.name for path in run.iterdir()} == {path.name for path in alone.iterdir()}
    assert steps_in(run / "checkpoints") == steps_in(alone / "checkpoints")
    assert load_policy(run).step == load_policy(alone).step
    assert first.out.startswith("run run on 2 x cpu in 2 processes, jax ") and "done in " in first.out
    assert not [line for line in (second.out + second.err).splitlines() if "[Gloo]" not in line]


@pytest.mark.slow
def test_a_run_goes_from_one_process_to_two_and_back_and_a_signal_to_either_stops_both(
    alone: Path, tmp_path: Path
) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    run, config = tmp_path / "run", str(tmp_path / "recipe.yaml")
    assert main(["train", config, "--run", str(run), "train.updates=4", "train.devices=2"]) == 0
    words = [*TRAIN, "--resume", "train.updates=1000000"]
    both = started(tmp_path, words, words)
    wait_until(lambda: len(rows(run)) >= 6, process=both[0])
    both[1].send_signal(signal.SIGTERM)
    first, second = ended(both)
    assert (first.code, second.code) == (143, 143), first.err + second.err
    step = rows(run)[-1]["step"]
    assert step >= 6 and steps_in(run / "checkpoints")[-1] == step
    assert first.out.splitlines()[-1].startswith(f"stopped at update {step}; continue with: ")
    longer = max(12, -(-(step + 1) // 4) * 4)
    assert main(["train", config, "--run", str(run), "--resume", f"train.updates={longer}", "train.devices=1"]) == 0
    assert_same_metrics(run, alone)


def test_unequal_recipes_are_refused_by_all(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    first, second = ended(started(tmp_path, TRAIN, [*TRAIN, "learner.gamma=0.5"]))
    line = (
        "process 1 has a different recipe from process 0 ('gamma: 0.5' here, 'gamma: 0.99' there); give all of "
        "them the same recipe, overrides and versions."
    )
    assert (first.code, second.code) == (2, 2)
    assert first.err.splitlines()[-1] == f"jaxrec: process 1: {line}"
    assert second.err.splitlines()[-1] == f"jaxrec: {line}"
    assert not (tmp_path / "run").exists()


def test_shards_that_the_devices_of_all_processes_do_not_divide_are_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    words = [*TRAIN, "learner.num_shards=1"]
    first, second = ended(started(tmp_path, words, words))
    assert (first.code, second.code) == (2, 2)
    assert "learner.num_shards: 2 devices do not divide 1 logical shards" in first.err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_a_coordinator_that_does_not_answer_is_named(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    only = started(tmp_path, TRAIN, [*TRAIN, "--join-seconds", "2"])
    only[0].kill()
    _, second = ended(only)
    assert second.code == 2
    assert "does not answer after 2 s (--join-seconds); check --coordinator" in second.err.splitlines()[-1]


def test_a_first_process_that_stays_alone_says_so(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    both = started(tmp_path, [*TRAIN, "--join-seconds", "2"], TRAIN)
    both[1].kill()
    first, _ = ended(both)
    assert first.code == 2
    assert "process 0: not all processes have joined after 2 s (--join-seconds); start" in first.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("", "2", "0"), "expected HOST:PORT of the first process"),
        (("localhost:1", "2", ""), "give all three"),
        (("localhost:1", "x", "0"), "got 'localhost:1', 'x' and '0'"),
        (("localhost:1", "2", "2"), "--process: expected 0 to 1, got 2."),
        (("localhost", "2", "1"), "--coordinator: expected HOST:PORT, got 'localhost'."),
    ],
)
def test_contradictory_addresses_are_refused(words: tuple[str, str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        join(*words)
    assert message in str(caught.value)


def test_one_process_joins_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    join("", "1", "0")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "1")
    join(f"localhost:{free_port()}")
    assert count() == 1


def test_tasks_of_a_scheduler_are_independent_unless_they_are_to_join(monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = {"JOB_ID": "1", "STEP_NODELIST": "a", "NTASKS": "4", "PROCID": "1", "LOCALID": "1"}
    for name, value in {f"SLURM_{name}": value for name, value in slurm.items()}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    joined: list[dict] = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **given: joined.append(given))
    join()
    assert not joined
    join(processes="auto")
    assert len(joined) == 1 and "num_processes" not in joined[0]


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), 1e7])
def test_a_time_that_nobody_can_wait_is_refused(seconds: float) -> None:
    with pytest.raises(InputError, match="--join-seconds: expected a value above 0 and at most 1e"):
        join(seconds=seconds)


def test_processes_that_do_not_share_the_run_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    elsewhere = [*TRAIN[:-1], "other"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.yaml").write_text(RECIPE)
    first, second = ended(started(tmp_path, TRAIN, elsewhere))
    line = "other: is not the run folder of process 0; give all processes the same --run, on storage that all"
    assert (first.code, second.code) == (2, 2)
    assert f"jaxrec: process 1: {line}" in first.err.splitlines()[-1]
    assert f"jaxrec: {line}" in second.err.splitlines()[-1]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.yaml", ".jaxrec-lock"}


@pytest.mark.slow
def test_a_process_that_loses_another_one_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    words = [*TRAIN, "train.updates=1000000"]
    both = started(tmp_path, words, words)
    wait_until(lambda: (tmp_path / "run" / "metrics.jsonl").exists(), 120)
    both[1].kill()
    first, _ = ended(both, 60)
    assert first.code == 2
    assert first.err.splitlines()[-1].startswith("jaxrec: another process of this training has ended (")


def test_pretraining_within_the_run_is_refused(recipe: Path, tmp_path: Path) -> None:
    shutil.copy(recipe, tmp_path / "recipe.yaml")
    words = [*TRAIN, "learner.start_from=pretrain", "train.devices=0"]
    first, _ = ended(started(tmp_path, words, words))
    assert first.code == 2 and "run `jaxrec pretrain` first" in first.err.splitlines()[-1]


AGREEMENTS = """
import sys
from jaxrec.checks import InputError
from jaxrec.processes import KEPT, _client, agreed_stop, from_first, join, together

join(sys.argv[1], "2", sys.argv[2])
second = sys.argv[2] == "1"
print(from_first(lambda: {"x": 3}), agreed_stop([]), agreed_stop([15] if second else []), agreed_stop([]))
for work in (lambda: from_first(lambda: print), lambda: together(lambda: 1 // (not second))):
    try:
        work()
    except (InputError, TypeError, ZeroDivisionError) as error:
        print(type(error).__name__, error)
assert not any(agreed_stop([]) for _ in range(KEPT))
together(lambda: None)
assert len(_client().key_value_dir_get("jaxrec/")) <= KEPT + 2
"""


def test_processes_agree_on_values_stops_and_failures(tmp_path: Path) -> None:
    (tmp_path / "agreements.py").write_text(AGREEMENTS)
    address = f"localhost:{free_port()}"
    first, second = ended([started_script(tmp_path, ["agreements.py", address, str(n)]) for n in range(2)], 60)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    # The signal of the second process is heard by both in the same turn, and is not there in the next training.
    assert first.out.splitlines() == [
        "{'x': 3} [] [15] []",
        "TypeError Object of type builtin_function_or_method is not JSON serializable",
        "Elsewhere process 1: integer division or modulo by zero",
    ]
    assert second.out.splitlines() == [
        "{'x': 3} [] [15] []",
        "Elsewhere process 0: Object of type builtin_function_or_method is not JSON serializable",
        "ZeroDivisionError integer division or modulo by zero",
    ]
