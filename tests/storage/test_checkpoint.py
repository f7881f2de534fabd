import math
import random
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import struct
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxrec import processes
from jaxrec.checks import InputError
from jaxrec.storage.checkpoint import Checkpoints
from jaxrec.storage.checkpoint_arrays import abstract_like
from jaxrec.storage.digests import DIGESTS
from tests.damage import flip_bit, without_digests

DATA = PartitionSpec("data")


class State(struct.PyTreeNode):
    params: dict
    opt_state: optax.OptState
    users: jax.Array  # [S, 3]
    half: jax.Array
    key: jax.Array
    keys: jax.Array  # [S]
    step: jax.Array
    nothing: None = None


def make_state(seed: int, shards: int = 4) -> State:
    key, key_params, key_users = jax.random.split(jax.random.key(seed), 3)
    params = {"query": {"kernel": jax.random.normal(key_params, (5, 2)), "bias": jnp.arange(2.0)}}
    return State(
        params=params,
        opt_state=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)).init(params),
        users=jax.random.normal(key_users, (shards, 3)),
        half=jax.random.normal(key, (3,), jnp.bfloat16),
        key=key,
        keys=jax.random.split(key, shards),
        step=jnp.asarray(seed, jnp.int32),
    )


def on(devices: int, state: State) -> Any:
    """Shardings over the first `devices` devices: users and keys split, the rest on each."""
    mesh = jax.make_mesh((devices,), ("data",), (AxisType.Auto,), devices=jax.devices()[:devices])

    def by_rule(path: tuple, _: Any) -> NamedSharding:
        return NamedSharding(mesh, DATA if path[0].name in ("users", "keys") else PartitionSpec())

    return jax.tree_util.tree_map_with_path(by_rule, state)


def target(state: State, devices: int = 1) -> Any:
    shape = jax.eval_shape(lambda: state)
    return abstract_like(shape, on(devices, shape))


def plain(x: jax.Array) -> np.ndarray:
    return np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)


def assert_same(got: State, want: State) -> None:
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(plain(a), plain(b))


def saved(folder: Path, scores: dict[int, float], keep_latest: int = 2) -> Path:
    with Checkpoints(folder, keep_latest) as checkpoints:
        for step, score in scores.items():
            checkpoints.save(step, make_state(step), score)
    return folder


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def refuses(folder: Path, step: int, abstract: Any) -> str:
    with Checkpoints(folder) as checkpoints, pytest.raises(InputError) as caught:
        checkpoints.restore(step, abstract)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(folder / str(step)))
    return str(caught.value)


def test_a_state_comes_back_with_its_types_and_values(tmp_path: Path) -> None:
    state = make_state(3)
    with Checkpoints(tmp_path / "new" / "checkpoints") as checkpoints:
        assert checkpoints.latest is None and checkpoints.best is None and checkpoints.best_score == -math.inf
        checkpoints.save(3, state, 1.5)
        got = checkpoints.restore(3, target(state))
        assert (checkpoints.latest, checkpoints.best, checkpoints.best_score) == (3, 3, 1.5)
    assert_same(got, state)
    np.testing.assert_array_equal(jax.random.normal(got.key, (4,)), jax.random.normal(state.key, (4,)))


def test_the_newest_and_the_best_are_kept_and_known_after_reopening(tmp_path: Path) -> None:
    saved(tmp_path, {1: 0.0, 2: 9.0, 3: 1.0, 4: 5.0, 5: 2.0, 6: 3.0})
    assert steps(tmp_path) == [2, 5, 6]
    with Checkpoints(tmp_path) as checkpoints:
        assert (checkpoints.latest, checkpoints.best, checkpoints.best_score) == (6, 2, 9.0)
        assert_same(checkpoints.restore(2, target(make_state(0))), make_state(2))
        checkpoints.save(7, make_state(7), 4.0)
        assert (checkpoints.latest, checkpoints.best) == (7, 2)
    assert steps(tmp_path) == [2, 6, 7]


