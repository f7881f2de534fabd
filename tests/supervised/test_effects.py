"""Short-term effects: what they add, and what a log lets one find."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.config.tastes import TastesConfig
from jaxrec.data.log import Log
from jaxrec.nets.effects import Effects, Recent, forgotten, offsets, remember, remembered
from jaxrec.nets.tastes import directions_of
from jaxrec.supervised import recent_rows
from jaxrec.supervised.calibration import sigmoid
from jaxrec.supervised.recent_rows import RATES, recent_products, recent_sums
from jaxrec.supervised.tastes_fit import fit_tastes
from tests.tiny_tastes import random_log

EFFECTS = Effects(alike=jnp.array([-0.5, 0.2]), mood=jnp.array([2.0, 0.0]), keep=jnp.array([0.5, 0.8]))


def test_what_is_remembered_is_worked_by_hand() -> None:
    directions = jnp.array([[9.0, 9.0], [0.6, 0.8], [0.0, 1.0]])  # the first place of the history is empty
    surprise = jnp.array([[9.0, 9.0], [0.5, -0.2], [-0.4, 0.6]])
    recent = remembered(EFFECTS, directions, surprise, jnp.array([False, True, True]))
    np.testing.assert_allclose(recent.shown, [0.5 * 0.6, 0.5 * 0.8 + 1.0], rtol=1e-6)
    np.testing.assert_allclose(recent.surprise, [0.2 * (0.8 * 0.5 - 0.4), 0.2 * (-0.8 * 0.2 + 0.6)], atol=1e-6)
    moved = offsets(EFFECTS, recent, jnp.array([[0.0, 1.0], [-1.0, 0.0]]), None)
    alike = np.array([1.4, -0.3])
    want = np.stack([-0.5 * alike + 2.0 * float(recent.surprise[0]), 0.2 * alike], axis=1)
    np.testing.assert_allclose(moved, want, atol=1e-6)


def test_row_by_row_gives_the_same_as_all_rows_at_once() -> None:
    rng = np.random.default_rng(0)
    vectors, surprise = jnp.asarray(rng.normal(size=(7, 3))), jnp.asarray(rng.normal(size=(7, 2)))
    recent = forgotten(3, 2)
    for vector, felt in zip(vectors, surprise, strict=True):
        recent = remember(EFFECTS, recent, vector, felt)
    at_once = remembered(EFFECTS, vectors, surprise, jnp.ones(7, bool))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), recent, at_once)


def test_the_context_of_a_visit_adds_its_coefficients() -> None:
    effects = EFFECTS.replace(context=jnp.array([[1.0, 0.0], [0.0, -3.0]]))
    moved = offsets(effects, Recent(jnp.zeros(2), jnp.zeros(2)), jnp.ones((1, 2)), jnp.array([2.0, 1.0]))
    np.testing.assert_allclose(moved, [[2.0, -3.0]])


def test_rows_that_were_shown_together_do_not_see_each_other() -> None:
    log = Log(
        user=np.array([0, 0, 0, 1, 1], np.int32),
        item=np.zeros(5, np.int32),
        time=np.array([5, 5, 6, 6, 7]),
        feedback=np.zeros((5, 1), np.float32),
        feedback_names=("liked",),
        num_users=2,
        num_items=1,
    )
    sums, totals = recent_sums(log, np.array([[1.0], [2.0], [4.0], [8.0], [16.0]]))
    first = RATES.index(0.5)
    np.testing.assert_allclose(sums[:, first, 0], [0, 0, 0.5 * 1 + 2, 0, 8])
    np.testing.assert_allclose(totals[:, 0], [7, 7, 7, 24, 24])


@pytest.mark.parametrize("cells", [1, 2**26])  # a column at a time, and all at once
def test_products_with_recent_rows_are_the_same_in_any_number_of_parts(cells: int, monkeypatch) -> None:
    monkeypatch.setattr(recent_rows, "CELLS", cells)
    log, directions = random_log(np.array([3, 2]), items=4), np.random.default_rng(0).normal(size=(4, 3))
    found, others = recent_products(log, directions)
    own, place = directions[log.item], RATES.index(0.8)
    np.testing.assert_allclose(
        found[:, place],
        [0, own[1] @ own[0], own[2] @ (0.8 * own[0] + own[1]), 0, own[4] @ own[3]],
        rtol=1e-5,
        atol=1e-7,
    )
    want = [own[0] @ (own[1] + own[2]), own[1] @ (own[0] + own[2]), own[2] @ (own[0] + own[1]), own[3] @ own[4]]
    np.testing.assert_allclose(others, [*want, want[-1]], rtol=1e-6)


def bored_people(boredom: float, seed: int = 0) -> tuple[Log, np.ndarray]:
    """A log of people who like some of four topics and tire of them; topics are shown as they are liked."""
    rng, users, rows, items, topics = np.random.default_rng(seed), 150, 50, 120, 4
    topic = np.arange(items) % topics
    vectors = np.eye(topics)[topic] + 0.02 * rng.normal(size=(items, topics))
    taste = rng.normal(0.0, 2.0, size=(users, topics))
    item, liked = np.zeros((users, rows), np.int32), np.zeros((users, rows))
    for user in range(users):
        chance = np.where(taste[user, topic] > 0, 3.0, 1.0)
        item[user] = rng.choice(items, rows, replace=False, p=chance / chance.sum())
        worn = np.zeros(topics)
        for place, one in enumerate(topic[item[user]]):
            liked[user, place] = rng.random() < sigmoid(taste[user, one] - boredom * worn[one])
            worn *= 0.9
            worn[one] += 1
    log = Log(
        user=np.repeat(np.arange(users, dtype=np.int32), rows),
        item=item.reshape(-1),
        time=np.tile(np.arange(rows), users),
        feedback=liked.reshape(-1, 1).astype(np.float32),
        feedback_names=("liked",),
        num_users=users,
        num_items=items,
    )
    return log, vectors.astype(np.float32)


CONFIG = TastesConfig(width=4, text_components=4, user_strength=1.0, search=False, draws=2, steps=200)


def test_boredom_is_found_with_its_strength() -> None:
    log, vectors = bored_people(0.5)
    tastes, report = fit_tastes(log, vectors, CONFIG, seed=0)
    found = report["effects"]["feedback"]["liked"]["similarity"]
    assert tastes.effects is not None
    # The curve runs from `low` to `high` and not from 0 to 1, so what compares is the slope in its middle.
    low, high = float(tastes.link.low[0]), float(tastes.link.high[0])
    # An item of the same topic, instead of another one, counts as much more as its direction is closer.
    u, topic = np.asarray(directions_of(tastes)), np.arange(log.num_items) % 4
    alike, same = u @ u.T, topic[:, None] == topic[None]
    closer = alike[same].mean() - alike[~same].mean()
    assert found["coefficient"] * (high - low) * closer == pytest.approx(-0.5, abs=0.1)
    assert found["low"] < found["coefficient"] < found["high"] < 0
    assert report["effects"]["keep"]["similarity"] in (0.8, 0.9, 0.95)
    assert report["effects"]["alike_by"] != "tastes"  # who likes a topic may like others: it is features that tire


def test_people_who_tire_of_nothing_have_no_effects_though_the_log_shows_what_they_like() -> None:
    log, vectors = bored_people(0.0)
    tastes, report = fit_tastes(log, vectors, CONFIG, seed=0)
    assert tastes.effects is None
    for one in report["effects"]["feedback"]["liked"].values():
        assert one["coefficient"] == 0.0
        assert one["low"] < 0 < one["high"]
