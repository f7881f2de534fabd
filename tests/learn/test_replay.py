import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.config.replay_learners import DqnConfig
from jaxrec.envs import auto_reset
from jaxrec.learn import make_learner, replay
from jaxrec.learn.replay import Experience
from jaxrec.nets.policy import example_observation
from jaxrec.types import Env, EnvSpec, Observation, SlateAction, StepOutput, World

SHARDS, USERS, SLATE = 2, 3, 2


def steps(first: int, count: int, terminated: set[int] = frozenset(), truncated: set[int] = frozenset()) -> Experience:
    """Rows [S, count, N, ...] that say where they come from: `obs.user` is (time, user of all), reward is 2^time."""
    time = jnp.broadcast_to(jnp.arange(first, first + count)[None, :, None], (SHARDS, count, USERS))
    user = jnp.broadcast_to(jnp.arange(SHARDS * USERS).reshape(SHARDS, 1, USERS), time.shape)
    reward = jnp.exp2(time.astype(jnp.float32))
    return Experience(
        obs=Observation(user=jnp.stack([time, user], -1).astype(jnp.float32)),
        action=jnp.stack([time, user], -1).astype(jnp.int32),
        item_reward=jnp.stack([reward, 0 * reward], -1),
        terminated=jnp.isin(time, jnp.array(sorted(terminated), jnp.int32)),
        truncated=jnp.isin(time, jnp.array(sorted(truncated), jnp.int32)),
    )


def ring(*parts: Experience, capacity: int = 6) -> replay.Replay:
    state = replay.empty(jax.tree.map(lambda x: x[:, 0], steps(0, 1)), capacity)
    for part in parts:
        state = replay.add(state, part)
    return state


@functools.partial(jax.jit, static_argnames=("count", "n"))
def drawn(state: replay.Replay, count: int = 500, n: int = 1) -> replay.Sample:
    """Windows of a discount of 1/2."""
    return replay.sample(jax.random.split(jax.random.key(0), SHARDS), state, count, n, 0.5)


def test_the_newest_steps_replace_the_oldest() -> None:
    state = ring(steps(0, 2), steps(2, 2))
    assert int(state.size) == 4
    state = replay.add(replay.add(state, steps(4, 2)), steps(6, 2))
    assert int(state.size) == 6
    np.testing.assert_array_equal(state.rows.obs.user[1, :, 2, 0], [6, 7, 2, 3, 4, 5])
    np.testing.assert_array_equal(state.rows.obs.user[1, :, 2, 1], [5] * 6)


def test_what_followed_is_the_next_row_of_the_same_user() -> None:
    batch = drawn(ring(steps(0, 2), steps(2, 2), steps(4, 2), steps(6, 2)))
    time, user = np.asarray(batch.obs.user).T
    np.testing.assert_array_equal(batch.next_obs.user, np.add(batch.obs.user, [1, 0]))
    np.testing.assert_array_equal(batch.action, batch.obs.user)
    np.testing.assert_array_equal(batch.item_reward[..., 0], np.exp2(time.T))
    assert set(time.ravel()) == {2, 3, 4, 5, 6}  # 7 has no successor yet, 0 and 1 are gone
    for shard in range(SHARDS):
        assert set(user[:, shard]) == set(range(shard * USERS, (shard + 1) * USERS))


def test_starts_and_users_are_drawn_evenly() -> None:
    batch = drawn(ring(steps(0, 2), steps(2, 2), steps(4, 2), steps(6, 2)), count=15_000)
    time, user = np.asarray(batch.obs.user, int).reshape(-1, 2).T
    shares = np.bincount(6 * time + user)[12:] / len(time)
    np.testing.assert_allclose(shares, 1 / 30, atol=4 * np.sqrt(1 / 30 / 30_000))


def test_windows_lie_inside_a_ring_that_is_not_full() -> None:
    batch = drawn(ring(steps(0, 2), steps(2, 2)), n=3)
    assert set(np.asarray(batch.obs.user[..., 0]).ravel()) == {0}
    np.testing.assert_array_equal(batch.next_obs.user[..., 0], np.full((SHARDS, 500), 3))
    # 1 for the first item; 2 / 2 + 4 / 4 shared by both
    np.testing.assert_allclose(batch.item_reward, np.broadcast_to([1 + 1, 1], (SHARDS, 500, 2)))
    np.testing.assert_allclose(batch.discount, 1 / 8)