def test_a_new_best_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    saved(tmp_path, {1: 5.0, 2: 0.0, 3: 9.0, 4: 0.0, 5: 0.0}, keep_latest=1)
    assert steps(tmp_path) == [3, 5]


def test_of_equal_returns_the_earliest_is_the_best(tmp_path: Path) -> None:
    saved(tmp_path, {1: 5.0, 2: 7.0, 3: 7.0, 4: 7.0, 5: 6.0}, keep_latest=1)
    assert steps(tmp_path) == [2, 5]
    with Checkpoints(tmp_path) as checkpoints:
        assert (checkpoints.best, checkpoints.best_score) == (2, 7.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_never_the_best(tmp_path: Path, bad: float) -> None:
    saved(tmp_path, {1: bad, 2: -1e6, 3: bad, 4: bad, 5: bad})
    with Checkpoints(tmp_path) as checkpoints:
        assert (checkpoints.latest, checkpoints.best, checkpoints.best_score) == (5, 2, -1e6)


def test_the_first_process_says_which_steps_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, {1: 0.0, 2: 1.0})
    with Checkpoints(tmp_path) as checkpoints:
        monkeypatch.setattr(processes, "from_first", lambda work: [1])
        checkpoints.agree()
        assert checkpoints.latest == checkpoints.best == 1
        monkeypatch.setattr(processes, "from_first", lambda work: [1, 3])
        with pytest.raises(InputError, match="process 0 sees checkpoint 3, and process 0 does not or finds it damaged"):
            checkpoints.agree()


def test_a_step_is_written_once(tmp_path: Path) -> None:
    saved(tmp_path, {4: 1.0})
    with Checkpoints(tmp_path) as checkpoints:
        for step in (4, 3):
            with pytest.raises(RuntimeError, match=f"checkpoint {step} was not written: .* holds step 4"):
                checkpoints.save(step, make_state(0), 2.0)


def test_another_shape_is_refused_with_both_shapes(tmp_path: Path) -> None:
    saved(tmp_path, {1: 0.0})
    wider = make_state(0).replace(params={"query": {"kernel": jnp.zeros((5, 9)), "bias": jnp.zeros(2)}})
    message = refuses(tmp_path, 1, target(wider))
    assert "(5, 2)" in message and "(5, 9)" in message and "resume with the recipe" in message


@pytest.mark.parametrize("field", ["half", "users", "step"])
def test_another_type_is_refused_not_cast(tmp_path: Path, field: str) -> None:
    saved(tmp_path, {1: 0.0})
    state = make_state(0)
    other = {"half": jnp.float32, "users": jnp.bfloat16, "step": jnp.uint32}[field]
    message = refuses(tmp_path, 1, target(state.replace(**{field: getattr(state, field).astype(other)})))
    assert f"{field} has shape" in message and jnp.dtype(other).name in message


def test_another_number_of_shards_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, {1: 0.0})
    refuses(tmp_path, 1, target(make_state(0, shards=8)))


def test_another_tree_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, {1: 0.0})
    other = make_state(0).replace(params={"value": {"kernel": jnp.zeros((5, 2)), "bias": jnp.zeros(2)}})
    assert "resume with the recipe" in refuses(tmp_path, 1, target(other))


