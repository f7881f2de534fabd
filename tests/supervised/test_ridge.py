"""Ridge regression on a user's answers, compared with NumPy and with numbers worked by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.data.log import Log
from jaxrec.supervised.baselines import ridge as module
from jaxrec.supervised.baselines.ridge import RidgeModel, predict_ridge, ridge, score_ridge, user_weights
from tests.tiny_tastes import known_people


def small_model(strength: float = 1.0) -> RidgeModel:
    """Two kinds of feedback, three items with features (1, x)."""
    features = np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 0.0]])
    prior = np.array([[0.5, 0.0], [0.25, 0.0], [0.5, 1.0]])
    return RidgeModel(*(jnp.asarray(x, jnp.float32) for x in (features, prior, strength)))


def test_the_weights_of_a_user_are_worked_by_hand() -> None:
    model = small_model()
    history, answers = jnp.array([-1, 0, 1]), jnp.array([[9.0, 9.0], [1.0, 0.0], [0.0, 1.0]])
    # X'X + 1 = diag(3, 3); rests .5 and -.25, 0 and 1: X'r = (.25, .75) and (1, -1).
    want = np.array([[0.25 / 3, 1 / 3], [0.75 / 3, -1 / 3]])
    np.testing.assert_allclose(user_weights(model, history, answers), want, atol=1e-6)
    scores = [0.5 + 1 / 3, 0.25 - 0.5 / 3, 0.5 + 0.25 / 3]
    np.testing.assert_allclose(score_ridge(model, history, answers), scores, atol=1e-6)
    got = predict_ridge(model, history, answers, jnp.array([2, 0]))
    np.testing.assert_allclose(got, [[scores[2], 1.0], [scores[0], 0.0]], atol=1e-6)  # 4/3 and 0, from 0 to 1


def test_a_user_without_rows_gets_the_prior() -> None:
    model = small_model()
    nothing = jnp.full((2, 5), -1), jnp.zeros((2, 5, 2))
    np.testing.assert_allclose(score_ridge(model, *nothing), np.tile(model.prior[:, 0], (2, 1)))


def test_long_histories_are_summed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    features, prior = rng.normal(size=(20, 4)), rng.random((20, 1))
    model = RidgeModel(*(jnp.asarray(x, jnp.float32) for x in (features, prior, 0.5)))
    items, answers = rng.integers(-1, 20, (3, 7)), rng.integers(0, 2, (3, 7, 1)).astype(np.float32)
    monkeypatch.setattr(module, "CHUNK", 3)
    got = user_weights(model, jnp.asarray(items), jnp.asarray(answers))
    for n in range(3):
        known = items[n] >= 0
        x, rest = features[items[n][known]], answers[n][known] - prior[items[n][known]]
        want = np.linalg.solve(x.T @ x + 0.5 * np.eye(4), x.T @ rest)
        np.testing.assert_allclose(got[n], want, atol=1e-5)


def test_the_strength_has_the_least_leave_one_out_error(monkeypatch: pytest.MonkeyPatch) -> None:
    log, vectors, _ = known_people(users=12, items=15, rows=8)
    model = ridge(log, vectors)
    features, prior = np.asarray(model.features, np.float64), np.asarray(model.prior, np.float64)
    errors = []
    for strength in module.STRENGTHS:
        total = 0.0
        for row in range(len(log)):  # predicted from the other rows of the user, one by one
            others = (log.user == log.user[row]) & (np.arange(len(log)) != row)
            x, rest = features[log.item[others]], log.feedback[others] - prior[log.item[others]]
            weights = np.linalg.solve(x.T @ x + strength * np.eye(x.shape[1]), x.T @ rest)
            item = log.item[row]
            total += np.square(log.feedback[row] - prior[item] - features[item] @ weights).sum()
        errors.append(total)
    assert float(model.strength) == pytest.approx(module.STRENGTHS[int(np.argmin(errors))])
    assert len(set(np.round(errors, 6))) == len(errors)


def test_the_prior_is_the_text_and_a_damped_mean_of_the_item() -> None:
    # One user, two items with the same text: the regression on the text is the mean of all rows, .5.
    user, item = np.zeros(40, np.int32), np.repeat([0, 1], [10, 30]).astype(np.int32)
    liked = np.r_[np.ones(10), np.tile([1.0, 0, 0], 10)][:, None].astype(np.float32)
    log = Log(user, item, np.arange(40), liked, ("liked",), 1, 3)
    prior = np.asarray(ridge(log, np.zeros((3, 2))).prior)[:, 0]
    np.testing.assert_allclose(prior, [0.5 + 10 * 0.5 / 20, 0.5 - 30 * (0.5 - 1 / 3) / 40, 0.5], atol=1e-6)


def test_it_finds_the_likes_of_people_with_tastes() -> None:
    log, vectors, p = known_people(users=60, items=40, rows=25)
    model = ridge(log, vectors)
    rows = log.item.reshape(60, 25)
    got = predict_ridge(model, jnp.asarray(rows), jnp.asarray(log.feedback.reshape(60, 25, 2)), jnp.asarray(rows))
    error = np.square(np.asarray(got).reshape(-1, 2) - p).mean()
    assert error < 0.5 * np.square(p - p.mean(0)).mean()


def test_ridge_without_vectors_is_refused() -> None:
    with pytest.raises(InputError, match="ridge: the items have no text vectors"):
        ridge(known_people(users=4, items=6, rows=3)[0], None)
