import json
import os
import re
import signal
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jaxrec import make_env
from jaxrec.checks import InputError
from jaxrec.config.policy import PolicyConfig
from jaxrec.config.schema import TrainConfig
from jaxrec.envs import auto_reset
from jaxrec.learn import list_learners, make_learner
from jaxrec.learn.program import compile_learner
from jaxrec.runs.train_learner import train
from jaxrec.storage.checkpoint import Checkpoints
from jaxrec.storage.run import RunFolder
from jaxrec.types import Learner
from tests.learners import EXPLORING, env_for, learner_cases, learner_of, small, small_config

CASES = [*list_learners(), *EXPLORING]
CONFIGS = {name: small_config(name, learning_starts=512) for name in CASES}
SCHEDULE = {"updates": 12, "updates_per_call": 2, "checkpoint_every": 4, "evaluate_users": 8}


def start(run: RunFolder, evaluate=None, name: str = "ppo", learner: Learner | None = None, **options):
    env = env_for(name)
    learner = learner or make_learner(learner_of(name), auto_reset(env), CONFIGS[name])
    saved = []
    outcome = train(
        learner,
        env.world,
        run,
        TrainConfig(**{**SCHEDULE, "devices": 1, **options}),
        key=jax.random.key(0),
        num_shards=CONFIGS[name].shards,
        steps_per_update=CONFIGS[name].num_users * CONFIGS[name].horizon,
        evaluate=evaluate or (lambda params, step: float(step % 8)),
        save_policy=lambda params, step: saved.append(step),
    )
    return outcome, saved


def new_run(path: Path) -> RunFolder:
    return RunFolder.create(path, "seed: 0\n")


def final_state(run: RunFolder, step: int = 12, name: str = "ppo"):
    env = env_for(name)
    learner = make_learner(learner_of(name), auto_reset(env), CONFIGS[name])
    program = compile_learner(learner, env.world, TrainConfig(devices=1), 8)
    with Checkpoints(run.checkpoints) as checkpoints:
        return checkpoints.restore(step, program.abstract)


def plain(state):
    return jax.tree.map(
        lambda x: np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x), state
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = new_run(tmp_path_factory.mktemp("whole") / "run")
    outcome, saved = start(run)
    assert (outcome.step, outcome.interrupted, outcome.best_score) == (12, False, 4.0)
    assert saved == [4]  # scores 4, 0, 4: the second 4 is not better
    return run


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_ends_the_call_and_the_resumed_run_equals_the_uninterrupted_one(
    number: signal.Signals, uninterrupted: RunFolder, tmp_path: Path
) -> None:
    run = new_run(tmp_path / "run")

    def interrupt(params, step: int) -> float:
        if step == 8:
            os.kill(os.getpid(), number)
        return float(step % 8)

    outcome, _ = start(run, interrupt)
    assert outcome.interrupted == number
    assert outcome.step == 8
    outcome, _ = start(run)
    assert not outcome.interrupted
    assert run.metrics.read_bytes() == uninterrupted.metrics.read_bytes()
    chex.assert_trees_all_equal(plain(final_state(run)), plain(final_state(uninterrupted)))


