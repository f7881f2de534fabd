"""Kinds of feedback that are always 1: drawn items by hand, posteriors by an independent reference."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.tastes import TastesConfig
from jaxrec.data.log import Log
from jaxrec.nets.tastes import Drawing, learn_row, logits_of, probabilities
from jaxrec.supervised.calibration import auc, sigmoid
from jaxrec.supervised.contrast import DrawnItems, always_one, draw_items, drawing_for
from jaxrec.supervised.ranked import above
from jaxrec.supervised.taste_link import level_shift, with_level
from jaxrec.supervised.taste_path import follow
from jaxrec.supervised.taste_posterior import in_chunks, padded, rows_of, user_posterior
from jaxrec.supervised.tastes_fit import fit_tastes
from jaxrec.supervised.validity import validity_of_tastes
from jaxrec.types import PADDING
from tests.tiny_tastes import known_people, newton, random_log, random_tastes

SMALL = TastesConfig(width=2, text_components=4, steps=150, draws=2, search=False, user_strength=1.0)
BOTH = np.array([True, False])  # liked is always 1, disliked is not


def successes(users: int = 80) -> tuple[Log, np.ndarray, Log, np.ndarray]:
    """Liked rows of people with known tastes, without answers -> their log, item vectors, the whole log, P [R]."""
    log, vectors, p = known_people(users)
    log = dataclasses.replace(log, feedback=log.feedback[:, :1], feedback_names=("liked",))
    return log.take((log.feedback[:, 0] == 1) & (log.time < 20)), vectors, log, p[:, 0]


def even(items: int, kinds: np.ndarray = BOTH, count: int = 3, offset: float = 0.0) -> Drawing:
    """All items have the same chance."""
    added = jnp.full((items, len(kinds)), offset) * jnp.asarray(kinds, jnp.float32)[None]
    return Drawing(jnp.full(items, 1 / items), jnp.asarray(kinds, jnp.float32), added, count)


def test_kinds_that_are_always_1_are_found() -> None:
    log = random_log(np.array([3, 4]), items=5)
    log.feedback[:] = [[1, 0]] * 7
    np.testing.assert_array_equal(always_one(log), [True, False])
    assert drawing_for(log, np.array([False, False]), 4) is None
    assert not always_one(log.take(np.zeros(7, bool))).any()


def test_chances_and_offsets_are_worked_by_hand() -> None:
    log = random_log(np.array([4]), items=3)
    log.item[:] = [0, 0, 0, 1]
    drawing = drawing_for(log, BOTH, 2)
    assert drawing is not None
    np.testing.assert_allclose(drawing.chances, [4 / 7, 2 / 7, 1 / 7], rtol=1e-6)  # of 3, 1 and 0 rows, plus 1
    want = -np.log([24 / 7, 12 / 7, 6 / 7])  # N I q = 2 x 3 x q
    np.testing.assert_allclose(drawing.offset, np.stack([want, 0 * want], axis=1), rtol=1e-5)


def test_items_that_nobody_has_touched_are_not_drawn_and_change_nothing_for_the_others() -> None:
    log = random_log(np.array([4]), items=3)
    log.item[:] = [0, 0, 0, 1]
    plain, more = drawing_for(log, BOTH, 2), drawing_for(dataclasses.replace(log, num_items=5, untouched=2), BOTH, 2)
    assert plain is not None and more is not None
    np.testing.assert_array_equal(more.chances, [*np.asarray(plain.chances), 0, 0])
    # Their offset is that of an item without rows in this part of the log, item 2.
    np.testing.assert_array_equal(more.offset, np.asarray(plain.offset)[[0, 1, 2, 2, 2]])


def test_drawn_items_are_never_those_of_the_user_and_depend_on_the_seed_alone() -> None:
    log = random_log(np.array([5, 1, 8, 0, 12]), items=15)
    drawing = drawing_for(log, BOTH, 20)
    assert drawing is not None
    items = draw_items(drawing, log, seed=0)
    assert items.shape == (26, 20) and items.min() >= 0 and items.max() < 15
    for user in range(5):
        assert not set(items[log.user == user].ravel()) & set(log.item[log.user == user])
    np.testing.assert_array_equal(draw_items(drawing, log, seed=0), items)
    assert (draw_items(drawing, log, seed=1) != items).any()
    part = draw_items(drawing, log.take(np.arange(26) < 3), 0, log)  # of a part of the rows: nothing of the others
    assert not set(part.ravel()) & set(log.item[:5])


def test_items_are_drawn_by_their_chances() -> None:
    log = random_log(np.full(200, 1), items=4)
    log.item[:] = 3
    drawing = Drawing(jnp.array([0.1, 0.3, 0.2, 0.4]), jnp.ones(1), jnp.zeros((4, 1)), 50)
    share = np.bincount(draw_items(drawing, log, 0).ravel(), minlength=4) / 10_000
    np.testing.assert_allclose(share, [1 / 6, 1 / 2, 1 / 3, 0], atol=0.02)


def test_items_chosen_later_may_be_drawn_before_that() -> None:
    log = random_log(np.array([3]), items=4)
    log.item[:] = [2, 0, 1]
    items = draw_items(even(4, count=200), log, 0, before=True)
    assert [set(row) for row in items] == [{0, 1, 3}, {1, 3}, {3}]


def test_a_user_with_all_items_has_none_drawn_and_a_log_of_such_users_is_refused() -> None:
    log = random_log(np.array([3, 1]), items=3, kinds=1)
    log.item[:3], log.feedback[:] = [0, 1, 2], 1
    assert (draw_items(even(3, np.array([True])), log, 0)[:3] == PADDING).all()
    log = log.take(log.user == 0)
    with pytest.raises(InputError, match=r"data\.feedback\.liked: 1 in every row, and the users have all items.*\(3\)"):
        fit_tastes(log, None, SMALL, seed=0)


def test_the_posterior_has_drawn_items_as_zeros_of_the_kinds_that_are_always_1() -> None:
    lengths = np.array([12, 5, 1, 0])
    log, tastes = random_log(lengths, items=6), random_tastes(items=6, width=2)
    log.feedback[:, 0] = 1
    items = np.random.default_rng(1).integers(0, 6, (18, 3)).astype(np.int32)
    items[4, 1] = PADDING
    others = DrawnItems(in_chunks(jnp.asarray(items), PADDING), even(6))
    precision = np.array([1.0, 3.0, 3.0])
    x = np.concatenate([np.ones((6, 1)), np.asarray(tastes.item_vectors)], 1)
    own = np.asarray(tastes.item_logits)
    start = jnp.zeros((4, 2, 3))
    arrays = tastes.item_vectors, tastes.item_logits, jnp.asarray(precision, jnp.float32), start, padded(rows_of(log))
    users, plain = (jax.jit(user_posterior)(*arrays, drawn) for drawn in (others, None))
    # The last digits differ, since compilers order sums as they like.
    np.testing.assert_allclose(users.mean[:, 1], plain.mean[:, 1], atol=1e-6)
    np.testing.assert_allclose(users.precision[:, 1], plain.precision[:, 1], rtol=1e-5, atol=1e-6)
    for user in range(4):
        mine = log.user == user
        drawn = items[mine][items[mine] != PADDING]
        asked, answers = np.r_[log.item[mine], drawn], np.r_[np.ones(mine.sum()), np.zeros(len(drawn))]
        mean, curvature = newton(x[asked], own[asked, 0], answers, np.zeros(3), np.diag(precision))
        np.testing.assert_allclose(users.mean[user, 0], mean, atol=2e-3)
        np.testing.assert_allclose(users.precision[user, 0], curvature, rtol=2e-3, atol=2e-3)


def test_a_followed_user_learns_the_row_and_then_the_drawn_items_with_their_offsets() -> None:
    log, drawing = random_log(np.array([3, 1, 7]), items=9), even(9, offset=-0.7)
    log.feedback[:, 0] = 1
    tastes = random_tastes(items=9, width=2).replace(drawing=drawing)
    got = follow(tastes, log, np.arange(11), beliefs=True)
    np.testing.assert_array_equal(got.items, draw_items(drawing, log, 0, before=True))
    compared = tastes.replace(item_logits=tastes.item_logits + drawing.offset, drawing=None)
    for user in range(3):
        belief = tastes.population
        for row in range(log.offsets[user], log.offsets[user + 1]):
            np.testing.assert_allclose(got.beliefs.mean[row], belief.mean, atol=1e-5)
            for n, item in enumerate(got.items[row]):
                logits = logits_of(tastes, belief.mean, jnp.asarray([item]))[0]
                np.testing.assert_allclose(got.drawn.mean[row, n], logits, atol=1e-5)
            belief, _ = learn_row(compared, belief, jnp.asarray(log.item[row]), jnp.asarray(log.feedback[row]))
            for item in got.items[row]:
                after, logits = learn_row(compared, belief, jnp.asarray(item), jnp.zeros(2))
                kept = jnp.array([1, 0])  # disliked is not asked about
                belief = jax.tree.map(
                    lambda new, old, k=kept: jnp.where(k.reshape(2, *[1] * (new.ndim - 1)) > 0, new, old), after, belief
                )


def test_the_shift_gives_the_stated_mean() -> None:
    assert level_shift(np.full((3, 4), 0.7), 0.1) == pytest.approx(np.log(1 / 9) - 0.7, abs=1e-5)
    logits = np.array([0.0, 2.0])
    shift = level_shift(logits, 0.3)
    assert sigmoid(logits + shift).mean() == pytest.approx(0.3, abs=1e-5)


def test_users_answer_items_of_the_log_at_the_base_rate_and_other_kinds_keep_their_shift() -> None:
    log = random_log(np.array([5, 5]), items=4)
    tastes = random_tastes(items=4, width=2).replace(drawing=even(4), draws=jnp.zeros((2, 2, 2, 3)))
    tastes = tastes.replace(item_logits=jnp.full((4, 2), 0.5))
    link = tastes.link.replace(scale=jnp.array([2.0, 1.0]))
    got = with_level(tastes.replace(link=link), log, 0.2, seed=0).link
    np.testing.assert_allclose(got.shift, [np.log(0.2 / 0.8) - 2 * 0.5, 0.0], atol=1e-5)
    np.testing.assert_array_equal(with_level(tastes.replace(drawing=None), log, 0.2, seed=0).link.shift, [0.0, 0.0])


@pytest.fixture(scope="module")
def fitted():
    log, vectors, whole, p = successes()
    return log, whole, p, fit_tastes(log, vectors, SMALL, seed=0)


def test_successes_alone_rank_what_people_like_above_what_they_refuse(fitted) -> None:
    _, whole, p, (tastes, report) = fitted
    later = np.flatnonzero(whole.time >= 20)  # liked and not, unseen; people chose these items at random
    logits = logits_of(tastes, tastes.means[whole.user[later]], jnp.asarray(whole.item[later])[:, None])[:, 0, 0]
    labels = whole.feedback[later, 0]
    assert auc(labels, p[later]) > 0.86  # of the true probabilities
    assert auc(labels, np.asarray(logits)) > 0.7
    assert report["assumed"] == {"liked": {"base_rate": 0.1, "negatives": 8}}
    assert report["link"]["low"] == [0.0] and report["link"]["high"] == [1.0]
    assert tastes.effects is None and report["effects"] == {"feedback": {}, "not_fitted": ["liked"]}


def test_the_mean_probability_of_the_logs_items_is_the_base_rate(fitted) -> None:
    log, _, _, (tastes, _) = fitted
    count = np.bincount(log.item, minlength=40)
    users = np.unique(log.user)
    logits = logits_of(tastes, tastes.draws[:, users], jnp.broadcast_to(jnp.arange(40), (2, len(users), 40)))
    p = np.asarray(probabilities(tastes, logits))[..., 0].mean((0, 1))
    assert (p * count).sum() / count.sum() == pytest.approx(0.1, abs=0.01)


def test_logits_are_those_of_a_choice_among_all_items() -> None:
    """People without tastes choose item i with chance w_i, so logits differ by the logarithms of w."""
    rng = np.random.default_rng(0)
    weights = np.exp(np.linspace(-1.5, 1.5, 30))
    item = np.concatenate([rng.choice(30, 3, replace=False, p=weights / weights.sum()) for _ in range(1500)])
    log = Log(
        user=np.repeat(np.arange(1500), 3).astype(np.int32),
        item=item.astype(np.int32),
        time=np.arange(4500),
        feedback=np.ones((4500, 1), np.float32),
        feedback_names=("bought",),
        num_users=1500,
        num_items=30,
    )
    config = dataclasses.replace(SMALL, user_strength=100.0, bias_strength=100.0, item_bias_strength=0.1)
    tastes, report = fit_tastes(log, None, config, seed=0)
    scale = report["link"]["scale"][0]
    got = scale * np.asarray(tastes.item_logits)[:, 0]
    slope = np.polyfit(np.log(weights), got, 1)[0]
    assert 0.8 < slope < 1.15
    assert np.corrcoef(np.log(weights), got)[0, 1] > 0.97


def test_the_other_kinds_of_a_log_have_no_drawn_answers() -> None:
    log, vectors, _ = known_people()
    log.feedback[:, 0] = 1
    tastes, report = fit_tastes(log, vectors, SMALL, seed=0)
    assert set(report["assumed"]) == {"liked"}
    assert report["held_out"]["disliked"]["rows"] * 9 == report["held_out"]["liked"]["rows"]
    logits = logits_of(tastes, tastes.means[log.user], jnp.asarray(log.item)[:, None])[:, 0]
    p = np.asarray(probabilities(tastes, logits))[:, 1]
    assert p.mean() == pytest.approx(log.feedback[:, 1].mean(), abs=0.03)  # drawn zeros would make it a ninth
    assert set(report["effects"]["feedback"]) == {"disliked"} and report["effects"]["not_fitted"] == ["liked"]


def test_the_report_judges_ranks_and_says_what_is_assumed() -> None:
    log, vectors, _, _ = successes(users=40)
    report = validity_of_tastes(log, vectors, SMALL, 0, compare_text=True).report
    kind = report["feedback"]["liked"]
    assert kind["assumed"] == {"base_rate": 0.1, "negatives": 8}
    assert kind["ece"] is None and kind["reliability"] is None
    assert kind["auc"] > 0.6 and 0.2 < kind["auc_item_count"] < 0.8
    assert set(report["rare_items"]["auc_without_text"]) == {"liked"}


def test_rows_are_compared_with_drawn_items_where_there_are_such() -> None:
    own, drawn = np.array([0.9, 0.4]), np.array([[0.5, 0.1], [0.7, 0.99]])
    # Pairs without the padding .99: .9 above .5, .1, .7; .4 above .1 alone: four of six.
    assert above(own, drawn, np.array([[True, True], [True, False]])) == pytest.approx(4 / 6)
    assert above(own, drawn, np.zeros((2, 2), bool)) is None
