import dataclasses
import subprocess
import sys
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import jaxrec.gym
from jaxrec import make_env
from jaxrec.checks import InputError
from jaxrec.config.users import ENV_CONFIGS
from jaxrec.envs import auto_reset, to_gymnasium, to_gymnasium_vector
from tests.envs.short_visits import short_visits

FREE = [name for name, config in ENV_CONFIGS.items() if "path" not in {f.name for f in dataclasses.fields(config)}]
UNBOUNDED = "A Box observation space (minimum|maximum) value is -?infinity"


@pytest.mark.parametrize("observation", ["vector", "dict"])
@pytest.mark.parametrize("name", FREE)
def test_environments_that_need_no_files_pass_gymnasiums_checks(name: str, observation: str) -> None:
    env = gymnasium.make(jaxrec.gym.env_id(name), observation=observation)
    with warnings.catch_warnings():  # everything else is an error
        if name != "interest_evolution":  # documents of other users may have features without bounds
            warnings.filterwarnings("ignore", f".*{UNBOUNDED}")
        check_env(env.unwrapped)


@pytest.mark.parametrize("actions", ["scores", "query", "combinations", "permutations"])
def test_other_ways_to_name_slates_pass_too(actions: str) -> None:
    check_env(gymnasium.make("jaxrec/InterestEvolution-v0", actions=actions).unwrapped)


@pytest.mark.slow
def test_ids_are_known_wherever_gymnasium_was_imported_first_and_by_module_otherwise() -> None:
    make = "gymnasium.make('{}jaxrec/InterestEvolution-v0', num_candidates=5).reset(seed=0)"
    for code in (
        f"import gymnasium, jaxrec; {make.format('')}",
        f"import jaxrec.envs, gymnasium; {make.format('jaxrec.gym:')}",
    ):
        done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert "gymnasium" not in subprocess.run(
        [sys.executable, "-c", "import jaxrec, sys; print(sorted(sys.modules))"], capture_output=True, text=True
    ).stdout.replace("jaxrec.gym", "")


def test_the_same_seed_repeats_a_life_and_another_does_not() -> None:
    env = to_gymnasium(make_env("interest_evolution"))

    def life(seed: int) -> list[Any]:
        first, _ = env.reset(seed=seed)
        seen = [first, *(env.step([0, 1, 2])[0] for _ in range(3)), env.reset()[0]]
        return np.stack(seen).tolist()

    one, again, other = life(1), life(1), life(2)
    assert one == again and one != other
    assert one[0] != one[-1]  # the next user of the same stream


def test_a_repeated_position_is_replaced_or_refused_and_arrays_are_the_callers_own() -> None:
    env = to_gymnasium(short_visits(), observation="dict")
    obs, _ = env.reset(seed=0)
    obs["user"][:] = 0
    _, reward, _, _, info = env.step(np.array([2, 2]))
    assert reward == 3.0 and info["feedback"][:, 0].tolist() == [3, 0]  # positions 2 and, instead of 2, 0
    strict = to_gymnasium(short_visits(), repeats="refuse")
    strict.reset(seed=0)
    with pytest.raises(InputError, match=r"a position twice in one slate, \[2, 2\]"):
        strict.step(np.array([2, 2]))


@pytest.mark.parametrize(
    ("actions", "action", "message"),
    [
        ("slate", [0, 5], r"expected whole numbers from 0 to 4, got \[0, 5\]"),
        ("slate", [0.5, 1.0], "expected whole numbers"),
        ("slate", [0], r"expected shape \(2,\), got \(1,\)"),
        ("combinations", 10, "expected whole numbers from 0 to 9, got 10"),
        ("scores", [0.0, 1.0, np.nan, 0.0, 0.0], "expected finite scores"),
        ("query", [0.0, np.inf], "expected finite weights"),
        ("query", [0.0, 1.0, 0.0], r"expected shape \(2,\), got \(3,\)"),
    ],
)
def test_actions_outside_the_space_are_refused_in_one_line(actions: str, action: object, message: str) -> None:
    env = to_gymnasium(short_visits(), actions=actions)
    env.reset(seed=0)
    with pytest.raises(InputError, match=message) as caught:
        env.step(action)
    assert "\n" not in str(caught.value)


