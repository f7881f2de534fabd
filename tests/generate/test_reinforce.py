"""The parts of a reinforcement, with numbers worked by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.data import Log
from jaxrec.generate.reinforce import States, advantages, group_loss, make_states, observed_at, rewards, rows_ahead
from jaxrec.generate.sample import Path
from jaxrec.supervised.user_windows import make_windows
from jaxrec.types import PADDING

# Two users; the second one saw items 4 and 2 at the same moment.
LOG = Log(
    user=np.array([0, 0, 0, 1, 1, 1, 1], np.int32),
    item=np.array([3, 1, 2, 0, 4, 2, 1], np.int32),
    time=np.array([1, 2, 3, 1, 5, 5, 6]),
    feedback=np.array([[1], [0], [1], [1], [0], [1], [1]], np.float32),
    feedback_names=("liked",),
    num_users=2,
    num_items=5,
)
TARGET = np.array([3, 1, 2, 0, 4, 2, PADDING])  # the last row is no target
ROWS = make_windows(LOG, TARGET, 4, 16)[0]
STATES = make_states(LOG, TARGET)


def at(*rows: int) -> States:
    places = jnp.array([np.asarray(STATES.row).tolist().index(row) for row in rows])
    return States(*(x[places] for x in (STATES.row, STATES.begin, STATES.end)))


def test_states_know_the_rows_before_their_moment() -> None:
    assert STATES.row.tolist() == [0, 1, 2, 3, 4, 5]
    obs = observed_at(ROWS, at(2, 0, 5), 3)
    assert obs.history_items is not None and obs.history_feedback is not None
    # Row 5 has the time of row 4, whose answer was given with its own.
    assert obs.history_items.tolist() == [[-1, 3, 1], [-1, -1, -1], [-1, -1, 0]]
    assert obs.history_feedback[..., 0].tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("gamma", "ahead", "wanted"),
    [
        (0.0, 2, [[1, 0, 0], [0, 1, 1]]),
        # State 0: item 3 now, 1 after one row, 2 after two. State 4: its moment has 4 and 2; the next row, of item 1,
        # is no target.
        (0.5, 4, [[1, 0.5, 0.25], [0, 1, 1]]),
        (1.0, 4, [[1, 1, 1], [0, 1, 1]]),
    ],
)
def test_rewards_are_the_discounted_rows_to_come(gamma: float, ahead: int, wanted: list[list[float]]) -> None:
    items = jnp.array([[3, 1, 2], [1, 4, 2]])
    np.testing.assert_allclose(rewards(ROWS, at(0, 4), items, ahead, gamma), wanted)
    assert not rewards(ROWS, at(0, 4), jnp.full((2, 3), PADDING), ahead, gamma).any()


def test_rows_of_the_moment_of_a_state_count_fully() -> None:
    for gamma in (0.0, 0.5):
        ahead = rows_ahead(LOG, gamma, LOG.moments)
        np.testing.assert_allclose(rewards(ROWS, at(5), jnp.array([[4, 2, 0]]), ahead, gamma), [[1, 1, 0]])


def test_rows_ahead_end_where_discounts_are_small() -> None:
    gammas, apart = (0.0, 0.1, 0.9, 1.0), np.arange(len(LOG))
    assert [rows_ahead(LOG, gamma, apart) for gamma in gammas] == [1, 3, 4, 4]  # the longest user has 4 rows
    assert [rows_ahead(LOG, gamma, LOG.moments) for gamma in gammas] == [2, 4, 4, 4]  # a moment has two rows


def test_advantages_are_relative_to_the_weighted_group() -> None:
    # Mean 0.25 x 1 + 0.75 x 0 = 0.25, variance 0.25 x 0.75^2 + 0.75 x 0.25^2 = 0.1875.
    found = advantages(jnp.array([[1.0, 0.0], [2.0, 2.0]]), jnp.array([[0.25, 0.75], [0.5, 0.5]]))
    spread = 0.1875**0.5 + 1e-4
    np.testing.assert_allclose(found, [[0.75 / spread, -0.25 / spread], [0, 0]], rtol=1e-6)


def test_the_loss_of_a_group_is_policy_gradient_and_divergence() -> None:
    # One level after the root, two samples: the first takes child 1 of the root, then child 0 of its node.
    path = Path(*(jnp.array([x]) for x in ([[0, 0], [1, 0]], [[1, 0], [0, 1]], [[1, 0], [0, 1]])))
    root, below = np.array([[[0.25, 0.75]]]), np.array([[[1.0, 0.0], [0.4, 0.6]]])
    start = [np.array([[[0.5, 0.5]]]), np.array([[[1.0, 0.0], [0.2, 0.8]]])]
    with np.errstate(divide="ignore"):
        logs = [[jnp.asarray(np.log(x), jnp.float32) for x in pair] for pair in ([root, below], start)]
    weight, advantage = jnp.array([[0.75, 0.25]]), jnp.array([[1.0, -2.0]])
    loss, metrics = group_loss(logs[0], logs[1], path, weight, advantage, 0.5)
    policy = -(0.75 * np.log(0.75 * 1.0) + 0.25 * -2.0 * np.log(0.25 * 0.6))
    first = 0.25 * np.log(0.25 / 0.5) + 0.75 * np.log(0.75 / 0.5)
    second = 0.25 * (0.4 * np.log(0.4 / 0.2) + 0.6 * np.log(0.6 / 0.8))  # the other node is the same in both
    assert float(metrics["policy_loss"]) == pytest.approx(policy, rel=1e-5)
    assert float(metrics["kl"]) == pytest.approx(first + second, rel=1e-5)
    assert float(loss) == pytest.approx(policy + 0.5 * (first + second), rel=1e-5)
