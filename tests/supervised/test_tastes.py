"""Tastes: the model by NumPy, and the fit against independent references."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from jaxrec.checks import InputError
from jaxrec.config.tastes import TastesConfig
from jaxrec.data.log import Log
from jaxrec.nets.tastes import Link, all_logits, averaged_logit, logits_of, probabilities
from jaxrec.supervised.calibration import auc, sigmoid
from jaxrec.supervised.taste_features import item_features, text_features
from jaxrec.supervised.taste_posterior import (
    Rows,
    Users,
    padded,
    population_of,
    rows_of,
    user_posterior,
    with_draws,
)
from jaxrec.supervised.taste_strengths import Strengths, base_strengths
from jaxrec.supervised.tastes_fit import fit_tastes
from tests.tiny_tastes import known_people, newton, random_log, random_tastes

SMALL = TastesConfig(width=2, text_components=4, steps=150, draws=2, search=False, user_strength=1.0)
BASE = Strengths(user=8.0, bias=1.0, item=10.0, item_bias=10.0, text=10.0)


def test_logits_are_the_documented_sum() -> None:
    tastes, rng = random_tastes(items=3, width=2), np.random.default_rng(1)
    vectors, own = np.asarray(tastes.item_vectors), np.asarray(tastes.item_logits)
    for lead in ((), (2,), (2, 4)):
        theta = rng.normal(size=(*lead, 2, 3)).astype(np.float32)
        want = np.zeros((*lead, 3, 2))
        for place in np.ndindex(*lead, 3, 2):
            *user, item, kind = place
            b, *p = theta[(*user, kind)]
            want[place] = b + own[item, kind] + p[0] * vectors[item, 0] + p[1] * vectors[item, 1]
        np.testing.assert_allclose(all_logits(tastes, jnp.asarray(theta)), want, rtol=1e-5, atol=1e-6)
        items = np.broadcast_to(np.array([2, 0]), (*lead, 2)).astype(np.int32)
        got = logits_of(tastes, jnp.asarray(theta), jnp.asarray(items))
        np.testing.assert_allclose(got, want[..., [2, 0], :], rtol=1e-5, atol=1e-6)


def test_probabilities_follow_the_curve_of_each_kind() -> None:
    link = Link(*(jnp.array(x) for x in ([2.0, 0.5], [-0.3, 0.1], [0.1, 0.0], [0.9, 0.8], [0.5, 2.0])))
    tastes = random_tastes(items=3, width=2, link=link)
    logits = np.array([[0.4, -1.0], [3.0, 0.0]], np.float32)
    z = np.array([2.0, 0.5]) * logits + np.array([-0.3, 0.1])
    low, high = np.array([0.1, 0.0]), np.array([0.9, 0.8])
    np.testing.assert_allclose(probabilities(tastes, jnp.asarray(logits)), low + (high - low) * sigmoid(z), rtol=1e-5)
    variance = np.array([[1.0, 2.0], [0.0, 8.0]], np.float32)
    wide = z / np.sqrt(1 + np.pi / 8 * np.array([0.5 * 4, 2.0 * 0.25]) * variance)  # spread scale^2 variance
    got = probabilities(tastes, jnp.asarray(logits), jnp.asarray(variance))
    np.testing.assert_allclose(got, low + (high - low) * sigmoid(wide), rtol=1e-5)


@pytest.mark.parametrize("variance", [0.01, 0.5, 2.0, 8.0])
def test_the_averaged_logit_is_nearly_the_integral(variance: float) -> None:
    for logit in (-4.0, -1.0, 0.0, 0.5, 2.5):
        sd = variance**0.5
        want, _ = integrate.quad(
            lambda x, logit=logit, sd=sd: stats.norm.pdf(x, logit, sd) / (1 + np.exp(-x)),
            logit - 9 * sd,
            logit + 9 * sd,
        )
        got = jax.nn.sigmoid(averaged_logit(jnp.asarray(logit), jnp.asarray(variance)))
        assert float(got) == pytest.approx(want, abs=0.02)


def posterior_case(lengths: tuple[int, ...] = (12, 5, 1, 0)):
    """Rows of users on six items, two kinds of feedback -> tastes, rows, prior precision, reference of every user."""
    log, tastes = random_log(np.array(lengths), items=6), random_tastes(items=6, width=2)
    precision = np.array([1.0, 3.0, 3.0])
    x = np.concatenate([np.ones((6, 1)), np.asarray(tastes.item_vectors)], 1)[log.item]
    offset = np.asarray(tastes.item_logits)[log.item]
    want = [
        [
            newton(x[mine], offset[mine, kind], log.feedback[mine, kind], np.zeros(3), np.diag(precision))
            for kind in range(2)
        ]
        for mine in (log.user == user for user in range(len(lengths)))
    ]
    mean, curvature = (np.array([[pair[n] for pair in user] for user in want]) for n in (0, 1))
    return tastes, log, jnp.asarray(precision, jnp.float32), mean, curvature


def posterior(tastes, precision, start: np.ndarray, chunks: Rows) -> Users:
    return jax.jit(user_posterior)(
        tastes.item_vectors, tastes.item_logits, precision, jnp.asarray(start, jnp.float32), chunks
    )


def test_the_posterior_is_that_of_penalised_logistic_regression() -> None:
    tastes, log, precision, mean, curvature = posterior_case()
    start = mean + 0.1 * np.random.default_rng(0).normal(size=mean.shape)  # the fit hands over a value near it
    users = posterior(tastes, precision, start, padded(rows_of(log)))
    np.testing.assert_allclose(users.mean, mean, atol=2e-5)
    np.testing.assert_allclose(users.precision, curvature, rtol=2e-5, atol=2e-5)


def test_chunks_and_padding_change_no_posterior() -> None:
    tastes, log, precision, mean, _ = posterior_case()
    rows = rows_of(log)
    one = posterior(tastes, precision, mean, Rows(*(x[None] for x in rows)))
    cut = Rows(
        *(
            jnp.concatenate([x, jnp.full((2, *x.shape[1:]), fill, x.dtype)]).reshape(4, 5, *x.shape[1:])
            for x, fill in zip(rows, (-1, 0, 1, 0), strict=True)
        )
    )
    many = posterior(tastes, precision, mean, cut)
    np.testing.assert_allclose(many.mean, one.mean, atol=1e-6)
    np.testing.assert_allclose(many.precision, one.precision, rtol=1e-6)


def test_who_has_fewer_rows_is_less_known_and_who_has_none_has_the_prior() -> None:
    lengths = (64, 16, 4, 1, 0)
    tastes, log, precision, mean, _ = posterior_case(lengths)
    users = posterior(tastes, precision, mean, padded(rows_of(log)))
    variance = np.trace(np.linalg.inv(users.precision), axis1=-2, axis2=-1)  # [U, F]
    assert (np.diff(variance, axis=0) > 0).all()
    np.testing.assert_array_equal(users.mean[-1], np.zeros((2, 3)))
    np.testing.assert_array_equal(users.precision[-1], np.broadcast_to(np.diag([1.0, 3.0, 3.0]), (2, 3, 3)))


def test_the_population_has_the_spread_of_the_means_and_the_mean_of_the_variances() -> None:
    # Users 0 and 2 have rows: means 1 and 3, variances 1/2 and 1/4; the one without rows counts for nothing.
    users = Users(jnp.array([1.0, 50.0, 3.0]).reshape(3, 1, 1), jnp.array([2.0, 1.0, 4.0]).reshape(3, 1, 1, 1))
    belief = population_of(users, jnp.array([True, False, True]))
    np.testing.assert_allclose(belief.mean, [[2.0]])
    np.testing.assert_allclose(belief.covariance, [[[1.0 + 0.375]]])


def test_draws_have_the_posteriors_mean_and_the_calibrated_share_of_its_covariance() -> None:
    count, link = 20_000, Link(*(jnp.full(2, x) for x in (1.0, 0.0, 0.0, 1.0)), jnp.array([1.0, 0.25]))
    tastes, _, _, mean, curvature = posterior_case((12, 2))
    users = Users(jnp.asarray(mean, jnp.float32), jnp.asarray(curvature, jnp.float32))
    drawn = with_draws(tastes.replace(link=link), users, count, seed=0)
    assert drawn.draws.shape == (count, 2, 2, 3)
    np.testing.assert_array_equal(drawn.means, users.mean)
    for user, kind in np.ndindex(2, 2):
        want = np.linalg.inv(curvature[user, kind]) * (1.0, 0.25)[kind]
        draws, sd = np.asarray(drawn.draws[:, user, kind], np.float64), np.sqrt(np.diag(want))
        assert (np.abs(draws.mean(0) - mean[user, kind]) < 5 * sd / count**0.5).all()
        error = np.outer(sd, sd) * (2 / count) ** 0.5  # of a covariance, at most
        assert (np.abs(np.cov(draws.T) - want) < 5 * error).all()


def predicted(tastes, log: Log, rows: np.ndarray) -> np.ndarray:
    logits = logits_of(tastes, tastes.means[log.user[rows]], jnp.asarray(log.item[rows])[:, None])[:, 0]
    return np.asarray(probabilities(tastes, logits))


@pytest.fixture(scope="module")
def fitted():
    log, vectors, p = known_people()
    held = log.time >= 20  # the last five rows of everybody
    return log, vectors, p, held, fit_tastes(log.take(~held), vectors, SMALL, seed=0)


def test_known_tastes_are_found_again_and_rank_better_than_popularity(fitted) -> None:
    log, _, p, held, (tastes, report) = fitted
    rows = np.flatnonzero(held)
    got = predicted(tastes, log, rows)
    for kind in range(2):
        train = log.take(~held)
        count = np.maximum(np.bincount(train.item, minlength=log.num_items), 1)
        mean = np.bincount(train.item, train.feedback[:, kind], log.num_items) / count
        labels = log.feedback[rows, kind]
        best = auc(labels, p[rows, kind])
        assert auc(labels, got[:, kind]) > auc(labels, mean[log.item[rows]]) + 0.15
        assert auc(labels, got[:, kind]) > best - 0.08
    assert np.abs(got - p[rows]).mean() < 0.15
    assert report["strengths"] == base_strengths(SMALL)._asdict()
    assert set(report["held_out"]) == {"liked", "disliked"} and report["held_out"]["liked"]["auc"] > 0.7
    assert tastes.draws.shape == (2, 80, 2, 3) and tastes.means.shape == (80, 2, 3)


def test_without_texts_tastes_come_from_the_log_alone(fitted) -> None:
    log, _, _, held, _ = fitted
    config = dataclasses.replace(SMALL, item_strength=1.0, steps=400)
    tastes, _ = fit_tastes(log.take(~held), None, config, seed=0)
    rows = np.flatnonzero(held)
    assert auc(log.feedback[rows, 0], predicted(tastes, log, rows)[:, 0]) > 0.7


def test_tastes_for_items_without_rows_follow_their_other_features(fitted) -> None:
    log, vectors, p, *_ = fitted
    unseen = log.item >= 30
    got = {}
    for name, others in {"none": (), "own": (vectors,)}.items():
        tastes, _ = fit_tastes(log.take(~unseen), None, SMALL, seed=0, others=others)
        got[name] = auc(log.feedback[unseen, 0], predicted(tastes, log, np.flatnonzero(unseen))[:, 0])
    assert got["own"] > auc(log.feedback[unseen, 0], p[unseen, 0]) - 0.15 and got["own"] > got["none"] + 0.15


def test_features_of_items_are_texts_others_and_the_number_of_rows() -> None:
    log, vectors, _ = known_people()
    blocks = np.arange(40.0)[:, None], np.eye(2)[np.arange(40) % 2]
    got = item_features(vectors, log, 8, blocks)
    np.testing.assert_array_equal(got[:, :2], text_features(vectors, 40, 8))
    # The standardised ramp: (n - 19.5) / sqrt((40^2 - 1) / 12), up to its sign.
    np.testing.assert_allclose(np.abs(got[:, 2]), np.abs(np.arange(40) - 19.5) / (1599 / 12) ** 0.5, rtol=1e-5)
    np.testing.assert_allclose(np.abs(got[:, 3:5]), np.tile([1.0, 0.0], (40, 1)), atol=1e-5)  # one axis: either or
    assert got.shape == (40, 2 + 1 + 2 + 1)
    np.testing.assert_array_equal(got[:, [0, 1, -1]], item_features(vectors, log, 8))


def test_features_of_untouched_items_are_those_of_their_texts_and_of_the_rarest_item() -> None:
    log, vectors, _ = known_people()
    log = log.take((log.item != 3) | (log.user < 2))  # item 3 is the rarest
    more = dataclasses.replace(log, num_items=42, untouched=2)
    blocks = np.arange(42.0)[:, None]
    blocks[40:, 0] = [3, 12]
    got = item_features(np.concatenate([vectors, vectors[[3, 12]]]), more, 8, [blocks])
    np.testing.assert_array_equal(got[:40], item_features(vectors, log, 8, [blocks[:40]]))
    np.testing.assert_allclose(got[40], got[3], atol=1e-5)
    np.testing.assert_allclose(got[41], [*got[12, :-1], got[3, -1]], atol=1e-5)


def test_untouched_items_are_scored_by_their_features_alone() -> None:
    """Without terms of single items, an untouched item is what its text says, like the rarest item of that text."""
    log, vectors, _ = known_people(users=30)
    log = log.take((log.item != 3) | (log.user < 2))
    config = dataclasses.replace(SMALL, item_strength=1e5, item_bias_strength=1e5)
    more = dataclasses.replace(log, num_items=41, untouched=1)
    tastes, _ = fit_tastes(more, np.concatenate([vectors, vectors[[3]]]), config, seed=0)
    np.testing.assert_allclose(tastes.item_vectors[40], tastes.item_vectors[3], atol=2e-3)
    np.testing.assert_allclose(tastes.item_logits[40], tastes.item_logits[3], atol=2e-3)
    assert float(jnp.abs(tastes.item_vectors).max()) > 0.1
    everyone = np.asarray(all_logits(tastes, tastes.means))
    np.testing.assert_allclose(everyone[:, 40], everyone[:, 3], atol=0.02)


def test_the_same_seed_repeats_the_fit_and_another_draws_otherwise(fitted) -> None:
    log, vectors, _, held, (tastes, report) = fitted
    again, report_again = fit_tastes(log.take(~held), vectors, SMALL, seed=0)
    jax.tree.map(np.testing.assert_array_equal, again, tastes)
    assert report_again == report
    other, _ = fit_tastes(log.take(~held), vectors, SMALL, seed=1)
    assert (np.asarray(other.draws) != np.asarray(tastes.draws)).all()


def test_the_strengths_that_the_search_finds_are_taken(
    fitted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The fit reports what `search` found: strengths so wrong that a step of the search must improve on them."""
    log, vectors, *_ = fitted
    wrong = dataclasses.replace(SMALL, search=True, user_strength=64.0, steps=80)
    _, report = fit_tastes(log, vectors, wrong, seed=0)
    assert report["strengths"]["user"] == 16.0  # a quarter
    _, kept = fit_tastes(log, vectors, dataclasses.replace(wrong, search=False), seed=0)
    assert kept["strengths"]["user"] == 64.0
    assert report["held_out"]["liked"]["log_loss"] < kept["held_out"]["liked"]["log_loss"]
    _, given = fit_tastes(log, vectors, wrong, seed=0, strengths=BASE)
    assert given["strengths"] == BASE._asdict()