def vector(mode: str, num_envs: int = 6, **options: Any) -> Any:
    return to_gymnasium_vector(short_visits(), num_envs, autoreset_mode=mode, **options)


@pytest.mark.parametrize(("mode", "observation"), [("NextStep", "dict"), ("SameStep", "dict"), ("SameStep", "vector")])
def test_a_vector_does_as_gymnasiums_vector_of_single_environments(mode: str, observation: str) -> None:
    def single() -> gymnasium.Env:
        return to_gymnasium(short_visits(), observation=observation)

    ours, theirs = vector(mode, 3, observation=observation), SyncVectorEnv([single] * 3, autoreset_mode=mode)
    assert ours.single_observation_space == theirs.single_observation_space
    assert ours.observation_space == theirs.observation_space and ours.action_space == theirs.action_space
    assert_same(ours.reset(seed=7), theirs.reset(seed=7))
    ours.action_space.seed(0)
    for _ in range(9):
        action = ours.action_space.sample()
        got = ours.step(action)
        assert got[0] in ours.observation_space
        assert_same(got, theirs.step(action))
    assert_same(ours.reset(), theirs.reset())
    assert_same(ours.reset(seed=[3, 1, 4]), theirs.reset(seed=[3, 1, 4]))


def assert_same(got: Any, want: Any) -> None:
    """Equal numbers, types and keys, however deep."""
    assert type(got) is type(want)
    if isinstance(got, dict):
        assert sorted(got) == sorted(want)
        for name in got:
            assert_same(got[name], want[name])
    elif isinstance(got, tuple):
        for one, other in zip(got, want, strict=True):
            assert_same(one, other)
    elif isinstance(got, np.ndarray) and got.dtype != object:
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e-6)
    elif isinstance(got, np.ndarray):
        for one, other in zip(got, want, strict=True):
            assert_same(one, other)
    else:
        assert got == want


def test_next_step_mode_by_hand() -> None:
    env = vector("NextStep", observation="dict")
    leaves = env.reset(seed=0)[0]["user"][:, 0] > 0.5
    assert 0 < leaves.sum() < 6
    steps, ends, rewards = [], [], []
    for _ in range(4):
        obs, reward, terminated, truncated, info = env.step(np.tile([3, 4], (6, 1)))
        steps.append(obs["user"][:, 1]), ends.append((terminated, truncated)), rewards.append(reward)
        assert "final_obs" not in info
    # who leaves: steps 1, 2 (left), 0 (new user), 1; who is cut: 1, 2, 3 (cut), 0 (new user)
    np.testing.assert_array_equal(np.array(steps)[:, leaves].T, [[1, 2, 0, 1]] * leaves.sum())
    np.testing.assert_array_equal(np.array(steps)[:, ~leaves].T, [[1, 2, 3, 0]] * (~leaves).sum())
    np.testing.assert_array_equal([end[0] for end in ends][1], leaves)
    np.testing.assert_array_equal([end[1] for end in ends][2], ~leaves)
    np.testing.assert_array_equal(rewards[2][leaves], np.zeros(leaves.sum()))  # nobody was shown anything
    np.testing.assert_array_equal(rewards[3][~leaves], np.zeros((~leaves).sum()))
    assert sum(end[0].sum() + end[1].sum() for end in ends) == 6 and info["_feedback"].tolist() == leaves.tolist()


def test_same_step_mode_by_hand() -> None:
    env = vector("SameStep", observation="dict")
    first = env.reset(seed=0)[0]["user"]
    leaves = first[:, 0] > 0.5
    env.step(np.tile([3, 4], (6, 1)))
    obs, _, terminated, truncated, info = env.step(np.tile([0, 1], (6, 1)))
    np.testing.assert_array_equal(terminated, leaves)
    assert not truncated.any()
    np.testing.assert_array_equal(obs["user"][:, 1], np.where(leaves, 0, 2))
    np.testing.assert_array_equal(obs["user"][:, 0] == first[:, 0], ~leaves)
    np.testing.assert_array_equal(info["_final_obs"], leaves)
    for n in range(6):
        if leaves[n]:
            np.testing.assert_allclose(info["final_obs"][n]["user"], [first[n, 0], 2.0])
            assert info["final_obs"][n]["history_items"].tolist() == [0, 2]
        else:
            assert info["final_obs"][n] is None
    np.testing.assert_array_equal(info["final_info"]["_feedback"], leaves)
    np.testing.assert_array_equal(info["_feedback"], ~leaves)
    _, _, terminated, truncated, info = env.step(np.tile([3, 4], (6, 1)))
    np.testing.assert_array_equal(truncated, ~leaves)


