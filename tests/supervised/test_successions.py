"""Counts of which item follows which, and vectors made of them."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.data import Log
from jaxrec.supervised.baselines.neighbours import score_sequential_rules, sequential_rules
from jaxrec.supervised.successions import residuals_of_successions, succession_vectors, successions


def log_of(users: list[list[int]], items: int, times: list[list[int]] | None = None, answers: int = 1) -> Log:
    user = np.repeat(np.arange(len(users)), [len(rows) for rows in users]).astype(np.int32)
    item, time = np.concatenate(users).astype(np.int32), np.concatenate(times or [range(len(rows)) for rows in users])
    feedback = np.ones((len(item), 1), np.float32)
    feedback[:: len(item)] = answers
    return Log(user, item, time.astype(np.int64), feedback, ("liked",), len(users), items)


def test_pairs_count_by_their_distance() -> None:
    # user 0: 0 1 2 0, user 1: 1 2; reach 2. The pair of item 0 with itself is 3 rows apart, beyond the reach.
    counts = successions(log_of([[0, 1, 2, 0], [1, 2]], 4), 2).toarray()
    want = np.zeros((4, 4))
    want[0, 1], want[0, 2], want[1, 2], want[1, 0], want[2, 0] = 1, 0.5, 2, 0.5, 1
    np.testing.assert_array_equal(counts, want)


def test_an_item_does_not_follow_itself() -> None:
    counts = successions(log_of([[0, 1, 0]], 2), 5).toarray()
    np.testing.assert_array_equal(counts, [[0, 1], [1, 0]])


@pytest.mark.parametrize(("answers", "file_order", "pairs"), [(0, False, 2), (0, True, 3), (1, False, 3)])
def test_rows_of_one_moment_are_pairs_only_where_their_order_means_something(
    answers: int, file_order: bool, pairs: int
) -> None:
    log = log_of([[0, 1, 2, 3]], 4, [[0, 1, 1, 2]], answers)  # the first answer may be 0: then rows may be a slate
    assert successions(log, 1, file_order=file_order).nnz == pairs


def test_vectors_factorise_the_information_of_pairs() -> None:
    log = log_of([[0, 1], [0, 1], [0, 1], [2, 3], [2, 3], [1, 2]], 5)
    vectors = succession_vectors(log, 4, 1)
    # C: (0, 1) 3, (2, 3) 2, (1, 2) 1; both ways, sums 3 4 3 2, in all 12
    want = np.zeros((5, 5))
    for i, j, count, sums in ((0, 1, 3, 12), (2, 3, 2, 6), (1, 2, 1, 12)):
        want[i, j] = want[j, i] = max(0.0, np.log(count * 12 / sums)) * count / (count + 1)
    assert want[1, 2] == 0  # as often as by chance
    # U S U' has the singular values without their signs, so products are those of the matrix' absolute value.
    values, left = np.linalg.eigh(want)
    np.testing.assert_allclose(vectors @ vectors.T, left @ np.diag(np.abs(values)) @ left.T, atol=1e-5)
    np.testing.assert_array_equal(vectors[4], 0)
    np.testing.assert_array_equal(vectors, succession_vectors(log, 4, 1))


def test_residuals_are_as_long_as_the_vectors() -> None:
    log = log_of([[0, 1, 2, 3, 4, 5], [5, 3, 1], [0, 2, 4]], 6)
    vectors = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32) * 7
    own = residuals_of_successions(log, vectors, 2)
    np.testing.assert_allclose(np.square(own).sum(), np.square(vectors).sum(), rtol=1e-5)


@pytest.mark.parametrize("users", [[[0], [1]], [[0, 0, 0]]])
def test_without_pairs_residuals_are_zero(users: list[list[int]]) -> None:
    np.testing.assert_array_equal(residuals_of_successions(log_of(users, 3), np.ones((3, 8), np.float32), 5), 0)


def test_more_directions_than_items_are_zeros() -> None:
    vectors = succession_vectors(log_of([[0, 1, 2]], 3), 16, 2)
    assert vectors.shape == (3, 16) and np.isfinite(vectors).all() and not vectors[:, 2:].any()


def test_sequential_rules_fade_with_the_age_of_the_item() -> None:
    table = sequential_rules(log_of([[0, 1, 2, 3], [1, 3]], 4))
    np.testing.assert_allclose(table[1], [0, 0, 1, 0.5 + 1])
    scores = score_sequential_rules(jnp.asarray(table), jnp.array([[-1, 0, 1], [-1, -1, -1]]))
    np.testing.assert_allclose(scores[0], table[1] + 0.7 * table[0], rtol=1e-6)
    np.testing.assert_array_equal(scores[1], 0)