def test_windows_never_run_across_the_newest_step_into_the_oldest() -> None:
    batch = drawn(ring(steps(0, 2), steps(2, 2), steps(4, 2), steps(6, 2)), n=3)
    assert set(np.asarray(batch.obs.user[..., 0]).ravel()) == {2, 3, 4}
    np.testing.assert_array_equal(batch.next_obs.user, np.add(batch.obs.user, [3, 0]))


def test_windows_stop_at_a_termination_and_before_a_truncation() -> None:
    batch = drawn(ring(steps(0, 3, terminated={1}), steps(3, 3, truncated={4})), n=2)
    rows = {int(t): n for n, t in enumerate(np.asarray(batch.obs.user[0, :, 0]))}
    assert sorted(rows) == [0, 1, 2, 3]
    # start: discounted reward (first item; second item), discount, where the window ended
    want = {0: (1 + 0.5, 0.5, 0, None), 1: (2, 0, 0, None), 2: (4 + 2, 2, 1 / 4, 4), 3: (8, 0, 1 / 2, 4)}
    for start, (first, second, discount, end) in want.items():
        n = rows[start]
        np.testing.assert_allclose(batch.item_reward[0, n], [first, second])
        assert float(batch.discount[0, n]) == discount
        assert end is None or int(batch.next_obs.user[0, n, 0]) == end
    assert bool((batch.weight == 1).all())


def test_a_window_that_begins_with_a_cut_has_no_weight() -> None:
    batch = drawn(ring(steps(0, 3, truncated={1}), steps(3, 3)))
    starts = np.asarray(batch.obs.user[..., 0])
    np.testing.assert_array_equal(batch.weight, starts != 1)
    assert bool(jnp.isfinite(batch.item_reward).all())


def test_rows_that_do_not_fill_the_ring_evenly_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 4 steps, got 6"):
        replay.add(ring(), steps(0, 4))


def session_env(history: int, slate: int) -> Env:
    """Users of the shape of those fitted to a log; nothing but shapes is asked of them."""
    spec = EnvSpec(
        name="shapes", action=SlateAction(size=slate), num_items=50, feedback=("liked",), history_length=history
    )
    obs = example_observation(spec)

    def step(key: jax.Array, state: jax.Array, action: jax.Array, world: World):
        no = jnp.asarray(False)
        return state, StepOutput(obs, jnp.asarray(0.0), no, no, jnp.zeros((slate, 1)), obs)

    return Env(lambda key, world: (jnp.zeros(()), obs), step, World(item_table=jnp.eye(50)), spec)


def test_a_hundred_thousand_transitions_with_a_history_of_twenty_take_less_than_200_mb() -> None:
    env = auto_reset(session_env(history=20, slate=5))
    config = DqnConfig(num_users=100, horizon=10, replay_size=100_000)
    state = jax.eval_shape(make_learner("dqn", env, config).init, jax.random.key(0), env.world)
    assert state.replay.rows.action.shape == (4, 1000, 25, 5)
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state.replay))
    # ids and feedback of the history, slate and its rewards, two flags
    assert size == 100_000 * (4 * (20 + 20 + 5 + 5) + 2) + 4


@pytest.mark.parametrize("transitions", [10_000, 1_000_000])
def test_adding_and_sampling_write_in_place_whatever_the_size(transitions: int) -> None:
    example = jax.tree.map(lambda x: x[:, 0], steps(0, 1))
    capacity = transitions // (SHARDS * USERS) // 8 * 8
    abstract = jax.eval_shape(lambda: replay.empty(example, capacity))

    def program(state: replay.Replay, new: Experience, key: jax.Array):
        state = replay.add(state, new)
        return state, replay.sample(jax.random.split(key, SHARDS), state, 64, 3, 0.9)

    memory = jax.jit(program, donate_argnums=0).lower(abstract, steps(0, 8), jax.random.key(0)).compile()
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(abstract))
    assert memory.memory_analysis().alias_size_in_bytes >= size
    assert memory.memory_analysis().temp_size_in_bytes < 200_000  # the ring itself: 240 kB and 24 MB
