"""The loop itself, around a training that only counts."""

import json
import math
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest

from jaxrec.checks import InputError
from jaxrec.runs.host_loop import Further, Outcome, Schedule, Training, Wording, run_training
from jaxrec.sharding.compile import compiled, repeated
from jaxrec.storage.checkpoint import Checkpoints
from jaxrec.storage.run import RunFolder
from jaxrec.types import Array

SCHEDULE = Schedule(updates=12, updates_per_call=2, evaluate_every=4, keep_latest=1)


def count(state: dict[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """The state is the number of updates; `root` is NaN from update 7 on, and `first` before update 3."""
    n = state["n"] + 1.0
    return {"n": n}, {"n": n, "root": jnp.sqrt(6.0 - n), "first": jnp.where(n < 3, jnp.nan, n)}


def training(names: tuple[str, ...] = ("n",), **changes: Any) -> Training:
    def update(state: dict[str, Array]):
        state, metrics = count(state)
        return state, {name: metrics[name] for name in names}

    return Training(
        **{
            "start": lambda: {"n": jnp.zeros(())},
            "restore": lambda checkpoints, step: checkpoints.restore(step, {"n": jnp.zeros(())}),
            "update_many": compiled(repeated(update, 2), donate=0),
            "arguments": (),
            "evaluate": lambda state, step: (state, float(step % 8)),
            "size": 1,
            "wording": Wording("counting", "update", "score", "counts_per_s", lambda *_: "", "Count less."),
            **changes,
        }
    )


def new_run(path: Path) -> RunFolder:
    return RunFolder.create(path / "run", "seed: 0\n")


def rows(run: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.metrics.read_text().splitlines()]


def test_rows_scores_and_the_best_are_those_of_the_schedule(tmp_path: Path) -> None:
    run, best = new_run(tmp_path), []
    state, outcome = run_training(
        training(new_best=lambda state, step: best.append((float(state["n"]), step))), run, SCHEDULE
    )
    assert float(state["n"]) == 12.0
    assert outcome == Outcome(step=12, best_step=4, best_score=4.0, interrupted=False)
    assert best == [(4.0, 4)]  # scores 4, 0, 4: the second 4 is not better
    want: list[dict[str, Any]] = [{"step": n, "n": float(n)} for n in range(1, 13)]
    for step, score in {4: 4.0, 8: 0.0, 12: 4.0}.items():
        want[step - 1]["score"] = score
    assert rows(run) == want


def test_the_start_is_judged_where_that_is_asked_for_and_patience_ends_a_training(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    judged = training(evaluate=lambda state, step: (state, -float(step)))
    _, outcome = run_training(judged, run, SCHEDULE._replace(evaluate_start=True, patience=2))
    assert outcome == Outcome(step=8, best_step=0, best_score=0.0, interrupted=False)
    assert rows(run)[0] == {"step": 0, "score": 0.0} and rows(run)[-1] == {"step": 8, "n": 8.0, "score": -8.0}
    assert run_training(judged, run, SCHEDULE._replace(patience=2))[1] == outcome  # nothing is left to do


def test_a_state_that_further_figures_rule_out_is_never_the_best(tmp_path: Path) -> None:
    run, best = new_run(tmp_path), []
    doubled = Further(("doubled",), lambda n, step: ({"doubled": 2.0 * float(n)}, step != 8))
    judged = training(
        evaluate=lambda state, step: (state, {4: 1.0, 8: 3.0, 10: 0.0, 12: 2.0}[step]),
        further=doubled.of(lambda state: state["n"]),
        new_best=lambda state, step: best.append(step),
    )
    # A shorter run ends between two evaluations; both figures of its end are forgotten when a longer one continues.
    assert run_training(judged, run, SCHEDULE._replace(updates=10))[1].best_step == 4
    assert rows(run)[-1] == {"step": 10, "n": 10.0, "score": 0.0, "doubled": 20.0}
    assert run_training(judged, run, SCHEDULE)[1] == Outcome(step=12, best_step=12, best_score=2.0, interrupted=False)
    assert best == [4, 12]  # the highest score, at 8, is out
    assert {row["step"]: (row["score"], row["doubled"]) for row in rows(run) if "score" in row or "doubled" in row} == {
        4: (1.0, 8.0),
        8: (3.0, 16.0),
        12: (2.0, 24.0),
    }


def test_an_evaluation_may_change_the_state(tmp_path: Path) -> None:
    again = training(evaluate=lambda state, step: ({"n": state["n"] + 100.0}, 0.0))
    assert float(run_training(again, new_run(tmp_path), SCHEDULE)[0]["n"]) == 312.0


def test_a_signal_before_the_last_update_interrupts_and_one_after_it_does_not(tmp_path: Path) -> None:
    run = new_run(tmp_path)

    def stop_at(where: int):
        def evaluate(state, step: int):
            if step == where:
                os.kill(os.getpid(), signal.SIGTERM)
            return state, float(step)

        return training(evaluate=evaluate)

    assert run_training(stop_at(4), run, SCHEDULE)[1] == Outcome(4, 4, 4.0, interrupted=signal.SIGTERM)
    assert run_training(stop_at(12), run, SCHEDULE)[1] == Outcome(12, 12, 12.0, interrupted=False)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_metric_that_is_not_finite_stops_training_before_anything_is_written_of_it(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with pytest.raises(InputError) as caught:
        run_training(training(("n", "root")), run, SCHEDULE)
    assert str(caught.value) == (
        "update 7: the root is nan, training diverged; checkpoint 4 is the last good one. Count less."
    )
    assert [row["step"] for row in rows(run)] == [1, 2, 3, 4, 5, 6]
    with Checkpoints(run.checkpoints) as checkpoints:
        assert checkpoints.latest == 4


def test_an_insane_newest_checkpoint_is_left_out_and_its_updates_are_repeated(tmp_path: Path, capsys) -> None:
    def nested(**changes: Any) -> Training:
        def update(state: dict[str, Any]):
            state, metrics = count(state["params"])
            return {"params": state}, {"n": metrics["n"]}

        start = {"params": {"n": jnp.zeros(())}}
        return training(
            start=lambda: start,
            restore=lambda checkpoints, step: checkpoints.restore(step, start),
            update_many=compiled(repeated(update, 2)),
            **changes,
        )

    run, best = new_run(tmp_path), []
    run_training(nested(), run, SCHEDULE._replace(updates=8, keep_latest=2))
    shutil.rmtree(run.checkpoints / "8")
    with Checkpoints(run.checkpoints) as checkpoints:
        checkpoints.save(8, {"params": {"n": jnp.array(jnp.nan)}}, 9.0)
    state, outcome = run_training(nested(new_best=lambda state, step: best.append(step)), run, SCHEDULE)
    assert "warning: checkpoint 8 is not used: " in capsys.readouterr().err
    assert outcome == Outcome(step=12, best_step=4, best_score=4.0, interrupted=False)
    assert float(state["params"]["n"]) == 12.0 and best == [4]  # what was kept of the best was of the insane one
    assert [row["step"] for row in rows(run)] == list(range(1, 13))


def test_a_metric_that_may_be_nan_is_null_then_but_never_infinite(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    run_training(training(("n", "first"), may_be_nan=("first",)), run, SCHEDULE)
    assert [row["first"] for row in rows(run)][:4] == [None, None, 3.0, 4.0]

    def infinite(state: dict[str, Array]):
        return state, {"first": jnp.full(2, math.inf)}

    with pytest.raises(InputError, match="update 1: the first is inf, training diverged; nothing was saved yet"):
        run_training(
            training(update_many=compiled(infinite), may_be_nan=("first",)), new_run(tmp_path / "other"), SCHEDULE
        )


def test_a_changed_row_before_the_checkpoint_is_named(tmp_path: Path, capsys) -> None:
    run = new_run(tmp_path)
    run_training(training(), run, SCHEDULE)
    run_training(training(), run, SCHEDULE)
    assert not capsys.readouterr().err.count("warning")
    run.metrics.write_text(run.metrics.read_text().replace('"n": 3.0', '"n": 7.0'))
    run_training(training(), run, SCHEDULE)
    assert f"{run.metrics}: rows 1 to 12 are not those of checkpoint 12" in capsys.readouterr().err


def test_what_is_kept_of_the_best_is_made_again(tmp_path: Path) -> None:
    run, made = new_run(tmp_path), []
    again = training(new_best=lambda state, step: made.append((float(state["n"]), step)), best_is_kept=lambda: False)
    run_training(again, run, SCHEDULE)
    run_training(again, run, SCHEDULE)
    assert made == [(4.0, 4), (4.0, 4)]


def test_a_run_whose_checkpoints_are_gone_does_not_start_again_in_silence(tmp_path: Path, capsys) -> None:
    run = new_run(tmp_path)
    run_training(training(), run, SCHEDULE)
    before = rows(run)
    shutil.rmtree(run.checkpoints)
    with pytest.raises(InputError, match=r"no whole checkpoint, but timings.jsonl says that one was saved; .* delete"):
        run_training(training(), run, SCHEDULE)
    assert rows(run) == before
    run.timings.unlink()
    capsys.readouterr()
    run_training(training(), run, SCHEDULE)
    assert "starts again from the beginning" in capsys.readouterr().out and rows(run) == before
