import json
from pathlib import Path

import pytest

from jaxrec.checks import InputError
from jaxrec.storage.lock import LOCK
from jaxrec.storage.run import RunFolder


def rows(run: RunFolder) -> list[dict]:
    return [json.loads(line) for line in run.metrics.read_text().splitlines()]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "runs" / "demo", "seed: 0\n")


def test_a_new_run_holds_its_config_and_opens_again(run: RunFolder) -> None:
    assert run.config.read_text().partition("\n")[2] == "seed: 0\n"
    assert {path.name for path in run.path.iterdir()} == {LOCK, "config.yaml"}
    assert RunFolder.open(str(run.path)).path == run.path


def test_an_empty_folder_may_become_a_run(tmp_path: Path) -> None:
    assert RunFolder.create(tmp_path, "").config.is_file()


def test_a_run_that_failed_at_once_may_be_begun_again(run: RunFolder) -> None:
    assert RunFolder.create(run.path, "seed: 1\n").config.read_text().endswith("\nseed: 1\n")


def test_a_recipe_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 0  # mine\n")
    for make in (lambda: RunFolder.create(tmp_path, "seed: 0\n"), lambda: RunFolder.reopen(tmp_path)):
        with pytest.raises(InputError, match=r"no run") as caught:
            make()
        assert "\n" not in str(caught.value)
    assert (tmp_path / "config.yaml").read_text() == "seed: 0  # mine\n"
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_run_of_an_earlier_version_has_no_mark_and_can_be_resumed(run: RunFolder) -> None:
    (run.path / LOCK).unlink()
    run.append_metrics([{"step": 1}])
    assert RunFolder.reopen(run.path).path == run.path
    assert (run.path / LOCK).is_file()


def test_a_link_that_leads_out_of_a_run_is_not_followed(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    run.metrics.symlink_to(tmp_path / "theirs")
    for opens in (RunFolder.open, RunFolder.reopen):
        with pytest.raises(InputError, match=r"metrics\.jsonl: a link that leads out"):
            opens(run.path)


def test_a_folder_that_holds_something_is_not_overwritten(run: RunFolder) -> None:
    run.append_timing({"step": 0})
    with pytest.raises(InputError, match=r"demo: already exists; add --resume .* --run") as caught:
        RunFolder.create(run.path, "seed: 1\n")
    assert "\n" not in str(caught.value) and run.config.read_text().endswith("\nseed: 0\n")


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(InputError, match="taken: already exists"):
        RunFolder.create(tmp_path / "taken", "")
    with pytest.raises(InputError, match="inside: cannot be written") as caught:
        RunFolder.create(tmp_path / "taken" / "inside", "")
    assert "\n" not in str(caught.value) and (tmp_path / "taken").read_text() == "mine"


def test_a_folder_without_a_config_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a run folder \(config.yaml is missing\)"):
        RunFolder.open(tmp_path)


def test_metrics_are_appended_and_values_that_are_not_finite_become_null(run: RunFolder) -> None:
    run.append_metrics([{"step": 1, "loss": 0.5}, {"step": 2, "loss": float("nan"), "return": float("-inf")}])
    run.append_metrics([{"step": 3, "loss": 1}])
    want = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None, "return": None}, {"step": 3, "loss": 1}]
    assert rows(run) == want


def test_timings_go_to_a_file_of_their_own(run: RunFolder) -> None:
    run.append_timing({"step": 1, "seconds": 0.25})
    assert run.timings.read_text() == '{"step": 1, "seconds": 0.25}\n' and not run.metrics.exists()


def test_rows_behind_the_step_are_cut(run: RunFolder) -> None:
    run.append_metrics({"step": step} for step in range(1, 6))
    run.cut_back(3)
    assert rows(run) == [{"step": 1}, {"step": 2}, {"step": 3}]
    run.append_metrics([{"step": 4}])
    assert rows(run)[-1] == {"step": 4}