def test_a_signal_between_checkpoints_loses_nothing(uninterrupted: RunFolder, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    append = run.append_timing

    def interrupt(row) -> None:
        append(row)
        if row["step"] == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    run.append_timing = interrupt  # type: ignore[method-assign]
    outcome, _ = start(run)
    assert (outcome.step, outcome.interrupted) == (6, signal.SIGTERM)
    start(RunFolder.open(run.path))
    assert run.metrics.read_bytes() == uninterrupted.metrics.read_bytes()


def test_metrics_written_after_the_last_checkpoint_are_cut_back(uninterrupted: RunFolder, tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    start(run, updates=8)
    with run.metrics.open("a") as file:  # as a kill behind the checkpoint leaves it
        file.write('{"step": 9, "reward": 0.1}\n{"step": 10, "rew')
    start(run)
    assert run.metrics.read_bytes() == uninterrupted.metrics.read_bytes()


# ddpg has the noise and the critics of vectors.
@pytest.mark.parametrize("name", learner_cases(CASES, also=["ddpg"]))
def test_every_learner_resumes_bit_for_bit(name: str, tmp_path: Path) -> None:
    whole, parts = new_run(tmp_path / "whole"), new_run(tmp_path / "parts")
    start(whole, name=name)
    start(parts, name=name, updates=8)  # a ring of 64 steps is full
    start(parts, name=name)
    assert parts.metrics.read_bytes() == whole.metrics.read_bytes()
    chex.assert_trees_all_equal(plain(final_state(parts, name=name)), plain(final_state(whole, name=name)))


@pytest.mark.parametrize("name", learner_cases(list_learners()))
def test_a_rate_that_is_absurd_ends_every_learner_with_the_parameter_and_the_update(name: str, tmp_path: Path) -> None:
    env, run = env_for(name), new_run(tmp_path / "run")
    learner = make_learner(name, auto_reset(env), small_config(name, learning_starts=0, learning_rate=1e9))
    with pytest.raises(InputError, match=r"^update \d+: .*parameter [\w.]+ .*diverged; nothing was saved yet\. Lower"):
        start(run, name=name, learner=learner)
    with Checkpoints(run.checkpoints) as checkpoints:
        assert checkpoints.latest is None


def test_a_checkpoint_of_parameters_that_are_not_sane_is_left_out_for_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = new_run(tmp_path / "run")
    start(run, updates=4)
    state = final_state(run, step=4)
    with Checkpoints(run.checkpoints) as checkpoints:
        checkpoints.save(6, state.replace(params=jax.tree.map(lambda x: x + 1e9, state.params)), 9.0)
    outcome, _ = start(run)
    assert outcome.step == 12
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(r"checkpoint 6 is not used: \S+ params[\w.]+ reaches 1e\+09 .* Checkpoint 4 is used instead", said)


def test_a_replay_left_out_of_checkpoints_is_refilled_before_learning_goes_on(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    start(run, name="dqn", updates=8, save_replay=False)
    start(run, name="dqn", save_replay=False)
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [row["replay_size"] for row in rows[6:]] == [1792, 2048, 256, 512, 768, 1024]
    assert [row["loss"] > 0 for row in rows[6:]] == [True, True, False, True, True, True]
    with pytest.raises(InputError, match="does not fit"):
        final_state(run, name="dqn")  # the whole state is not there


def test_a_finished_run_resumes_to_nothing(uninterrupted: RunFolder) -> None:
    before = uninterrupted.metrics.read_bytes()
    outcome, saved = start(uninterrupted)
    assert (outcome.step, outcome.interrupted, saved) == (12, False, [])
    assert uninterrupted.metrics.read_bytes() == before


def test_a_run_that_ended_between_checkpoints_and_went_on_equals_one_that_was_long_at_once(
    uninterrupted: RunFolder, tmp_path: Path
) -> None:
    run = new_run(tmp_path / "run")
    start(run, updates=6)
    assert "evaluation_return" in json.loads(run.metrics.read_text().splitlines()[-1])
    start(run)
    assert run.metrics.read_bytes() == uninterrupted.metrics.read_bytes()
    chex.assert_trees_all_equal(plain(final_state(run)), plain(final_state(uninterrupted)))


def test_tensorboard_shows_what_metrics_hold_after_a_kill_and_a_resume(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    append = run.append_timing

    def die(row) -> None:
        append(row)
        if row["step"] == 6:
            raise MemoryError

    run.append_timing = die  # type: ignore[method-assign]
    with pytest.raises(MemoryError):
        start(run)
    start(RunFolder.open(run.path))
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    events = EventAccumulator(str(run.path), size_guidance={"scalars": 0}).Reload()
    for name in ("loss", "reward", "evaluation_return"):
        want = [(row["step"], row[name]) for row in rows if name in row]
        assert [(event.step, event.value) for event in events.Scalars(f"train/{name}")] == want
    assert [event.step for event in events.Scalars("train/user_steps_per_s")] == [2, 4, 6, 8, 10, 12]


def test_a_run_without_tensorboard_has_no_event_files(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    start(run, updates=2, tensorboard=False)
    assert not list(run.path.glob("events*"))


def test_latest_and_best_checkpoints_are_kept(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    scores = {4: 9.0, 8: 1.0, 12: float("nan"), 16: 3.0, 20: 2.0}
    _, saved = start(run, lambda params, step: scores[step], updates=20)
    assert saved == [4]
    assert sorted(int(p.name) for p in run.checkpoints.iterdir()) == [4, 16, 20]
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 21))
    assert [row["evaluation_return"] for row in rows if "evaluation_return" in row] == [9.0, 1.0, None, 3.0, 2.0]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_one_device_equals_two_four_and_eight(name: str) -> None:
    env = env_for(name)
    learner = make_learner(learner_of(name), auto_reset(env), CONFIGS[name])
    results = []
    for devices in (1, 2, 4, 8):
        program = compile_learner(learner, env.world, TrainConfig(devices=devices), CONFIGS[name].shards)
        state, metrics = program.update_many(program.init(jax.random.key(0), program.world), program.world)
        assert len(jax.tree.leaves(state.users.obs)[0].sharding.device_set) == devices
        results.append((plain(state), jax.tree.map(np.asarray, metrics)))
    for other in results[1:]:
        chex.assert_trees_all_close(other, results[0], rtol=2e-3, atol=2e-4)


def test_a_run_saved_on_eight_devices_continues_on_one(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    start(run, updates=4, devices=8)
    outcome, _ = start(run, devices=1)
    assert outcome.step == 12


def test_devices_that_do_not_divide_the_shards_are_refused() -> None:
    env = make_env("interest_evolution")
    learner = make_learner("ppo", auto_reset(env), CONFIGS["ppo"])
    with pytest.raises(InputError, match="3 devices do not divide 8 logical shards"):
        compile_learner(learner, env.world, TrainConfig(devices=3), CONFIGS["ppo"].shards)


def test_a_learner_of_another_shape_cannot_resume(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    start(run, updates=4)
    env = make_env("interest_evolution")
    wider = small("ppo", policy=PolicyConfig(width=16))
    program = compile_learner(make_learner("ppo", auto_reset(env), wider), env.world, TrainConfig(devices=1), 8)
    with Checkpoints(run.checkpoints) as checkpoints, pytest.raises(InputError, match="resume with the recipe"):
        checkpoints.restore(4, program.abstract)


def test_a_metric_that_is_not_a_number_stops_training_even_where_the_loss_is_one(tmp_path: Path) -> None:
    env = make_env("interest_evolution")
    learner = make_learner("ppo", auto_reset(env), CONFIGS["ppo"])

    def update(state, world):
        state, metrics = learner.update(state, world)
        return state, metrics | {"entropy": jnp.where(state.step == 3, jnp.nan, metrics["entropy"])}

    run = new_run(tmp_path / "run")
    with pytest.raises(InputError, match="update 3: the entropy is nan, training diverged; nothing was saved yet"):
        start(run, learner=learner._replace(update=update))
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert [row["episode_return"] for row in rows] == [None, None]  # no episode of 8 steps has ended
