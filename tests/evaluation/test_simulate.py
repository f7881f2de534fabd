import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from jaxrec.evaluation.measures import MEASURES, EpisodeTally
from jaxrec.evaluation.simulate import (
    ItemFacts,
    Recommender,
    Simulated,
    Tally,
    make_simulation,
    make_simulations,
    simulated,
)
from jaxrec.ops.vectors import slate_diversity
from jaxrec.types import Array, Env, EnvSpec, Observation, SlateAction, StepOutput, World

ITEMS, SLATE = 4, 2
# Rows at 0, 90, 60 and 180 degrees: cosines 0 (0, 1), 1/2 (0, 2), -1 (0, 3)
ANGLES = np.deg2rad([0, 90, 60, 180])
FACTS = ItemFacts(
    rows=jnp.asarray(np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1), jnp.float32),
    surprise=jnp.array([1.0, 2.0, 3.0, 6.0]),
)
WORLD = World(item_table=jnp.eye(ITEMS))


class User(struct.PyTreeNode):
    luck: Array  # [] drawn at reset
    left: Array  # [] steps until the user leaves


def probe_env(patience: int | None = None, cut: bool = False, offer: bool = False) -> Env:
    """Reward, length and feedback depend on keys only; with `patience` every user leaves after so many steps."""

    def observe(user: User) -> Observation:
        candidates = jnp.array([3, 2, 1, 0], jnp.int32) if offer else None
        return Observation(user=user.luck[None], candidates=candidates)

    def reset(key: Array, world: World) -> tuple[User, Observation]:
        luck = jax.random.uniform(key)
        left = jnp.asarray(patience) if patience else 1 + (luck * 5).astype(jnp.int32)
        user = User(luck, left)
        return user, observe(user)

    def step(key: Array, user: User, action: Array, world: World) -> tuple[User, StepOutput]:
        user = User(user.luck, user.left - 1)
        done, no = user.left <= 0, jnp.asarray(False)
        return user, StepOutput(
            obs=observe(user),
            reward=user.luck + jax.random.uniform(key),
            terminated=no if cut else done,
            truncated=done if cut else no,
            feedback=jnp.zeros((SLATE, 1)),
            final_obs=observe(user),
        )

    size = ITEMS if offer else None
    spec = EnvSpec(
        name="probe",
        action=SlateAction(size=SLATE),
        num_items=ITEMS,
        feedback=("none",),
        user_size=1,
        num_candidates=size,
    )
    return Env(reset, step, WORLD, spec)


def at_random() -> Recommender:
    def choose(arrays: None, key: Array, env_state: object, obs: Observation, world: World) -> Array:
        assert obs.user is not None
        return jax.lax.top_k(jax.random.uniform(key, (obs.user.shape[0], ITEMS)), SLATE)[1]

    return Recommender(choose)


def fixed(slate: Array, key: Array, env_state: object, obs: Observation, world: World) -> Array:
    """The same slate for everybody, read from the recommender's arrays."""
    assert obs.user is not None
    return jnp.broadcast_to(slate, (obs.user.shape[0], SLATE))


@functools.cache
def simulation(max_steps: int, recommender: Recommender, **options: Any) -> Callable[..., Simulated]:
    return make_simulation(probe_env(**options), recommender, max_steps)


def run(
    recommender: Recommender | tuple[int, int],
    users: int = 300,
    *,
    seed: int = 0,
    world: World = WORLD,
    max_steps: int = 100,
    **options: Any,
) -> Simulated:
    """Judge a recommender, or a slate for everybody, on the probe's users."""
    arrays = None
    if not isinstance(recommender, Recommender):
        recommender, arrays = Recommender(fixed), jnp.array(recommender, jnp.int32)
    return simulation(max_steps, recommender, **options)(world, FACTS, jax.random.key(seed), users, arrays)


def test_every_recommender_meets_the_same_users_with_the_same_luck() -> None:
    one, other = run((0, 1)), run(at_random())
    np.testing.assert_array_equal(one.returns, other.returns)
    np.testing.assert_array_equal(one.lengths, other.lengths)
    assert one.coverage != other.coverage


def test_recommenders_of_one_program_do_as_they_do_alone() -> None:
    first, last = (Recommender(fixed, jnp.array(slate, jnp.int32)) for slate in ((0, 1), (0, 3)))
    rivals = {"first": first, "random": at_random(), "last": last}
    together = make_simulations(probe_env(), rivals, 100)(WORLD, FACTS, jax.random.key(0), 300)
    assert list(together) == ["first", "random", "last"]
    for name, alone in (("first", run((0, 1))), ("random", run(at_random())), ("last", run((0, 3)))):
        np.testing.assert_array_equal(together[name].returns, alone.returns)
        assert together[name].summary() == alone.summary()
    assert together["first"].novelty == pytest.approx(1.5, rel=1e-5)
    assert together["last"].novelty == pytest.approx(3.5, rel=1e-5)