@pytest.mark.parametrize("half", ['{"step": 3, "lo', '{"step": 3}', "{"])
def test_a_half_written_last_row_is_cut(run: RunFolder, half: str) -> None:
    run.append_metrics([{"step": 1}, {"step": 2}])
    with run.metrics.open("a") as file:
        file.write(half)
    run.cut_back(10)
    assert run.metrics.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_cutting_back_to_the_beginning_or_without_metrics_is_fine(run: RunFolder) -> None:
    run.cut_back(0)
    assert not run.metrics.exists()
    run.append_metrics([{"step": 1}])
    run.cut_back(0)
    assert run.metrics.read_text() == ""


def test_a_value_of_the_row_to_go_on_from_may_be_forgotten(run: RunFolder) -> None:
    run.append_metrics([{"step": 1, "loss": 0.1, "score": 1.0}, {"step": 2, "loss": 1e-7, "score": None}])
    run.cut_back(2, forget=("score",))
    assert run.metrics.read_text() == '{"step": 1, "loss": 0.1, "score": 1.0}\n{"step": 2, "loss": 1e-07}\n'


DAMAGE = {  # of the second of three rows
    "gone": "",
    "cut": '{"step": 2, "lo\n',
    "no row": "[2]\n",
    "not a number": '{"step": 2, "loss": NaN}\n',
    "no step": '{"stop": 2}\n',
    "no text": "\udcff\n",
}


@pytest.mark.parametrize("second", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_gap_before_the_step_is_named_and_the_file_kept(run: RunFolder, second: str, capsys) -> None:
    damaged = f'{{"step": 1}}\n{second}{{"step": 3}}\n'.encode(errors="surrogateescape")
    run.metrics.write_bytes(damaged)
    run.cut_back(3)
    warning = capsys.readouterr().err
    assert f"{run.metrics}: 1 of the rows 1 to 3 are missing or damaged, the first is 2; training continues" in warning
    assert warning.count("\n") == 1 and rows(run) == [{"step": 1}, {"step": 3}]
    assert (run.path / "metrics.jsonl.damaged").read_bytes() == damaged


def test_metrics_that_are_missing_are_named(run: RunFolder, capsys) -> None:
    run.cut_back(2)
    assert "2 of the rows 1 to 2 are missing or damaged, the first is 1" in capsys.readouterr().err


def test_a_run_remembers_that_a_checkpoint_was_whole(run: RunFolder) -> None:
    run.append_timing({"step": 1, "seconds": 0.25})
    assert not run.was_saved()
    run.append_save(4, 0.5)
    assert run.was_saved() and run.timings.read_text().endswith('{"step": 4, "save_seconds": 0.5}\n')


def test_a_recipe_that_changed_is_refused_and_one_of_an_earlier_version_is_not(run: RunFolder) -> None:
    whole = run.config.read_bytes()
    for at in range(len(whole)):
        for bit in range(8):
            changed = whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
            run.config.write_bytes(changed)
            try:
                RunFolder.open(run.path)
            except InputError as error:
                assert "\n" not in str(error) and str(run.config) in str(error)
            else:  # only the mark of the digest has changed: then the lines below it are as before
                assert changed.partition(b"\n")[2] == whole.partition(b"\n")[2]
    run.config.write_text("seed: 0\n")
    RunFolder.open(run.path)


def test_the_digest_of_rows_leaves_out_the_score_of_the_last(run: RunFolder) -> None:
    run.append_metrics([{"step": 1, "loss": 0.5, "score": 1.0}, {"step": 2, "loss": 0.25, "score": 2.0}])
    before = run.rows_digest(("score",))
    run.cut_back(2, forget=("score",))
    assert run.rows_digest(("score",)) == before
    run.metrics.write_text(run.metrics.read_text().replace("0.5", "0.4"))
    assert run.rows_digest(("score",)) != before
