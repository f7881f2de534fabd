"""Beliefs row by row: one step by hand, nothing from the future, and nearly the exact posterior in the end."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.nets.belief import expected_after
from jaxrec.nets.effects import Effects
from jaxrec.nets.tastes import Belief, Tastes, learn_row
from jaxrec.supervised import taste_path
from jaxrec.supervised.calibration import sigmoid
from jaxrec.supervised.taste_path import drawn, follow
from jaxrec.types import PADDING
from tests.tiny_tastes import newton, plain_link, random_log, random_tastes

LENGTHS = np.array([3, 1, 7, 12, 2])


@pytest.mark.parametrize("answer", [0.0, 1.0])
def test_one_row_about_a_bias_is_worked_by_hand(answer: float) -> None:
    population = Belief(jnp.array([[0.3]]), jnp.array([[[2.0]]]))
    tastes = Tastes(jnp.zeros((1, 0)), jnp.array([[0.5]]), plain_link(1), population, feedback_names=("liked",))
    after, logits = learn_row(tastes, population, jnp.asarray(0), jnp.array([answer]))
    np.testing.assert_allclose([logits.mean, logits.variance], [[0.8], [2.0]], rtol=1e-6)
    p = 0.689974  # of .8; the curvature is .689974 x .310026 = .213910
    variance = 1 / (1 / 2 + 0.213910)  # precisions add up: 1.400737
    np.testing.assert_allclose(after.covariance, [[[variance]]], rtol=1e-5)
    np.testing.assert_allclose(after.mean, [[0.3 + variance * (answer - p)]], rtol=1e-4)


def test_a_row_adds_its_curvature_to_the_precision_in_the_direction_of_the_item() -> None:
    tastes = random_tastes(items=4, width=2)
    before = tastes.population
    after, logits = learn_row(tastes, before, jnp.asarray(2), jnp.array([1.0, 0.0]))
    x = np.concatenate([[1.0], np.asarray(tastes.item_vectors[2])])
    for kind, answer in enumerate((1.0, 0.0)):
        mean, covariance = np.asarray(before.mean[kind]), np.asarray(before.covariance[kind])
        z = mean @ x + float(tastes.item_logits[2, kind])
        p = sigmoid(z)
        want = np.linalg.inv(np.linalg.inv(covariance) + p * (1 - p) * np.outer(x, x))
        np.testing.assert_allclose([logits.mean[kind], logits.variance[kind]], [z, x @ covariance @ x], rtol=1e-5)
        np.testing.assert_allclose(after.covariance[kind], want, atol=1e-5)
        np.testing.assert_allclose(after.mean[kind], mean + want @ x * (answer - p), atol=1e-5)


def test_later_rows_change_no_prediction_and_earlier_rows_of_the_user_do() -> None:
    tastes, log = random_tastes(items=9, width=2), random_log(LENGTHS, items=9)
    rows = np.arange(len(log))
    before = follow(tastes, log, rows)
    place = rows - log.offsets[log.user]
    late = place >= 2
    changed = dataclasses.replace(
        log,
        feedback=np.where(late[:, None], 1 - log.feedback, log.feedback),
        item=np.where(late & (place > 2), (log.item + 1) % 9, log.item).astype(np.int32),
    )
    after = follow(tastes, changed, rows)
    same = place <= 2  # row 2 is predicted before its answer is known
    np.testing.assert_array_equal(after.probabilities[same], before.probabilities[same])
    assert (np.abs(after.probabilities - before.probabilities)[~same].max(1) > 1e-4).all()


def test_a_prediction_is_that_of_the_rows_before_one_by_one() -> None:
    tastes, log = random_tastes(items=9, width=2), random_log(LENGTHS, items=9)
    got = follow(tastes, log, np.arange(len(log)), beliefs=True)
    for user in range(len(LENGTHS)):
        belief = tastes.population
        for row in range(log.offsets[user], log.offsets[user + 1]):
            np.testing.assert_allclose(got.beliefs.mean[row], belief.mean, atol=1e-5)
            np.testing.assert_allclose(got.beliefs.covariance[row], belief.covariance, atol=1e-5)
            item, answer = jnp.asarray(log.item[row]), jnp.asarray(log.feedback[row])
            belief, logits = learn_row(tastes, belief, item, answer)
            np.testing.assert_allclose(got.logits.mean[row], logits.mean, atol=1e-5)
            np.testing.assert_allclose(got.logits.variance[row], logits.variance, atol=1e-5)
            p = sigmoid(np.asarray(logits.mean) / np.sqrt(1 + np.pi / 8 * np.asarray(logits.variance)))
            np.testing.assert_allclose(got.probabilities[row], p, atol=1e-5)


def test_a_selection_of_rows_is_predicted_as_all_rows_are() -> None:
    tastes, log = random_tastes(items=9, width=2), random_log(LENGTHS, items=9)
    rows = np.array([1, 3, 4, 8, 9, 22])
    every = follow(tastes, log, np.arange(len(log)))
    np.testing.assert_allclose(follow(tastes, log, rows).probabilities, every.probabilities[rows], atol=1e-6)
    none = follow(tastes, log, np.zeros(0, int))
    assert none.probabilities.shape == none.logits.mean.shape == (0, 2)


def test_neither_the_order_of_users_nor_the_size_of_a_call_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    tastes, log = random_tastes(items=9, width=2), random_log(LENGTHS, items=9)
    want = follow(tastes, log, np.arange(len(log))).probabilities
    order = [3, 0, 4, 2, 1]
    rows = np.concatenate([np.arange(log.offsets[user], log.offsets[user + 1]) for user in order])
    turned = dataclasses.replace(
        log,
        user=np.repeat(np.arange(5), LENGTHS[order]).astype(np.int32),
        item=log.item[rows],
        feedback=log.feedback[rows],
    )
    np.testing.assert_allclose(follow(tastes, turned, np.arange(len(log))).probabilities, want[rows], atol=1e-6)
    monkeypatch.setattr(taste_path, "ROWS_PER_CALL", 1)
    np.testing.assert_allclose(follow(tastes, log, np.arange(len(log))).probabilities, want, atol=1e-6)


def test_after_many_rows_the_belief_is_nearly_the_exact_posterior() -> None:
    tastes, rng = random_tastes(items=50, width=2, kinds=1), np.random.default_rng(3)
    true = np.array([0.5, 1.0, -1.5])
    log = random_log(np.array([801]), items=50, kinds=1)
    x = np.concatenate([np.ones((50, 1)), np.asarray(tastes.item_vectors)], 1)[log.item]
    offset = np.asarray(tastes.item_logits)[log.item, 0]
    log.feedback[:, 0] = rng.random(801) < sigmoid(x @ true + offset)
    prior = np.asarray(tastes.population.mean[0], np.float64)
    known = slice(0, 800)  # what is known before the last row
    mean, precision = newton(x[known], offset[known], log.feedback[known, 0], prior, np.eye(3))
    belief = follow(tastes, log, np.array([800]), beliefs=True).beliefs
    sd = np.sqrt(np.diag(np.linalg.inv(precision)))
    assert (np.abs(np.asarray(belief.mean[0, 0]) - mean) < 0.5 * sd).all()  # half a standard deviation
    np.testing.assert_allclose(np.sqrt(np.diag(belief.covariance[0, 0])), sd, rtol=0.1)
    assert (np.abs(mean - true) < 4 * sd).all()


def test_people_are_drawn_from_beliefs_with_the_calibrated_share_of_the_variance() -> None:
    tastes = random_tastes(items=4, width=1)
    tastes = tastes.replace(link=tastes.link.replace(spread=jnp.array([1.0, 0.25])))
    covariance = np.array([[2.0, 0.6], [0.6, 1.0]], np.float32)
    count, mean = 20_000, np.array([[0.5, -1.0], [2.0, 0.0]], np.float32)
    beliefs = Belief(
        jnp.broadcast_to(jnp.asarray(mean), (count, 2, 2)), jnp.broadcast_to(jnp.asarray(covariance), (count, 2, 2, 2))
    )
    theta = np.asarray(drawn(tastes, beliefs, jax.random.key(0)), np.float64)
    for kind, share in enumerate((1.0, 0.25)):
        sd = np.sqrt(share * np.diag(covariance))
        assert (np.abs(theta[:, kind].mean(0) - mean[kind]) < 5 * sd / count**0.5).all()
        error = np.outer(sd, sd) * (2 / count) ** 0.5
        assert (np.abs(np.cov(theta[:, kind].T) - share * covariance) < 5 * error).all()


@pytest.mark.parametrize("alike_by", [None, "tastes", "groups"])
def test_what_is_expected_after_a_history_is_what_the_next_row_would_be_predicted_with(alike_by: str | None) -> None:
    tastes, log = random_tastes(items=9, width=2), random_log(LENGTHS, items=9)
    if alike_by is not None:
        groups = jnp.eye(4)[jnp.arange(9) % 4] if alike_by == "groups" else None
        numbers = jnp.array([-0.3, 0.2]), jnp.array([1.5, 0.0]), jnp.array([0.9, 0.8])
        tastes = tastes.replace(effects=Effects(*numbers, directions=groups))
    followed = follow(tastes, log, np.arange(len(log))).probabilities
    first = log.offsets[3]
    for length in (0, 1, 5, 11):
        rows = np.arange(first, first + length)
        items, answers = np.full(12, PADDING), np.zeros((12, 2), np.float32)
        if length:
            items[-length:], answers[-length:] = log.item[rows], log.feedback[rows]
        p = expected_after(tastes, jnp.asarray(items), jnp.asarray(answers), None)
        np.testing.assert_allclose(p[log.item[first + length]], followed[first + length], rtol=1e-5)