def test_another_seed_meets_other_users() -> None:
    one, other = run((0, 1)), run((0, 1), seed=1)
    assert not np.isin(one.returns, other.returns).any()


@pytest.mark.parametrize("users", [2, 257, 300, 600])
def test_as_many_users_are_judged_as_asked_for_and_each_is_somebody_else(users: int) -> None:
    got = run((0, 1), users)
    assert got.returns.shape == got.lengths.shape == (users,)
    assert len(np.unique(got.returns)) == users
    assert (got.lengths >= 1).all() and (got.lengths <= 5).all()


def test_a_user_is_the_same_whatever_the_number_of_users() -> None:
    many = run((0, 1), 600)
    few = run((0, 1))
    np.testing.assert_array_equal(many.returns[:300], few.returns)


def test_the_recommenders_draws_are_none_of_the_users_own() -> None:
    draws = []

    def choose(arrays: None, key: Array, env_state: User, obs: Observation, world: World) -> Array:
        jax.debug.callback(lambda x: draws.append(float(x)), jax.random.uniform(key), ordered=True)
        return jnp.zeros((3, SLATE), jnp.int32)

    got = run(Recommender(choose), 3, patience=1)
    assert len(draws) == 1
    # a reward is the draw at reset plus the draw of the step: no user shares either with the recommender
    keys = jax.random.split(jax.random.key(0), 3)
    luck = [run_alone(key) for key in keys]
    np.testing.assert_allclose([a + b for a, b in luck], got.returns, rtol=1e-6)
    assert not np.isin(np.float32(draws[0]), np.float32(luck).ravel())


def run_alone(key: Array) -> tuple[float, float]:
    """What the first step of a user draws: at reset and in the step."""
    key_reset, key_steps, _ = jax.random.split(key, 3)
    return float(jax.random.uniform(key_reset)), float(jax.random.uniform(jax.random.fold_in(key_steps, 0)))


def test_returns_stop_where_the_user_leaves() -> None:
    got = run((0, 1), patience=3)
    assert (got.lengths == 3).all()
    # the draw at reset counts three times, and each of three draws once
    assert (got.returns > 0).all() and (got.returns < 6).all()
    assert abs(got.mean - 3.0) < 4 * got.returns.std() / 300**0.5


def test_a_cut_session_ends_as_well() -> None:
    left, cut = run((0, 1)), run((0, 1), cut=True)
    np.testing.assert_array_equal(left.returns, cut.returns)
    np.testing.assert_array_equal(left.lengths, cut.lengths)


def test_users_who_never_leave_are_stopped() -> None:
    got = run((0, 1), 10, max_steps=7, patience=1000)
    assert (got.lengths == 7).all()


def test_coverage_diversity_and_novelty_by_hand() -> None:
    got = run((0, 2))
    assert got.coverage == 0.5
    assert got.diversity == pytest.approx(1 - 0.5, rel=1e-5)
    assert got.novelty == pytest.approx((1 + 3) / 2, rel=1e-5)
    opposite = run((0, 3))
    assert opposite.diversity == pytest.approx(2.0, rel=1e-5) and opposite.novelty == pytest.approx(3.5, rel=1e-5)


def test_positions_among_candidates_are_read_as_their_items() -> None:
    got = run((0, 1), offer=True)  # items 3 and 2, 120 degrees apart
    assert got.diversity == pytest.approx(1.5, rel=1e-5) and got.novelty == pytest.approx(4.5, rel=1e-5)


def test_positions_among_recommendable_items_are_read_as_their_ids() -> None:
    world = WORLD.replace(recommendable=jnp.array([0, 2, 3], jnp.int32))
    got = run((1, 2), world=world)  # items 2 and 3
    assert got.coverage == pytest.approx(2 / 3)
    assert got.novelty == pytest.approx(4.5, rel=1e-5)


def test_slates_after_the_end_count_nothing() -> None:
    def choose(arrays: None, key: Array, env_state: User, obs: Observation, world: World) -> Array:
        others = jnp.where(env_state.left <= 0, 3, 1)  # item 3 only for those who have left
        return jnp.stack([jnp.zeros_like(others), others], axis=1)

    got = run(Recommender(choose))
    assert got.lengths.min() < got.lengths.max()
    assert got.coverage == 0.5 and got.novelty == pytest.approx(1.5, rel=1e-5)
    assert got.diversity == pytest.approx(1.0, rel=1e-5)


