import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxrec.config.logged import LoggedConfig, ResponseConfig, TemperConfig
from jaxrec.data import Log
from jaxrec.data.sessions import ticks_per_second
from jaxrec.envs.logged_world import make_world
from jaxrec.evaluation.replayed import (
    compared,
    feedback_rates,
    ks_distance,
    replay,
    session_lengths,
)
from jaxrec.supervised.calibration import sigmoid
from jaxrec.supervised.response_fit import fit_response, logits_of_rows
from jaxrec.types import World
from tests.tiny_tastes import random_tastes

ITEMS, NOON = 40, 1_500_000_000
CONFIG = LoggedConfig(slate_size=2, requests=3, reward={"liked": 1.0}, response="last_rows")
KEY = jax.random.key(0)


def make_log() -> Log:
    """Sixty users of 1 to 12 rows who like what has an even number."""
    rng = np.random.default_rng(0)
    lengths = np.arange(60) % 12 + 1
    item = np.concatenate([rng.permutation(ITEMS)[:n] for n in lengths])
    liked = rng.random(len(item)) < np.where(item % 2, 0.2, 0.8)
    return Log(
        user=np.repeat(np.arange(60), lengths).astype(np.int32),
        item=item.astype(np.int32),
        time=NOON + np.arange(len(item)) * 60,
        feedback=liked[:, None].astype(np.float32),
        feedback_names=("liked",),
        num_users=60,
        num_items=ITEMS,
    )


@pytest.fixture(scope="module")
def log() -> Log:
    return make_log()


@pytest.fixture(scope="module")
def response(log: Log):
    config = ResponseConfig(history_length=4, width=8, heads=2, epochs=1, batch_size=8)
    return fit_response(log, None, config, seed=0)[0]


def world_of(log: Log, response, probability: float | None = None) -> World:
    """Users who follow the response, or who like everything with one probability."""
    if probability is not None:
        logit = np.log(probability / (1 - probability)) if probability < 1 else 40.0
        response = response.replace(scale=jnp.zeros(1), shift=jnp.full(1, logit, jnp.float32))
    return make_world([response], log, np.eye(ITEMS, dtype=np.float32), ITEMS)


def test_ks_distance_is_the_largest_gap_of_the_distribution_functions() -> None:
    assert ks_distance(np.array([1, 2, 3]), np.array([2, 3, 4])) == pytest.approx(1 / 3)
    assert ks_distance(np.array([1, 1, 1, 5]), np.array([1, 5])) == pytest.approx(0.25)  # .75 against .5 at 1
    assert ks_distance(np.array([0, 1]), np.array([2, 3])) == 1.0
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 9, 70), rng.normal(4, 3, 110)
    assert ks_distance(a, b) == pytest.approx(stats.ks_2samp(a, b).statistic)


def test_what_chance_exceeds_in_one_case_of_twenty() -> None:
    rng = np.random.default_rng(2)
    cases = [compared(rng.random(200), rng.random(300)) for _ in range(1000)]
    assert np.mean([case["ks"] > case["ks_by_chance"] for case in cases]) == pytest.approx(0.05, abs=0.02)


def test_clocks_are_told_by_the_size_of_their_numbers() -> None:
    for ticks in (1, 1000, 10**6, 10**9):
        assert ticks_per_second(np.array([NOON * ticks, 2 * NOON * ticks])) == ticks
    assert ticks_per_second(np.arange(1000)) is None


def test_a_visit_shows_the_users_next_rows_in_order_and_fills_up_from_the_test_rows(log: Log, response) -> None:
    test = log.time > np.quantile(log.time, 0.7)
    last = log.offsets[12] - 2  # the last but one of the 12 rows of user 11
    played = replay(CONFIG, world_of(log, response, 0.5), log, np.array([log.offsets[11], last]), test, KEY)
    np.testing.assert_array_equal(played.rows[0], log.offsets[11] + np.arange(6))
    np.testing.assert_array_equal(played.rows[1, :2], [last, last + 1])
    np.testing.assert_array_equal(played.own, [[True] * 6, [True] * 2 + [False] * 4])
    assert test[played.rows[1, 2:]].all()
    assert played.feedback.shape == (2, 6, 1)


