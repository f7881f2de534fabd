"""Items are fitted to what is believed of users: sums worked by hand, and exceptions that are not there."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrec.config.tastes import TastesConfig
from jaxrec.data.log import Log
from jaxrec.nets.exposure import FEW
from jaxrec.nets.tastes import all_logits, design, probabilities
from jaxrec.supervised.contrast import DrawnItems, drawing_for
from jaxrec.supervised.taste_blocks import BLOCK, in_blocks
from jaxrec.supervised.taste_optimum import first_params, item_priors, item_side, most_likely
from jaxrec.supervised.taste_posterior import (
    Rows,
    Users,
    doubt_about_users,
    filled_up,
    in_chunks,
    padded,
    rows_of,
)
from jaxrec.supervised.taste_strengths import base_strengths
from jaxrec.supervised.tastes_fit import fit_tastes
from jaxrec.types import PADDING, Array

SMALL = TastesConfig(
    width=8,
    text_components=24,
    user_strength=2.0,
    text_strength=2.0,
    search=False,
    effects=False,
    exposure_strength=0.0,
)
USERS, TOPICS, PER_TOPIC, ROWS = 80, 6, 30, 40
ITEMS = TOPICS * PER_TOPIC


def users_of(rng: np.random.Generator, count: int, kinds: int, size: int) -> Users:
    roots = rng.normal(size=(count, kinds, size, size))
    mean = rng.normal(size=(count, kinds, size))
    return Users(jnp.asarray(mean, jnp.float32), jnp.asarray(roots @ roots.swapaxes(-1, -2) + 2 * np.eye(size)))


def expected_sums(vectors, logits, users: Users, pairs: list[tuple]) -> np.ndarray:
    """Row by row; pairs are (user, item, offset [F], which kinds count [F])."""
    size, covariance = users.mean.shape[-1], np.linalg.inv(np.asarray(users.precision, np.float64))
    out = np.zeros((len(vectors), size, size))
    for user, item, offset, counts in pairs:
        z = np.asarray(logits)[item] + offset + np.asarray(users.mean)[user] @ np.asarray(design(vectors))[item]
        p = 1 / (1 + np.exp(-z))
        out[item] += np.einsum("f,fde->de", p * (1 - p) * counts, covariance[user])
    return out


def test_doubt_is_summed_over_the_rows_of_an_item_and_those_it_is_drawn_for() -> None:
    rng = np.random.default_rng(0)
    users, vectors = users_of(rng, 3, 2, 3), jnp.asarray(rng.normal(size=(4, 2)), jnp.float32)
    logits = jnp.asarray(rng.normal(size=(4, 2)), jnp.float32)
    user, item = np.array([0, 0, 1, 2, 2], np.int32), np.array([1, 3, 1, 0, 1], np.int32)
    offset = rng.normal(size=(5, 2)).astype(np.float32)
    rows = Rows(user, item, np.zeros((5, 2), np.float32), offset)
    pairs = [(user[n], item[n], offset[n], np.ones(2)) for n in range(5)]
    given = padded(rows)
    given = Rows(*(np.concatenate([x, np.full_like(x, fill)]) for x, fill in zip(given, (-1, 0, 0, 0), strict=True)))
    np.testing.assert_allclose(
        doubt_about_users(vectors, logits, users, given), expected_sums(vectors, logits, users, pairs), rtol=1e-4
    )

    times = np.arange(5)
    log = Log(user, item, times, np.stack([np.ones(5), times % 2], 1), ("bought", "liked"), 3, 4)
    drawing = drawing_for(log, np.array([True, False]), 2)
    assert drawing is not None
    drawn = np.array([[0, 2], [2, PADDING], [0, 0], [3, 2], [PADDING, PADDING]], np.int32)
    pairs += [(user[n], i, 0.0, np.array([1.0, 0.0])) for n in range(5) for i in drawn[n] if i != PADDING]
    found = doubt_about_users(
        vectors, logits, users, padded(rows), DrawnItems(jnp.asarray(in_chunks(drawn, PADDING)), drawing)
    )
    np.testing.assert_allclose(found, expected_sums(vectors, logits, users, pairs), rtol=1e-4)


def test_half_of_the_doubt_is_what_it_adds_to_the_expected_loss() -> None:
    """For a row whose logit is uncertain by little, against draws of its user."""
    rng = np.random.default_rng(1)
    users = users_of(rng, 1, 1, 3)
    users = users._replace(precision=users.precision * 10)
    vectors = jnp.asarray(rng.normal(size=(1, 2)), jnp.float32)
    rows = Rows(np.zeros(1, np.int32), np.zeros(1, np.int32), np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32))
    x = np.asarray(design(vectors))[0]
    added = 0.5 * x @ np.asarray(doubt_about_users(vectors, jnp.zeros((1, 1)), users, padded(rows)))[0] @ x
    spread = np.sqrt(x @ np.linalg.inv(np.asarray(users.precision)[0, 0]) @ x)
    mean = float(np.asarray(users.mean)[0, 0] @ x)
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    losses = np.log1p(np.exp(-(mean + spread * nodes)))
    expected = (weights * losses).sum() / weights.sum() - np.log1p(np.exp(-mean))
    assert abs(added - expected) < 0.1 * expected


def topics_log(seed: int) -> tuple[Log, np.ndarray, np.ndarray]:
    """People who like two topics of six; texts [I, E] with words that mean nothing, and the true chances [U, I]."""
    rng = np.random.default_rng(seed)
    topic = np.arange(ITEMS) % TOPICS
    likes = np.argsort(rng.random((USERS, TOPICS)), 1)[:, :2]
    truth = np.where((topic[None, :, None] == likes[:, None]).any(-1), 0.85, 0.1)
    texts = np.concatenate([np.eye(TOPICS)[topic], 0.15 * rng.normal(size=(ITEMS, 20))], 1)
    item = np.stack([rng.permutation(ITEMS)[:ROWS] for _ in range(USERS)])
    user = np.repeat(np.arange(USERS), ROWS).astype(np.int32)
    liked = rng.random(len(user)) < truth[user, item.ravel()]
    log = Log(user, item.ravel().astype(np.int32), np.arange(len(user)), liked[:, None] * 1.0, ("liked",), USERS, ITEMS)
    return log, texts, truth


def test_the_best_of_what_is_disliked_is_taken_for_less_of_an_exception() -> None:
    """Among items that a person dislikes, those with the largest predictions are liked no more than the others."""
    log, texts, truth = topics_log(0)
    promised, errors = {}, {}
    for rounds in (0, 3):
        config = dataclasses.replace(SMALL, rounds=rounds, steps=300)  # to the end of the fits
        tastes, _ = fit_tastes(log, texts, config, 0)
        p = np.asarray(probabilities(tastes, all_logits(tastes, tastes.means))[..., 0])
        disliked = np.sort(np.where(truth < 0.5, p, 0.0), axis=1)
        promised[rounds], errors[rounds] = disliked[:, -6:].mean(), np.sqrt(np.mean((p - truth) ** 2))
    assert errors[3] < 0.9 * errors[0]
    assert promised[3] - 0.1 < 0.8 * (promised[0] - 0.1)


def test_no_doubt_about_users_changes_nothing() -> None:
    """Users who are known exactly add nothing, so the fit is the most likely one."""
    users = users_of(np.random.default_rng(2), 2, 1, 3)
    sure = users._replace(precision=users.precision * 1e12)
    rows = Rows(np.array([0, 1]), np.array([0, 0]), np.ones((2, 1)), np.zeros((2, 1)))
    doubt = doubt_about_users(jnp.ones((1, 2)), jnp.zeros((1, 1)), sure, padded(rows))
    assert float(jnp.abs(doubt).max()) < 1e-10


def small_fit(kinds: int = 1) -> tuple[Log, Rows, Array, TastesConfig]:
    """19 rows of 5 of 6 users, in no order of items, and features of the items."""
    rng = np.random.default_rng(2)
    user, item = np.sort(rng.integers(0, 5, 19)), rng.integers(0, 6, 19)
    answers = rng.integers(0, 2, (19, kinds)).astype(np.float32)
    log = Log(user, item, np.arange(19), answers, ("liked", "shared")[:kinds], 6, 6)
    features = jnp.asarray(rng.normal(size=(6, 3)), jnp.float32)
    offsets = rng.normal(size=(19, kinds)).astype(np.float32)
    return log, rows_of(log, offsets), features, dataclasses.replace(SMALL, width=2, steps=40, exposure_strength=1.0)


def test_padding_changes_no_prior() -> None:
    """19 rows are filled up to 20, and tell what they tell as they are."""
    log, rows, features, config = small_fit()
    filled = filled_up(rows)
    assert len(filled.user) == 20
    vectors = item_side(first_params(log, 3, config, 0, None), features, None)[0]
    weights = jnp.asarray(np.random.default_rng(3).normal(size=(1, 2, 2)), jnp.float32)
    plain, other = (item_priors(vectors, given, weights, log.num_users) for given in (rows, filled))
    np.testing.assert_allclose(other.means, plain.means, atol=1e-6)
    np.testing.assert_allclose(other.centre, plain.centre, atol=1e-6)
    np.testing.assert_allclose(other.own[:19], plain.own, atol=1e-6)


def test_blocks_hold_every_row_once_with_those_of_its_user() -> None:
    _, rows, _, _ = small_fit(kinds=2)
    shuffled = np.random.default_rng(4).permutation(19)
    blocks = in_blocks(filled_up(Rows(*(np.asarray(x)[shuffled] for x in rows))))
    place = np.argwhere(blocks.real > 0)
    got = [
        (int(blocks.user[n]), int(blocks.item[n, b]), *blocks.answer[n, b].tolist(), *blocks.offset[n, b].tolist())
        for n, b in place
    ]
    want = [
        (int(rows.user[r]), int(rows.item[r]), *rows.answer[r].tolist(), *rows.offset[r].tolist()) for r in range(19)
    ]
    assert sorted(got) == sorted(want)
    assert set(np.unique(blocks.real)) == {0.0, 1.0}


def test_an_empty_log_has_only_padding() -> None:
    _, rows, _, _ = small_fit()
    blocks = in_blocks(Rows(*(np.asarray(x)[:0] for x in rows)))
    assert not blocks.real.any()
    assert blocks.item.shape[1:] == (BLOCK,)


@pytest.mark.parametrize("kinds", [1, 2])
def test_blocks_are_fitted_as_rows_one_by_one_are(kinds: int) -> None:
    """The reference has the formulas of the two modules for single rows, and Adam's steps from optax."""
    log, rows, features, config = small_fit(kinds)
    strengths, start = base_strengths(config), first_params(log, 3, config, 0, None)
    others = (rows.user[:, None] == rows.user[None]) & ~np.eye(19, dtype=bool)

    def loss(params: dict[str, Array]) -> Array:
        vectors = (features @ params["text"] + params["item"])[rows.item]
        shared = (features @ params["text"] + jax.lax.stop_gradient(params["item"]))[rows.item]
        off = shared - shared.mean(0, keepdims=True)
        mean = others.astype(jnp.float32) @ off / (others.sum(1) + FEW)[:, None].astype(jnp.float32)
        expected = jnp.einsum("fde,re,rd->rf", params["exposure"], mean, shared)
        z = (features @ params["text_bias"] + params["item_bias"])[rows.item] + params["base"][None]
        z = z + params["user_bias"][rows.user] + rows.offset + expected
        z = z + jnp.einsum("rfd,rd->rf", params["taste"][rows.user], vectors)
        p = jax.nn.sigmoid(z)
        total = -(rows.answer * jnp.log(p) + (1 - rows.answer) * jnp.log(1 - p)).sum()
        names = {"user": ["taste"], "bias": ["user_bias"], "item": ["item"], "item_bias": ["item_bias"]}
        names |= {"text": ["text", "text_bias"], "exposure": ["exposure"]}
        for strength, parts in names.items():
            total += 0.5 * getattr(strengths, strength) * sum((params[part] ** 2).sum() for part in parts)
        return total / (19 * kinds)

    got = most_likely(start, in_blocks(rows), features, strengths, None, config)
    schedule = optax.cosine_decay_schedule(config.learning_rate, config.steps)
    optimiser = optax.adam(schedule)
    params, state = start, optimiser.init(start)
    with jax.numpy_dtype_promotion("standard"):  # optax takes a Python float to the power of an int32 step
        for _ in range(config.steps):
            updates, state = optimiser.update(jax.grad(loss)(params), state)
            params = optax.apply_updates(params, updates)
    for name, values in params.items():
        np.testing.assert_allclose(got[name], values, atol=2e-4, err_msg=name)
