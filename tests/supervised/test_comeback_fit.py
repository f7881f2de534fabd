import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.config.logged import ComebackConfig
from jaxrec.data import Log
from jaxrec.supervised.comeback import ComebackModel, comeback_chance, day_log_probabilities, draw_day
from jaxrec.supervised.comeback_fit import (
    comebacks_of,
    fit_comebacks,
    fit_weights,
    mean_day,
    states_after,
    taste_states,
)
from tests.constant_users import constant_response
from tests.tiny_tastes import random_tastes

DAY, NOON = 86_400, 1_500_000_000
CONFIG = ComebackConfig()


def test_mean_days_follow_the_truncated_geometric() -> None:
    np.testing.assert_allclose(mean_day(np.array([0.4, 0.25], np.float32)), [2.44, 3.40], atol=0.005)
    p, q = 0.3, 0.7
    want = np.log([p * q**d / (1 - q**10) for d in range(10)])
    np.testing.assert_allclose(day_log_probabilities(jnp.asarray(p)), want, rtol=1e-5)


def test_drawn_days_have_their_probabilities() -> None:
    chance = jnp.asarray(0.25)
    uniform = (jnp.arange(100_000, dtype=jnp.float32) + 0.5) / 100_000
    days = np.asarray(jax.vmap(draw_day, in_axes=(None, 0))(chance, uniform))
    assert (days.min(), days.max()) == (1, 10)
    np.testing.assert_allclose(np.bincount(days)[1:] / len(days), np.exp(day_log_probabilities(chance)), atol=1e-4)
    assert int(draw_day(chance, jnp.asarray(1 - 1e-7))) == 10


def test_the_chance_is_worked_by_hand_and_stays_inside() -> None:
    v = jnp.array([[0.1, -0.2], [0.3, 0.0]])
    model = ComebackModel(v, jnp.array([0.05, -0.01]), jnp.asarray(0.1), jnp.asarray(0.4), source="log")
    z = jnp.array([[1.0, 1.0], [0.5, 2.0]])  # members: .1 - .2 + .05 = -.05; .15 - .01 = .14
    np.testing.assert_allclose(comeback_chance(model, z, jnp.asarray(0.5)), 0.045 + 0.05 + 0.4, rtol=1e-5)
    np.testing.assert_allclose(comeback_chance(model, z * 100, jnp.asarray(0.0)), 0.999)
    np.testing.assert_allclose(comeback_chance(model, -z * 100, jnp.asarray(0.0)), 0.001)


def test_known_parameters_are_found_again() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(12_000, 3)).astype(np.float32) * np.array([1.0, 0.5, 2.0], np.float32) + 0.3
    v, c = np.array([0.08, -0.1, 0.0]), -0.05
    satisfaction = rng.random(len(z)).astype(np.float32)
    chance = np.clip(z @ v + c + 0.1 * satisfaction + 0.4, 0.001, 0.999).astype(np.float32)
    days = np.asarray(jax.vmap(draw_day)(jnp.asarray(chance), jnp.asarray(rng.random(len(z)), jnp.float32)))
    got_v, got_c = fit_weights(z, satisfaction, days, CONFIG, 0)
    np.testing.assert_allclose(got_v, v, atol=0.02)
    np.testing.assert_allclose(got_c, c, atol=0.02)


def make_log(users: int, pauses: tuple[float, ...], rows: int = 3) -> Log:
    """Sessions of `rows` rows a minute apart, `pauses` days between them; every second row is liked."""
    clock = np.concatenate([[0.0], np.cumsum(pauses)]) * DAY
    times = (clock[:, None] + 60 * np.arange(rows)).astype(np.int64)
    times[1:] += np.arange(1, len(clock))[:, None] * 60 * (rows - 1)  # pauses run from last row to first row
    time = np.tile(NOON + times.reshape(-1), users)
    each = times.size
    return Log(
        user=np.repeat(np.arange(users), each).astype(np.int32),
        item=np.tile(np.arange(each) % 10, users).astype(np.int32),
        time=time,
        feedback=(np.arange(users * each) % 2).astype(np.float32)[:, None],
        feedback_names=("liked",),
        num_users=users,
        num_items=10,
    )


def test_returns_are_pauses_between_sessions_of_one_user() -> None:
    log = make_log(2, (0.01, 1.0, 40.0, 1.001, 8.9, 9.9))  # the first is no pause, the third too long
    found = comebacks_of(log, 0.5, (2.0,), slate_size=2)
    assert found is not None
    assert found.day.tolist() == [1, 2, 9, 10] * 2
    assert found.user.tolist() == [0] * 4 + [1] * 4
    assert (found.end - log.offsets[found.user]).tolist() == [6, 12, 15, 18] * 2
    # The two last rows of every session: one of them is liked, at weight 2.
    np.testing.assert_allclose(found.satisfaction, 1.0)
    assert [len(x.day) for x in (comebacks_of(log, 24 * 5, (2.0,), 2),) if x] == [2 * 2]
    assert comebacks_of(dataclasses.replace(log, time=np.arange(len(log))), 0.5, (2.0,), 2) is None


def test_weights_come_from_the_log_or_are_seeded_and_the_report_says_which() -> None:
    states = partial(states_after, constant_response([0.5], 10))
    log = make_log(40, (2.5, 2.5, 6.5))
    model, report = fit_comebacks([states, states], log, CONFIG, (1.0,), 2, 0)
    assert (model.source, report["source"], report["comebacks"]) == ("log", "log", 120)
    assert model.v.shape == (2, 4) and model.c.shape == (2,)
    # Constant states: one P for everybody, apart from liking, which is .5 or less everywhere.
    assert report["fitted_mean_day"] == pytest.approx(report["logged_mean_day"], rel=0.05)
    assert report["nll"] == pytest.approx(report["nll_one_chance"], abs=0.02)
    for sparse, why in (
        (make_log(9, (2.5,)), "9 users came back"),
        (dataclasses.replace(log, time=np.arange(len(log))), "no"),
    ):
        seeded, report = fit_comebacks([states], sparse, CONFIG, (1.0,), 2, seed=3)
        again, _ = fit_comebacks([states], sparse, CONFIG, (1.0,), 2, seed=3)
        assert (seeded.source, report["source"], report["seed"]) == ("seed", "seed", 3)
        assert why in report["why"]
        np.testing.assert_array_equal(seeded.v, again.v)
        assert np.asarray(seeded.v).any() and not np.asarray(seeded.c).any()


def test_states_are_those_after_the_session() -> None:
    log = make_log(3, (2.0,))
    found = comebacks_of(log, 0.5, (1.0,), 2)
    assert found is not None
    z = states_after(constant_response([0.5], 10), log, found)
    assert z.shape == (3, 4)


def test_the_state_of_people_with_tastes_is_their_mean_whatever_they_saw() -> None:
    log = make_log(3, (2.0, 2.0))
    found = comebacks_of(log, 0.5, (1.0,), 2)
    means = jnp.arange(18.0).reshape(3, 2, 3)  # [U, F, D]
    assert found is not None and found.user.tolist() == [0, 0, 1, 1, 2, 2]
    z = taste_states(random_tastes(4, 2).replace(means=means))(log, found)
    np.testing.assert_array_equal(z, np.repeat(np.arange(18.0).reshape(3, 6), 2, axis=0))
