"""Implicit-feedback ALS against dense solutions of its normal equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.data import Log
from jaxrec.ops.elimination import solve_positive
from jaxrec.supervised.baselines import als as module
from jaxrec.supervised.baselines.als import AlsModel, als, score_als

USERS, ITEMS, WIDTH = 25, 40, 4
STRENGTH = {"alpha": 7.0, "regularisation": 2.0}


@pytest.fixture(scope="module")
def log() -> Log:
    random = np.random.default_rng(0)
    rows = 300
    user, item = np.sort(random.integers(0, USERS, rows)), random.integers(0, ITEMS - 1, rows) ** 2 // (ITEMS - 1)
    feedback = np.ones((rows, 1), np.float32)
    return Log(user.astype(np.int32), item.astype(np.int32), np.arange(rows), feedback, ("x",), USERS, ITEMS)


def dense_side(own: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Equation 4 of the paper as it stands, with the confidence of every pair; own [N, M], factors [M, d]."""
    found = []
    for row in own:
        confidence = np.diag(1 + STRENGTH["alpha"] * row)
        a = factors.T @ confidence @ factors + STRENGTH["regularisation"] * np.eye(factors.shape[1])
        found.append(np.linalg.solve(a, factors.T @ confidence @ row))
    return np.array(found)


def interactions(log: Log) -> np.ndarray:
    rows = np.zeros((USERS, ITEMS))
    rows[log.user, log.item] = 1
    return rows


@pytest.mark.parametrize("width", [WIDTH, 16])  # windows of 8 and 32 places: above and below the factors
def test_the_factors_are_a_fixed_point_of_the_exact_solutions(log: Log, width: int) -> None:
    model = als(log, **STRENGTH, factors=width, sweeps=400)
    items = np.asarray(model.items, np.float64)
    again = dense_side(interactions(log).T, dense_side(interactions(log), items))
    np.testing.assert_allclose(again, items, atol=2e-3 * np.abs(items).max())
    np.testing.assert_allclose(model.gram, items.T @ items, rtol=1e-4, atol=1e-5)


def test_one_sweep_solves_for_users_and_then_for_items(log: Log) -> None:
    first = np.asarray(als(log, **STRENGTH, factors=WIDTH, sweeps=0).items, np.float64)
    want = dense_side(interactions(log).T, dense_side(interactions(log), first))
    np.testing.assert_allclose(als(log, **STRENGTH, factors=WIDTH, sweeps=1).items, want, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("chunk", [2, 64])
def test_a_new_user_is_folded_in_by_one_solution(log: Log, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    items = np.random.default_rng(1).normal(size=(ITEMS, WIDTH))
    model = AlsModel(
        jnp.asarray(items, jnp.float32),
        jnp.asarray(items.T @ items, jnp.float32),
        *(jnp.asarray(STRENGTH[name]) for name in ("alpha", "regularisation")),
    )
    histories = ([[-1, 3, 9, 3, 30, 2], [-1, -1, -1, -1, -1, 5], [-1] * 6], [[-1, 3, 9], [1, 1, 1], [-1, -1, -1]])
    for history in map(np.array, histories):  # longer and shorter than the factors
        own = np.zeros((3, ITEMS))
        for place, row in enumerate(history):
            own[place, row[row >= 0]] = 1  # an item that repeats counts once
        got = jax.jit(score_als)(model, jnp.asarray(history))
        np.testing.assert_allclose(got, dense_side(own, items) @ items.T, rtol=1e-4, atol=1e-4)


def test_elimination_solves_every_system() -> None:
    random = np.random.default_rng(0)
    roots, right = random.normal(size=(5, 6, 9)), random.normal(size=(5, 6, 2))
    a = roots @ roots.transpose(0, 2, 1) + 0.1 * np.eye(6)
    got = jax.jit(solve_positive)(jnp.asarray(a, jnp.float32), jnp.asarray(right, jnp.float32))
    np.testing.assert_allclose(got, np.linalg.solve(a, right), rtol=1e-3, atol=1e-4)
