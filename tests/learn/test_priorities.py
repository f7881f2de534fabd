import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxrec.config.policy import PolicyConfig
from jaxrec.learn import priorities, replay
from jaxrec.learn.replay import Experience
from jaxrec.types import Observation
from tests.probes import delay_probe, learn, outputs

SHARDS, USERS, CAPACITY = 2, 3, 6
POLICY = PolicyConfig(width=8, hidden=(16,))


def filled(count: int) -> replay.Replay:
    """A ring to which `count` steps were added, one after another."""
    zeros, flag = jnp.zeros((SHARDS, USERS)), jnp.zeros((SHARDS, USERS), bool)
    row = Experience(Observation(user=zeros[..., None]), zeros[..., None], zeros[..., None], flag, flag)
    ring = replay.empty(row, CAPACITY)
    for _ in range(count):
        ring = replay.add(ring, jax.tree.map(lambda x: x[:, None], row))
    return ring


@functools.partial(jax.jit, static_argnames=("count", "correction"))
def drawn(state: priorities.Priorities, ring: replay.Replay, key: jax.Array, count: int, correction: float = 0.5):
    return priorities.draw(jax.random.split(key, SHARDS), state, ring, count, 1, correction)


def test_frequencies_match_priorities() -> None:
    """Steps 2 to 7 are in the ring; the newest begins no window. Draws of one each are independent: chi-square."""
    ring = filled(8)
    value = 0.1 + jax.random.uniform(jax.random.key(1), (SHARDS, CAPACITY, USERS))
    state = priorities.Priorities(value, jnp.ones(SHARDS))
    keys = jax.random.split(jax.random.key(0), 4000)
    places, _ = jax.lax.map(lambda key: drawn(state, ring, key, 1), keys, batch_size=500)
    whole = [row for row in range(CAPACITY) if row != 1]  # step 7 is in row 1
    for shard in range(SHARDS):
        counts = np.zeros((CAPACITY, USERS))
        np.add.at(counts, (np.asarray(places.row)[:, shard, 0], np.asarray(places.user)[:, shard, 0]), 1)
        assert counts[1].sum() == 0
        want = np.asarray(value, np.float64)[shard, whole]
        assert stats.chisquare(counts[whole].ravel(), want.ravel() / want.sum() * len(keys)).pvalue > 0.001
    np.testing.assert_array_equal((places.row - 2) % CAPACITY, places.start)  # step 2, the oldest, is in row 2


def test_importance_weights_undo_the_draw() -> None:
    ring, value = filled(6), jnp.tile(jnp.arange(1.0, 7.0)[None, :, None], (SHARDS, 1, USERS))
    places, weight = drawn(priorities.Priorities(value, jnp.ones(SHARDS)), ring, jax.random.key(0), 60, 1.0)
    # With beta = 1 a weight is in inverse proportion to the priority, and the rarest window drawn has weight 1.
    chex.assert_trees_all_close(weight, 1.0 / (1.0 + places.row.astype(jnp.float32)), rtol=1e-5)
    _, weight = drawn(priorities.Priorities(value, jnp.ones(SHARDS)), ring, jax.random.key(0), 60, 0.0)
    np.testing.assert_array_equal(weight, 1.0)


def test_new_steps_get_the_largest_priority_and_drawn_ones_that_of_their_error() -> None:
    state, ring = priorities.empty(SHARDS, CAPACITY, USERS), filled(1)
    state = state.replace(largest=jnp.array([4.0, 2.0]))
    state = priorities.add(state, ring, 1)
    np.testing.assert_array_equal(state.value[:, 1], [[4.0] * USERS, [2.0] * USERS])
    assert float(state.value.sum()) == 18.0
    places = priorities.Places(start=jnp.zeros((2, 1), int), user=jnp.array([[2], [0]]), row=jnp.array([[1], [1]]))
    state = priorities.update(state, places, jnp.array([[-0.249], [9.0]]), 0.5)
    assert float(state.value[0, 1, 2]) == pytest.approx(0.5)  # sqrt(0.249 + 0.001)
    np.testing.assert_allclose(state.largest, [4.0, 9.001**0.5], rtol=1e-6)


@pytest.mark.parametrize(
    "options", [{"priority": 0.6}, pytest.param({"priority": 0.6, "dueling": "mean"}, marks=pytest.mark.slow)]
)
def test_dqn_with_priorities_finds_the_values(options: dict) -> None:
    env = delay_probe(seen=True)
    small = {
        "policy": POLICY, "num_users": 64, "num_shards": 8, "horizon": 4, "replay_size": 4096,
        "learning_starts": 256, "batch_size": 256, "learning_rate": 0.01, "target_rate": 0.1, "epsilon_updates": 20,
    }  # fmt: skip
    state, _ = learn("dqn", env, {**small, **options, "gamma": 1.0}, 60)
    output, _ = outputs(env, state.params, POLICY)
    logits = output.logits - (output.logits.mean(-1, keepdims=True) if "dueling" in options else 0.0)
    chex.assert_trees_all_close((logits + output.value[:, None])[0], jnp.array([0.1, 0.8]), atol=0.06)