def test_without_autoreset_a_mask_says_who_is_replaced() -> None:
    env = vector("Disabled", observation="dict")
    first = env.reset(seed=0)[0]["user"][:, 0]
    for _ in range(2):
        obs, _, terminated, _, _ = env.step(np.tile([3, 4], (6, 1)))
    with pytest.raises(InputError, match="reset them with options"):
        env.step(np.tile([3, 4], (6, 1)))
    obs, _ = env.reset(options={"reset_mask": terminated})
    np.testing.assert_array_equal(obs["user"][:, 1], np.where(terminated, 0, 2))
    np.testing.assert_array_equal(obs["user"][:, 0] == first, ~terminated)
    env.step(np.tile([3, 4], (6, 1)))


@pytest.mark.parametrize("options", [None, {"context": "fork"}])
def test_asynchronous_vector_environments_that_fork_are_refused_with_the_way_out(options) -> None:
    way = r'"async" forks processes after JAX has started, which hangs; use "vector_entry_point".*"context": "spawn"'
    with pytest.raises(InputError, match=way) as caught:
        gymnasium.make_vec("jaxrec/InterestEvolution-v0", num_envs=2, vectorization_mode="async", vector_kwargs=options)
    assert "\n" not in str(caught.value)
    env = make_env("interest_evolution")
    with pytest.raises(InputError, match=way):
        AsyncVectorEnv([lambda: to_gymnasium(env)] * 2)
    assert gymnasium.make_vec("jaxrec/InterestEvolution-v0", num_envs=2, vectorization_mode="sync").num_envs == 2


@pytest.mark.slow
def test_asynchronous_vector_environments_that_spawn_give_the_users_of_the_others() -> None:
    code = (
        "import gymnasium, jaxrec, numpy as np\n"
        "if __name__ == '__main__':\n"
        "    name, spawn = 'jaxrec/InterestEvolution-v0', {'vectorization_mode': 'async', 'vector_kwargs': "
        "{'context': 'spawn'}}\n"
        "    envs = [gymnasium.make_vec(name, num_envs=2, **options) for options in (spawn, {})]\n"
        "    one, other = (env.reset(seed=3)[0] for env in envs)\n"
        "    np.testing.assert_allclose(one, other, rtol=1e-6)\n"
        "    envs[0].close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_make_vec_gives_the_vector_environment_with_a_step_limit_and_statistics() -> None:
    env = gymnasium.make_vec(
        "jaxrec/InterestEvolution-v0",
        num_envs=3,
        vectorization_mode="vector_entry_point",
        max_episode_steps=4,
        autoreset_mode=AutoresetMode.SAME_STEP,
        actions="scores",
        num_candidates=5,
    )
    assert env.single_action_space.shape == (5,) and env.spec.id == "jaxrec/InterestEvolution-v0"
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(env)
    env.reset(seed=0)
    total = np.zeros(3)
    for n in range(4):
        _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        total += reward
        assert not terminated.any() and truncated.all() == (n == 3)
    np.testing.assert_array_equal(info["episode"]["l"], [4, 4, 4])
    np.testing.assert_allclose(info["episode"]["r"], total)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: to_gymnasium(auto_reset(short_visits())), "Gymnasium asks for resets itself"),
        (lambda: to_gymnasium(short_visits(), repeats="drop"), "repeats: no 'drop'"),
        (lambda: vector("Sometimes"), "autoreset_mode: no 'Sometimes'"),
        (lambda: vector("SameStep").step(np.zeros((6, 2), int)), "call reset first"),
        (lambda: vector("SameStep").reset(seed=[1, 2]), "expected 6 seeds, one per user, got 2"),
        (lambda: vector("SameStep").reset(options={"reset_mask": [1]}), "expected a reset_mask of 6 truth values"),
        (lambda: gymnasium.make("jaxrec/InterestEvolution-v0", slates=3), "no field 'slates'"),
    ],
)
def test_what_a_person_gets_wrong_is_refused_in_one_line(make, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
