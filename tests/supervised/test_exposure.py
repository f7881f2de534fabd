"""What the choice of items tells: numbers worked by hand, and people who avoid what they do not like."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.tastes import TastesConfig
from jaxrec.data.log import Log
from jaxrec.nets.belief import expected_after
from jaxrec.nets.exposure import (
    FEW,
    Exposure,
    exposure_of,
    mean_of,
    meet,
    met_by,
    nothing_met,
    of_itself,
    of_other_rows,
    prior_means,
    still_open,
)
from jaxrec.nets.tastes import Belief, all_logits, probabilities
from jaxrec.supervised.taste_path import follow
from jaxrec.supervised.taste_posterior import rows_of
from jaxrec.supervised.tastes_fit import fit_tastes
from tests.tiny_tastes import random_log, random_tastes

VECTORS = jnp.array([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
CENTRE = jnp.array([1.0, 1.0])
SMALL = TastesConfig(width=2, text_components=2, steps=200, draws=2, search=False, effects=False)


def log_of(user: list[int], item: list[int]) -> Log:
    log = random_log(np.bincount(user), items=3)
    return dataclasses.replace(log, item=np.array(item, np.int32))


def exposure(kinds: int, width: int, seed: int = 3) -> Exposure:
    rng = np.random.default_rng(seed)
    weights = jnp.asarray(rng.normal(size=(kinds, width, width)), jnp.float32)
    centre = jnp.asarray(rng.normal(size=width), jnp.float32)
    return Exposure(weights, centre, jnp.tile(jnp.eye(1 + width)[None], (kinds, 1, 1)))


def test_means_of_items_are_worked_by_hand() -> None:
    rows = rows_of(log_of([0, 0, 2], [0, 2, 1]))
    met = met_by(VECTORS, rows, 3, CENTRE)
    np.testing.assert_allclose(met.total, [[2.0, -1.0], [0.0, 0.0], [-1.0, 1.0]])
    np.testing.assert_allclose(met.rows, [2.0, 0.0, 1.0])
    np.testing.assert_allclose(mean_of(met), [[2 / (2 + FEW), -1 / (2 + FEW)], [0, 0], [-1 / (1 + FEW), 1 / (1 + FEW)]])


def test_a_row_is_predicted_from_the_items_of_the_users_other_rows() -> None:
    rows, weights = rows_of(log_of([0, 0, 2], [0, 2, 1])), exposure(2, 2).weights
    tastes, share = of_other_rows(weights, met_by(VECTORS, rows, 3, CENTRE))
    got = jnp.einsum("rfd,rd->rf", tastes[rows.user], VECTORS[rows.item])
    got = got - share[rows.user][:, None] * of_itself(weights, VECTORS, CENTRE)[rows.item]
    # Row 0 is predicted from item 2, row 1 from item 0, and row 2 from nothing.
    means = jnp.array([[2.0 / (1 + FEW), 0.0], [0.0, -1.0 / (1 + FEW)], [0.0, 0.0]])
    want = jnp.einsum("fde,re,rd->rf", weights, means, VECTORS[rows.item])
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_items_met_one_after_the_other_move_the_prior_to_that_of_all() -> None:
    told, rows = exposure(2, 2), rows_of(log_of([0, 0, 0], [0, 2, 2]))
    met, mean = nothing_met(told), jnp.zeros((2, 3))
    np.testing.assert_allclose(still_open(told, met), told.covariance)
    for item in rows.item:
        met, moved = meet(told, met, VECTORS[item])
        mean = mean + moved
    whole = prior_means(told.weights, met_by(VECTORS, rows, 1, told.centre))[0]
    np.testing.assert_allclose(mean[:, 1:], whole, atol=1e-6)
    np.testing.assert_array_equal(mean[:, 0], [0.0, 0.0])
    np.testing.assert_allclose(still_open(told, met), told.covariance * FEW / (FEW + 3), rtol=1e-6)


def test_the_spread_of_prior_means_over_users() -> None:
    means = jnp.array([[[0.0, 1.0, 0.0]], [[0.0, 9.0, 9.0]], [[0.0, -1.0, 2.0]]])  # the second has no rows
    got = exposure_of(jnp.zeros((1, 2, 2)), CENTRE, means, jnp.array([True, False, True])).covariance
    np.testing.assert_allclose(got, [[[0.0, 0.0, 0.0], [0.0, 1.0, -1.0], [0.0, -1.0, 1.0]]])


def test_rows_are_expected_from_the_items_of_earlier_rows() -> None:
    """With a population of no variance, answers teach nothing, and what is left are the items."""
    tastes, told, log = random_tastes(items=5, width=2), exposure(2, 2), random_log(np.array([4]), items=5)
    tastes = tastes.replace(
        population=Belief(tastes.population.mean, jnp.zeros((2, 3, 3))),
        exposure=told.replace(covariance=jnp.zeros((2, 3, 3))),
    )
    vectors, weights, centre = (np.asarray(x) for x in (tastes.item_vectors, told.weights, told.centre))
    bias, taste = np.asarray(tastes.population.mean)[:, 0], np.asarray(tastes.population.mean)[:, 1:]
    want = []
    for row in range(4):
        mean = (vectors[log.item[:row]] - centre).sum(0) / (row + FEW)
        want.append(tastes.item_logits[log.item[row]] + bias + (taste + weights @ mean) @ vectors[log.item[row]])
    got = follow(tastes, log, np.arange(4))
    np.testing.assert_allclose(got.logits.mean, want, rtol=1e-4, atol=1e-5)
    after = expected_after(tastes, jnp.asarray(log.item[:3]), jnp.asarray(log.feedback[:3]), None)
    np.testing.assert_allclose(after[log.item[3]], got.probabilities[3], rtol=1e-4)


def test_items_that_a_recommender_chose_tell_only_by_their_answers() -> None:
    tastes, log = random_tastes(items=5, width=2), random_log(np.array([4]), items=5)
    tastes = tastes.replace(population=Belief(tastes.population.mean, jnp.zeros((2, 3, 3))), exposure=exposure(2, 2))
    items, answers = jnp.asarray(log.item), jnp.asarray(log.feedback)
    padded_items, padded_answers = jnp.r_[-1, items[:2]].astype(jnp.int32), jnp.zeros((3, 2)).at[1:].set(answers[:2])
    shown = expected_after(tastes, items, answers, None, 2)
    np.testing.assert_allclose(shown, expected_after(tastes, padded_items, padded_answers, None), rtol=1e-5)
    assert np.abs(np.asarray(shown) - np.asarray(expected_after(tastes, items, answers, None))).max() > 0.01


def test_items_before_the_first_row_are_as_uncertain_as_those_of_all_users() -> None:
    tastes, log = random_tastes(items=5, width=2), random_log(np.array([3]), items=5)
    told = exposure(2, 2)
    plain, open_ = (follow(x, log, np.arange(3)) for x in (tastes, tastes.replace(exposure=told)))
    x = np.concatenate([np.ones((3, 1)), np.asarray(tastes.item_vectors)[log.item]], axis=1)
    added = np.asarray(open_.logits.variance) - np.asarray(plain.logits.variance)
    np.testing.assert_allclose(added[0], (x[0] @ x[0]).repeat(2), rtol=1e-4)


def choosy_people(users: int = 150, rows: int = 12, seed: int = 0) -> tuple[Log, np.ndarray, np.ndarray]:
    """People who like one of two sorts of items, and choose nine of ten items of it -> log, item vectors, sort [U]."""
    rng = np.random.default_rng(seed)
    sort = np.arange(40) % 2
    vectors = np.eye(2)[sort] + 0.01 * rng.normal(size=(40, 2))
    liked = rng.integers(0, 2, users)
    items, answers = [], []
    for own in liked:
        chance = np.where(sort == own, 0.9, 0.1)
        chosen = rng.choice(40, rows, replace=False, p=chance / chance.sum())
        items.append(chosen)
        answers.append(rng.random(rows) < np.where(sort[chosen] == own, 0.7, 0.1))
    log = random_log(np.full(users, rows), items=40, kinds=1)
    answers = np.concatenate(answers).astype(np.float32)[:, None]
    return dataclasses.replace(log, item=np.concatenate(items).astype(np.int32), feedback=answers), vectors, liked


def test_what_people_avoid_is_not_expected_to_be_liked() -> None:
    log, vectors, liked = choosy_people()
    found = {}
    for strength in (0.0, 3.0):
        tastes, report = fit_tastes(log, vectors, dataclasses.replace(SMALL, exposure_strength=strength), seed=0)
        assert tastes.draws is not None
        p = np.asarray(probabilities(tastes, all_logits(tastes, tastes.draws)))[..., 0].mean(0)  # [U, I]
        sort = np.arange(40) % 2
        found[strength] = p[sort[None] != liked[:, None]].mean(), report["held_out"]["liked"]["log_loss"]
    assert abs(found[3.0][0] - 0.1) < 0.6 * abs(found[0.0][0] - 0.1)  # the truth is .1
    assert found[3.0][1] < found[0.0][1]


def test_kinds_that_are_always_1_learn_nothing_from_items_beside_their_answer() -> None:
    log, vectors, _ = choosy_people(users=20)
    successes = dataclasses.replace(log, feedback=np.ones_like(log.feedback))
    assert fit_tastes(successes, vectors, SMALL, seed=0)[0].exposure is None
    both = dataclasses.replace(log, feedback=np.repeat(log.feedback, 2, 1), feedback_names=("liked", "chosen"))
    both.feedback[:, 1] = 1.0
    told = fit_tastes(both, vectors, SMALL, seed=0)[0].exposure
    assert told is not None
    assert np.abs(told.weights[0]).max() > 1e-3
    np.testing.assert_array_equal(told.weights[1], np.zeros((2, 2)))


def test_a_negative_strength_is_refused() -> None:
    with pytest.raises(InputError, match=r"tastes\.exposure_strength"):
        TastesConfig(exposure_strength=-1.0)