def test_a_visit_begins_with_the_users_real_history(log: Log, response) -> None:
    response = response.replace(scale=jnp.full(1, 3.0), shift=jnp.zeros(1))  # histories matter more
    every, other = np.arange(len(log)), dataclasses.replace(log, feedback=1 - log.feedback)
    want, otherwise = (sigmoid(3.0 * logits_of_rows(response, x, every)[:, 0]) for x in (log, other))
    rows = np.array([np.abs(want - otherwise).argmax(), log.offsets[11]])
    assert abs(want - otherwise)[rows[0]] > 0.12
    played = replay(CONFIG, world_of(log, response), log, np.repeat(rows, 1024), np.ones(len(log), bool), KEY)
    got = played.feedback[:, 0, 0].reshape(2, 1024).mean(1)
    np.testing.assert_allclose(got, want[rows], atol=0.06)  # four standard deviations


def test_visits_of_people_with_tastes_are_those_of_the_persons_given(log: Log) -> None:
    tastes = random_tastes(ITEMS, width=1, kinds=1)
    theta = jnp.zeros((1, log.num_users, 1, 2)).at[..., 0].set(-40.0)  # the fitted users like nothing
    world = make_world(tastes.replace(draws=theta, means=theta[0]), log, np.eye(ITEMS, dtype=np.float32), ITEMS)
    config, starts = dataclasses.replace(CONFIG, response="tastes"), log.offsets[[11, 23, 35]]

    def persons(rows: np.ndarray, key: jax.Array) -> jax.Array:
        np.testing.assert_array_equal(rows, starts)
        return jnp.zeros((len(rows), 1, 2)).at[jnp.array([0, 2]), 0, 0].set(40.0).at[1, 0, 0].set(-40.0)

    test = np.ones(len(log), bool)
    played = replay(config, world, log, starts, test, KEY, persons)
    np.testing.assert_array_equal(played.feedback[..., 0], [[1.0] * 6, [0.0] * 6, [1.0] * 6])
    np.testing.assert_array_equal(played.rows[0], log.offsets[11] + np.arange(6))


def test_feedback_rates_compare_each_users_mean_over_the_same_rows(log: Log, response) -> None:
    test = np.arange(len(log)) >= log.offsets[36]  # all rows of the last 24 users
    rates = feedback_rates(CONFIG, world_of(log, response, 1.0), log, test, KEY)["liked"]
    means = np.array([log.feedback[log.user == user].mean() for user in range(36, 60)])
    assert (rates["users"], rates["rows"]) == (24, int(test.sum()))
    assert rates["logged_mean"] == pytest.approx(means.mean())
    assert rates["simulated_mean"] == 1.0
    assert rates["ks"] == pytest.approx((means < 1).mean())
    again = feedback_rates(CONFIG, world_of(log, response, 0.5), log, test, KEY)["liked"]
    assert again["simulated_mean"] == pytest.approx(0.5, abs=0.15)


def test_logged_visits_end_at_pauses_and_simulated_ones_when_users_leave(log: Log, response) -> None:
    hour = 3600 * (np.arange(len(log)) - log.offsets[log.user] >= 3)  # an hour's pause before the fourth row
    log = dataclasses.replace(log, time=log.time + hour)
    config = dataclasses.replace(CONFIG, slate_size=6, requests=40, leave=TemperConfig())
    test = np.ones(len(log), bool)
    lengths = session_lengths(config, world_of(log, response, 0.5), log, test, KEY)
    # Users of n = 1 to 12 rows, five of each: min(n, 3) rows, then n - 3 where there are more.
    logged = 5 * [x for n in range(1, 13) for x in ([n] if n <= 3 else [3, n - 3])]
    assert lengths["sessions"] == len(logged) == 105
    assert lengths["logged_mean"] == pytest.approx(np.mean(logged))
    assert lengths["most_items"] == 240
    assert lengths["simulated_mean"] / 6 == pytest.approx(13.17, abs=0.3)  # KuaiSim's depth at a click rate of a half
    assert lengths["ks"] == 1.0  # nobody leaves before the twelfth request, at 72 items
    nobody = session_lengths(dataclasses.replace(config, leave=None), world_of(log, response, 0.5), log, test, KEY)
    assert nobody["simulated_mean"] == 240
    assert not nobody["users_leave"]


def test_visits_are_left_out_where_the_log_has_no_clock(log: Log, response) -> None:
    world, test = world_of(log, response, 0.5), np.ones(len(log), bool)
    for time in (np.arange(len(log)), NOON // 86400 * 86400 + 86400 * np.arange(len(log))):
        lengths = session_lengths(CONFIG, world, dataclasses.replace(log, time=time), test, KEY)
        assert "no clock" in lengths["left_out"]