def test_users_who_only_fill_the_last_batch_count_nothing() -> None:
    def choose(arrays: None, key: Array, env_state: User, obs: Observation, world: World) -> Array:
        second = jnp.where(jnp.arange(256) == 0, 1, 3)  # item 3 for all but the first user of a batch
        return jnp.stack([jnp.zeros(256, jnp.int32), second.astype(jnp.int32)], axis=1)

    got = run(Recommender(choose), 257, patience=1)
    # 255 users of the first batch see items 0 and 3, one sees 0 and 1; so does the only user of the second
    assert got.novelty == pytest.approx((255 * 7 + 2 * 3) / (2 * 257), rel=1e-5)


def test_other_arrays_and_seeds_need_no_new_program() -> None:
    traced = []

    def choose(slate: Array, *observed: Any) -> Array:
        traced.append(slate)
        return fixed(slate, *observed)

    simulate = make_simulation(probe_env(), Recommender(choose, jnp.array([0, 1], jnp.int32)), 10)
    before = simulate(WORLD, FACTS, jax.random.key(0), 300)
    count = len(traced)
    after = simulate(WORLD, FACTS, jax.random.key(1), 600, jnp.array([0, 3], jnp.int32))
    assert (before.novelty, after.novelty) == (pytest.approx(1.5), pytest.approx(3.5))
    assert len(traced) == count


def test_mean_interval_and_summary_by_hand() -> None:
    episodes = EpisodeTally(
        returns=jnp.array([1.0, 2.0, 3.0, 6.0]),
        lengths=jnp.array([1, 1, 2, 4]),
        known=jnp.array([0, 0, 3, 5]),
        rewards=jnp.array([5.0, 4.0, 2.0, 1.0, 0.0]),
        shown=jnp.array([9.0, 0.0, 7.0, 0.0]),
    )
    # items 0 and 2 of four were shown; 16 shown items had 32 bits; there is no tally of diversity
    counted = {"novelty": jnp.asarray(32.0)}
    of_episodes = dict.fromkeys(("return", "return_95", "per_item", "length", "coverage"), ())
    tally = Tally(episodes, of_episodes | counted)
    got = simulated(MEASURES, [jax.device_get(tally)], users=4, slate_size=2, num_recommendable=4)
    # squared deviations from 3: 4 + 1 + 0 + 9, over three; the error of a mean of four is half of the root
    half_width = 1.959964 * math.sqrt(14 / 3) / 2
    np.testing.assert_array_equal(got.present, [4, 2, 1, 1])
    np.testing.assert_array_equal(got.shown, [9, 0, 7, 0])
    assert got.mean == 3.0 and got.half_width == pytest.approx(half_width)
    assert got.summary() == {
        "return": 3.0,
        "return_95": pytest.approx(half_width),
        "per_item": 12 / 16,
        "length": 2.0,
        "coverage": 0.5,
        "diversity": None,
        "novelty": 2.0,
    }


def test_the_lead_over_another_is_taken_user_by_user() -> None:
    def of(*returns: float) -> Simulated:
        same = {
            "lengths": np.ones(4),
            "known": np.zeros(4),
            "rewards": np.ones(1),
            "shown": None,
            "slate_size": 1,
            "num_recommendable": 1,
        }
        return Simulated(returns=np.array(returns), measured={}, **same)

    lead, half_width = of(1.0, 12.0, 3.0, 20.0).minus(of(0.0, 10.0, 2.0, 18.0))
    # leads 1, 2, 1, 2: squared deviations from 1.5 are .25 each, over three
    assert (lead, half_width) == (1.5, pytest.approx(1.959964 * math.sqrt(1 / 3) / 2))


def test_diversity_is_one_less_the_mean_cosine_of_the_pairs() -> None:
    rows = FACTS.rows[jnp.array([[0, 1, 2], [0, 0, 0], [0, 3, 1]])]
    cosines = [(0 + 0.5 + math.cos(math.pi / 6)) / 3, 1.0, (-1 + 0 + 0) / 3]
    np.testing.assert_allclose(slate_diversity(rows), [1 - c for c in cosines], atol=1e-6)
    np.testing.assert_array_equal(slate_diversity(FACTS.rows[jnp.array([[0], [1]])]), [0.0, 0.0])
