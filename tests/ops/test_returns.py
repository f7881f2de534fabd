import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.ops.returns import gae, n_step

# [T = 3, B = 3]: no end; termination after step 1; truncation after step 1, the final observation being worth 10
REWARD = jnp.repeat(jnp.array([[1.0], [2.0], [4.0]]), 3, axis=1)
VALUE = jnp.ones((3, 3))
NEXT_VALUE = jnp.array([[1.0, 1.0, 1.0], [1.0, 7.0, 10.0], [2.0, 2.0, 2.0]])
TERMINATED = jnp.array([[False] * 3, [False, True, False], [False] * 3])
TRUNCATED = jnp.array([[False] * 3, [False, False, True], [False] * 3])
PIECES = (REWARD, VALUE, NEXT_VALUE, TERMINATED, TRUNCATED)


def test_advantages_by_hand() -> None:
    # deltas with gamma = 1/2: 1 + .5 - 1 = .5; 2 + .5 - 1 = 1.5 | 2 - 1 = 1 | 2 + 5 - 1 = 6; 4 + 1 - 1 = 4
    # sums with gamma lambda = 1/4, broken where an episode ended
    want = [[0.5 + 2.5 / 4, 0.5 + 1 / 4, 0.5 + 6 / 4], [1.5 + 4 / 4, 1.0, 6.0], [4.0, 4.0, 4.0]]
    np.testing.assert_allclose(gae(*PIECES, gamma=0.5, lam=0.5), want)


def test_lambda_zero_gives_one_step_errors() -> None:
    want = [[0.5, 0.5, 0.5], [1.5, 1.0, 6.0], [4.0, 4.0, 4.0]]
    np.testing.assert_allclose(gae(*PIECES, gamma=0.5, lam=0.0), want)


def test_lambda_one_gives_discounted_returns_less_the_value() -> None:
    # returns from the end, bootstrapping with 2: 4 + 1 = 5; then 2 + 2.5 | 2 | 2 + 5; then 1 + half of it
    want = np.array([[3.25, 2.0, 4.5], [4.5, 2.0, 7.0], [5.0, 5.0, 5.0]]) - 1
    np.testing.assert_allclose(gae(*PIECES, gamma=0.5, lam=1.0), want)


def test_what_follows_an_end_never_reaches_back() -> None:
    other = (REWARD.at[2].set(1e6), VALUE.at[2].set(-1e6), NEXT_VALUE.at[2].set(1e6), TERMINATED, TRUNCATED)
    before, after = gae(*PIECES, gamma=0.9, lam=0.8), gae(*other, gamma=0.9, lam=0.8)
    np.testing.assert_array_equal(after[:2, 1:], before[:2, 1:])
    assert (after[:2, 0] != before[:2, 0]).all()


def test_the_value_behind_a_termination_may_be_anything() -> None:
    poisoned = NEXT_VALUE.at[1, 1].set(jnp.nan)
    got = gae(REWARD, VALUE, poisoned, TERMINATED, TRUNCATED, gamma=0.5, lam=0.5)
    np.testing.assert_array_equal(got, gae(*PIECES, gamma=0.5, lam=0.5))


def test_one_user_and_many_axes_agree() -> None:
    many = [jnp.stack([jnp.stack([x] * 2, 1)] * 4, 1) for x in PIECES]  # [T, 4, 2, B]
    got = jax.jit(gae)(*many, 0.5, 0.5)
    want = gae(*PIECES, gamma=0.5, lam=0.5)
    assert got.shape == (3, 4, 2, 3)
    np.testing.assert_allclose(got[:, 3, 1], want, rtol=1e-6)
    np.testing.assert_allclose(gae(*(x[:, 2] for x in PIECES), gamma=0.5, lam=0.5), want[:, 2])


# Windows of three steps with rewards 1, 2, 4 and gamma = 1/2
WINDOW = jnp.array([1.0, 2.0, 4.0])
NO = [False, False, False]


@pytest.mark.parametrize(
    ("terminated", "truncated", "reward", "discount", "length"),
    [
        (NO, NO, 1 + 1 + 1, 1 / 8, 3),
        ([True, False, False], NO, 1, 0, 1),
        ([False, True, False], NO, 1 + 1, 0, 2),
        ([False, False, True], NO, 3, 0, 3),
        (NO, [True, False, False], 0, 1, 0),  # nothing is known of what followed
        (NO, [False, True, False], 1, 1 / 2, 1),  # the value of the second step's own observation
        (NO, [False, False, True], 2, 1 / 4, 2),
        ([False, True, False], [False, False, True], 2, 0, 2),  # the cut belongs to another user
        ([False, False, True], [False, True, False], 1, 1 / 2, 1),  # so does the termination
        ([False, True, False], [False, True, False], 2, 0, 2),  # who left needs no bootstrap
    ],
)
def test_n_step_sums_by_hand(terminated, truncated, reward: float, discount: float, length: int) -> None:
    got = n_step(WINDOW, jnp.array(terminated), jnp.array(truncated), 0.5)
    np.testing.assert_allclose([got.reward, got.discount, got.length], [reward, discount, length])


def test_one_step_windows_are_ordinary_transitions() -> None:
    ended = jnp.array([[False], [True], [False]])
    got = n_step(WINDOW[:, None], ended, ended[::-1] & False, 0.9)
    np.testing.assert_allclose(got.reward, WINDOW)
    np.testing.assert_allclose(got.discount, [0.9, 0.0, 0.9], rtol=1e-6)