def cut_short(step: Path) -> None:
    for path in step.rglob("d/*"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_manifests(step: Path) -> None:
    for path in step.rglob("manifest.ocdbt"):
        path.unlink()


def without_structure(step: Path) -> None:
    for path in step.rglob("_METADATA"):
        path.unlink()


@pytest.mark.parametrize("damage", [cut_short, without_manifests, without_structure])
def test_a_checkpoint_that_an_earlier_version_wrote_is_refused_if_it_cannot_be_read(tmp_path: Path, damage) -> None:
    damage(without_digests(saved(tmp_path, {1: 0.0, 2: 1.0})) / "2")
    message = refuses(tmp_path, 2, target(make_state(0)))
    assert "delete this step to fall back to the one before" in message
    with Checkpoints(tmp_path) as checkpoints:
        assert_same(checkpoints.restore(1, target(make_state(0))), make_state(1))


def without_seal(step: Path) -> None:
    (step / DIGESTS).unlink()


def with_damaged_scores(step: Path) -> None:
    (step / "metrics" / "metrics").write_text('{"re')


def with_damaged_scores_and_no_seal(step: Path) -> None:
    with_damaged_scores(step)
    without_seal(step)


def emptied(step: Path) -> None:
    shutil.rmtree(step)
    step.mkdir()


def with_one_more_file(step: Path) -> None:
    (step / "default" / "d" / "more").touch()


DAMAGE = [
    cut_short,
    without_manifests,
    without_structure,
    without_seal,
    with_damaged_scores,
    with_damaged_scores_and_no_seal,
    emptied,
    with_one_more_file,
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_checkpoint_before_a_damaged_one_is_used_with_a_warning(tmp_path: Path, damage, capsys) -> None:
    saved(tmp_path, {1: 5.0, 2: 1.0, 3: 9.0}, keep_latest=3)
    damage(tmp_path / "3")
    before = sorted(tmp_path.rglob("*"))
    with Checkpoints(tmp_path) as checkpoints:
        warning = capsys.readouterr().err
        assert warning.startswith(f"warning: checkpoint 3 is not used: {tmp_path}/3") and warning.count("\n") == 1
        assert warning.endswith(" Checkpoint 2 is used instead.\n")
        assert (checkpoints.latest, checkpoints.best, checkpoints.best_score) == (2, 1, 5.0)
        assert_same(checkpoints.restore(2, target(make_state(0))), make_state(2))
        with pytest.raises(InputError, match=f"{tmp_path}/3"):
            checkpoints.restore(3, target(make_state(0)))
        assert sorted(tmp_path.rglob("*")) == before  # reading moves nothing
        checkpoints.begin_writing()
        assert steps(tmp_path) == [1, 2] and (tmp_path / "3.damaged").is_dir()
        checkpoints.save(3, make_state(3), 9.0)
    assert steps(tmp_path) == [2, 3] and not (tmp_path / "3.damaged").exists()
    with Checkpoints(tmp_path) as checkpoints:
        assert (checkpoints.latest, checkpoints.best) == (3, 3)
        assert_same(checkpoints.restore(3, target(make_state(0))), make_state(3))


def test_one_flipped_bit_in_any_file_of_a_checkpoint_is_found(tmp_path: Path, capsys) -> None:
    rng = random.Random(0)
    saved(tmp_path, {1: 0.0, 2: 1.0})
    files = [path for path in (tmp_path / "2").rglob("*") if path.is_file() and path.stat().st_size]
    assert {"_METADATA", "_CHECKPOINT_METADATA", "manifest.ocdbt", "metrics", DIGESTS} <= {path.name for path in files}
    for path in files:
        whole = path.read_bytes()
        flip_bit(path, rng)
        with Checkpoints(tmp_path) as checkpoints:
            assert checkpoints.latest == 1, path
        assert f"checkpoint 2 is not used: {path}" in capsys.readouterr().err
        path.write_bytes(whole)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest == 2


def test_the_step_before_is_let_go_only_when_the_new_one_is_sealed(tmp_path: Path, monkeypatch) -> None:
    saved(tmp_path, {1: 0.0}, keep_latest=1)

    def refuse(folder: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("jaxrec.storage.checkpoint.seal", refuse)
    checkpoints = Checkpoints(tmp_path, keep_latest=1)
    checkpoints.save(2, make_state(2), 1.0)
    with pytest.raises(OSError, match="disk full"):
        checkpoints.close()
    assert steps(tmp_path) == [1, 2]
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest == 1


def test_what_orbax_did_not_write_is_found_at_once(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("jaxrec.storage.checkpoint.check_orbax_path", lambda path: None)
    checkpoints = Checkpoints(tmp_path / "a[1]b")
    checkpoints.save(1, make_state(1), 1.0)
    with pytest.raises((InputError, OSError)):
        checkpoints.close()


def test_a_path_that_loses_arrays_is_refused_before_the_first_update(tmp_path: Path) -> None:
    with Checkpoints(tmp_path / "a[1]b") as checkpoints, pytest.raises(InputError, match=r"a path with '\['"):
        checkpoints.begin_writing()
    assert not (tmp_path / "a[1]b").exists()


def test_parameters_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = make_state(1)
    state.params["query"]["bias"] = jnp.array([0.0, jnp.nan])
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, 0.0)
    assert "params.query.bias holds numbers that are not finite" in refuses(tmp_path, 1, target(state))


def save_with_bias(folder: Path, biases: dict[int, float]) -> None:
    with Checkpoints(folder) as checkpoints:
        for step, bias in biases.items():
            state = make_state(step)
            state.params["query"]["bias"] = jnp.array([0.0, bias])
            checkpoints.save(step, state, float(step))


@pytest.mark.parametrize("bias", [math.nan, -math.inf, 1e6])
def test_a_newest_checkpoint_of_insane_parameters_is_left_out_as_a_damaged_one_is(
    bias: float, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    save_with_bias(tmp_path, {1: 0.0, 2: bias})
    with Checkpoints(tmp_path) as checkpoints:
        step, state = checkpoints.newest_sane(lambda step: checkpoints.restore(step, target(make_state(1))))
        assert (step, int(state.step), checkpoints.latest, checkpoints.best) == (1, 1, 1, 1)
        checkpoints.begin_writing()
    said = capsys.readouterr().err
    assert said.startswith("warning: checkpoint 2 is not used: ") and "params.query.bias" in said
    assert said.endswith("Checkpoint 1 is used instead.\n") and said.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"1", "2.damaged"}


def test_parameters_are_refused_if_no_checkpoint_is_sane(tmp_path: Path) -> None:
    save_with_bias(tmp_path, {1: 1e9, 2: math.nan})
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(InputError, match=r"bias reaches 1e\+09 \(sane"):
        checkpoints.newest_sane(lambda step: checkpoints.restore(step, target(make_state(1))))


def test_a_save_is_reported_once_it_is_on_the_disk(tmp_path: Path) -> None:
    reported = []

    def report(step: int, seconds: float) -> None:
        assert (tmp_path / str(step) / DIGESTS).is_file() and seconds > 0
        reported.append(step)

    with Checkpoints(tmp_path, saved=report) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, make_state(step), 0.0)
    assert reported == [1, 2]


def test_what_a_killed_save_left_behind_is_ignored(tmp_path: Path) -> None:
    saved(tmp_path, {1: 0.5})
    (tmp_path / "2.orbax-checkpoint-tmp" / "default").mkdir(parents=True)
    with Checkpoints(tmp_path) as checkpoints:
        assert (checkpoints.latest, checkpoints.best) == (1, 1)
        checkpoints.save(2, make_state(2), 1.0)
        assert_same(checkpoints.restore(2, target(make_state(0))), make_state(2))


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_a_state_of_four_devices_continues_on_any_number(tmp_path: Path, devices: int) -> None:
    state = make_state(1, shards=8)
    laid = jax.device_put(state, on(4, state))
    assert len(laid.users.sharding.device_set) == 4
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, laid, 0.0)
    with Checkpoints(tmp_path) as checkpoints:
        got = checkpoints.restore(1, target(state, devices))
    assert len(got.users.sharding.device_set) == len(got.keys.sharding.device_set) == devices
    assert_same(got, state)
