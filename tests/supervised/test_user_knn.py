"""Neighbours among the users, against dense arithmetic by scipy and numpy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from jaxrec.checks import InputError
from jaxrec.data import Log
from jaxrec.supervised.baselines import neighbours
from jaxrec.supervised.baselines.neighbours import score_user_knn, user_knn

USERS, ITEMS = 30, 12


@pytest.fixture
def log() -> Log:
    random = np.random.default_rng(0)
    user, item = np.sort(random.integers(0, USERS - 1, 200)), random.integers(0, ITEMS, 200)  # pairs repeat
    return Log(
        user.astype(np.int32),
        item.astype(np.int32),
        np.arange(200),
        np.ones((200, 1), np.float32),
        ("x",),
        USERS,
        ITEMS,
    )


@pytest.mark.parametrize("k", [3, 100])
def test_scores_are_the_cosines_of_the_nearest_users_who_have_the_item(log: Log, k: int) -> None:
    rows = np.zeros((USERS, ITEMS))
    rows[log.user, log.item] = 1
    history = np.array([[-1, -1, 3, 5, 3], [0, 1, 2, 7, 9], [-1, -1, -1, -1, 11]])
    own = np.zeros((3, ITEMS))
    for place, items in enumerate(history):
        own[place, items[items >= 0]] = 1
    cosine = np.nan_to_num(1 - cdist(own, rows, "cosine"))  # the last user has no rows
    want = []
    for line in cosine:
        near = np.lexsort((np.arange(USERS), -line.astype(np.float32)))[:k]
        want.append(line[near] @ rows[near])
    got = jax.jit(partial(score_user_knn, neighbours=k))(user_knn(log), jnp.asarray(history))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_many_blocks_and_further_axes_change_nothing(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    history = jnp.array([[-1, 3, 5], [0, 1, 2], [-1, -1, -1], [4, 4, 4]])
    whole = score_user_knn(user_knn(log), history)
    assert not whole[2].any()
    monkeypatch.setattr(neighbours, "BLOCK", 16)
    np.testing.assert_allclose(
        score_user_knn(user_knn(log), history.reshape(2, 2, 3)).reshape(4, ITEMS), whole, rtol=1e-5
    )


def test_a_log_that_is_too_long_is_refused(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "KNN_ROWS", 10)
    with pytest.raises(InputError, match=r"user_knn: .* rows, wanted at most 10 .*choose another recommender"):
        user_knn(log)