def test_text_features_are_principal_components_of_mean_square_length_one() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 5)) * np.array([5.0, 3.0, 1.0, 0.1, 0.1]) + 7.0
    got = text_features(vectors, 30, 2)
    assert got.shape == (30, 2)
    assert (got**2).sum(1).mean() == pytest.approx(1.0, rel=1e-5)
    np.testing.assert_allclose(got.mean(0), np.zeros(2), atol=1e-6)
    centred = vectors - vectors.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    want = centred @ axes[:, ::-1][:, :2]
    want /= np.sqrt((want**2).sum(1).mean())
    np.testing.assert_allclose(np.abs(got), np.abs(want), atol=1e-5)
    assert text_features(None, 4, 2).shape == (4, 0)
    np.testing.assert_array_equal(text_features(np.ones((4, 3)), 4, 2), np.zeros((4, 2)))


@pytest.mark.parametrize(
    ("value", "seen"), [(1.0, "one value, 1, in all 12 rows"), (0.0, "one value, 0, in all 12 rows")]
)
def test_a_kind_with_a_single_value_is_refused_in_one_line(value: float, seen: str) -> None:
    log = random_log(np.array([6, 6]), items=4)
    log.feedback[:, 1] = value
    ones = np.zeros(2, bool)  # of a log whose other rows have both values
    with pytest.raises(InputError, match=rf"data\.feedback\.disliked: {seen}, so no tastes can be fitted") as caught:
        fit_tastes(log, None, SMALL, seed=0, ones=ones)
    assert "\n" not in str(caught.value)


