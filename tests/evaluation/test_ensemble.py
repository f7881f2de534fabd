"""Weights of ensembles: a known mixture, an independent optimiser, identical scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from jaxrec.checks import InputError
from jaxrec.data import Log, Split
from jaxrec.evaluation.ensemble import ensemble, fit_weights, standardised
from jaxrec.evaluation.scorers import Scorer
from jaxrec.types import Observation

USERS, ITEMS = 1500, 20
TABLES = np.random.default_rng(0).normal(size=(3, USERS, ITEMS)).astype(np.float32)


def by_user(table: np.ndarray) -> Scorer:
    """Scores that depend on the user, whom the context names."""

    def score(table, obs: Observation):
        assert obs.context is not None
        return table[obs.context[..., 0].astype(jnp.int32)]

    return Scorer(score, jnp.asarray(table))


def log_of(user: np.ndarray, item: np.ndarray) -> Log:
    rows = len(user)
    columns = user.astype(np.int32), item.astype(np.int32), np.arange(rows), np.ones((rows, 1), np.float32)
    return Log(*columns, ("x",), USERS, ITEMS, user[:, None].astype(np.float32), ("user",))


def z_scores(tables: np.ndarray) -> np.ndarray:
    return (tables - tables.mean(-1, keepdims=True)) / tables.std(-1, keepdims=True)


def split_from(weights: list[float]) -> Split:
    """One target per user, drawn from the softmax of the weighted scores of all items but item 0, which is history."""
    random, everybody = np.random.default_rng(1), np.arange(USERS)
    logits = np.tensordot(weights, z_scores(TABLES), axes=1)
    logits[:, 0] = -np.inf
    targets = (logits + random.gumbel(size=logits.shape)).argmax(-1)
    history = log_of(everybody, np.zeros(USERS, int))
    return Split(history, history.take(np.zeros(USERS, bool)), log_of(everybody, targets))


def test_the_weights_of_a_known_mixture_are_found() -> None:
    truth = [1.0, -0.5, 0.0]
    got = fit_weights([by_user(table) for table in TABLES], split_from(truth))
    # each weight is known to about 1 / sqrt(users x variance of z under the softmax), some .03
    np.testing.assert_allclose(got, truth, atol=0.12)


def test_the_weights_are_those_of_another_optimiser() -> None:
    split, z = split_from([1.0, 0.5, 0.2]), z_scores(TABLES)[:, :, 1:]

    def loss(weights: np.ndarray) -> float:
        logits = np.tensordot(weights, z, axes=1)
        own = logits[np.arange(USERS), split.test.item - 1]
        return float(np.mean(np.log(np.exp(logits).sum(-1)) - own) + 0.5e-4 * weights @ weights)

    want = minimize(loss, np.zeros(3), tol=1e-10).x
    np.testing.assert_allclose(fit_weights([by_user(table) for table in TABLES], split), want, atol=1e-3)


def test_equal_scorers_share_their_weight() -> None:
    split = split_from([1.0, 0.0, 0.0])
    alone = fit_weights([by_user(TABLES[0])], split)
    both = fit_weights([by_user(TABLES[0]), by_user(3 * TABLES[0] - 5)], split)
    np.testing.assert_allclose(both, np.repeat(alone / 2, 2), rtol=1e-2)


def test_a_large_scale_or_a_long_way_to_the_maximum_does_no_harm() -> None:
    split = split_from([9.0, 0.0, 0.0])
    got = fit_weights([by_user(1e4 * TABLES[0])], split)
    assert got == pytest.approx(9.0, rel=0.25)


def test_targets_in_the_history_do_not_count() -> None:
    history = log_of(np.arange(USERS), np.zeros(USERS, int))
    with pytest.raises(InputError, match="no validation row is new to its user"):
        fit_weights([by_user(TABLES[0])], Split(history, history.take(np.zeros(USERS, bool)), history))


def test_scores_are_standardised_over_recommendable_items() -> None:
    scores = jnp.array([[1.0, 3.0, 100.0, -jnp.inf], [2.0, 2.0, 2.0, 2.0]])
    got = standardised(scores, jnp.array([0, 1, 3]))  # mean 2 and deviation 1 of items 0 and 1
    np.testing.assert_allclose(got, [[-1, 1, 98, 0], [0, 0, 0, 0]], atol=1e-5)
    np.testing.assert_allclose(standardised(scores[:1, :2]), [[-1, 1]], atol=1e-6)
    nearly = jnp.array([0.1, 0.2, 0.3]).sum() + jnp.array([0.0, 6e-8, 0.0])
    np.testing.assert_array_equal(standardised(nearly), np.zeros(3))


def test_an_ensemble_is_the_weighted_sum() -> None:
    one, other = by_user(TABLES[0]), by_user(TABLES[1])
    both = ensemble([one, other], np.array([2.0, -1.0]))
    obs = Observation(context=jnp.array([[4.0], [7.0]]))
    want = 2 * z_scores(TABLES)[0, [4, 7]] - z_scores(TABLES)[1, [4, 7]]
    np.testing.assert_allclose(jax.jit(both.score)(both.arrays, obs), want, rtol=1e-4, atol=1e-5)