def test_a_log_without_rows_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"data\.feedback\.liked: no rows, so no tastes can be fitted"):
        fit_tastes(random_log(np.array([0, 0]), items=4), None, SMALL, seed=0)


@pytest.mark.parametrize("lengths", [np.ones(30, int), np.array([1, 2, 3, 0, 40])])
def test_users_of_one_row_and_of_none_are_fitted(lengths: np.ndarray) -> None:
    log = random_log(lengths, items=5)
    tastes, report = fit_tastes(log, None, SMALL, seed=0)
    assert tastes.draws.shape == (2, len(lengths), 2, 3)
    held = report["held_out"]["liked"]  # every user keeps a row, so users of one row have none to hold out
    assert held["rows"] > 0 if max(lengths) > 1 else held == {"rows": 0, "log_loss": None, "auc": None, "ece": None}
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(tastes))


def test_a_log_of_one_item_is_fitted_by_the_users_biases() -> None:
    lengths = np.full(20, 10)
    log = dataclasses.replace(random_log(lengths, items=1), feedback=np.tile(np.eye(2, dtype=np.float32), (100, 1)))
    log.feedback[:100] = [1.0, 0.0]  # ten people who always like it; the others do every second time
    tastes, _ = fit_tastes(log, np.ones((1, 3), np.float32), SMALL, seed=0)
    p = predicted(tastes, log, np.arange(200))[:, 0].reshape(20, 10)[:, 0]
    assert p[:10].min() > p[10:].max()
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(tastes))
