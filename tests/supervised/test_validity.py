import csv
import dataclasses

import numpy as np
import pytest

from jaxrec.config.logged import ResponseConfig
from jaxrec.config.tastes import TastesConfig
from jaxrec.data.log import Log
from jaxrec.supervised.calibration import auc, expected_calibration_error, platt, reliability, sigmoid
from jaxrec.supervised.histories import other_users_totals, running_totals
from jaxrec.supervised.taste_path import follow
from jaxrec.supervised.validity import comparison_scores, rare_rows, validity_of_response, validity_of_tastes
from tests.tiny_tastes import known_people


def small_log() -> Log:
    """Two users of three rows on three items; the users' rows interleave in time."""
    return Log(
        user=np.array([0, 0, 0, 1, 1, 1], np.int32),
        item=np.array([0, 1, 2, 1, 0, 2], np.int32),
        time=np.array([1, 3, 6, 2, 4, 5]),
        feedback=np.array([[1], [0], [1], [1], [0], [1]], np.float32),
        feedback_names=("liked",),
        num_users=2,
        num_items=3,
    )


def test_auc_counts_pairs_in_the_right_order() -> None:
    labels = np.array([1, 0, 1, 0])
    # Pairs (1, 0): .9>.8, .9>.1, .4<.8, .4>.1: three of four.
    assert auc(labels, np.array([0.9, 0.8, 0.4, 0.1])) == 0.75
    assert auc(labels, -np.array([0.9, 0.8, 0.4, 0.1])) == 0.25


def test_auc_counts_ties_as_half() -> None:
    # Pairs: .5=.5 half, .5>.1 one, .9>.5 one, .9>.1 one: 3.5 of 4.
    assert auc(np.array([1, 0, 1, 0]), np.array([0.5, 0.5, 0.9, 0.1])) == 0.875
    assert auc(np.array([1, 0, 0]), np.zeros(3)) == 0.5


def test_auc_of_one_class_is_none() -> None:
    assert auc(np.ones(3), np.arange(3.0)) is None
    assert auc(np.zeros(3), np.arange(3.0)) is None


def test_calibration_error_weighs_the_gap_of_each_bin_by_its_rows() -> None:
    # Two bins. Low: p .1 .3, labels 0 1: |.5 - .2| = .3 of 2 rows. High: p .9 1, labels 1 1: |1 - .95| = .05.
    p, labels = np.array([0.1, 0.3, 0.9, 1.0]), np.array([0, 1, 1, 1])
    assert expected_calibration_error(labels, p, bins=2) == pytest.approx(0.5 * 0.3 + 0.5 * 0.05)
    rows, predicted, observed = reliability(labels, p, bins=3)  # the middle one is empty, and so leaves the error alone
    np.testing.assert_array_equal(rows, [2, 0, 2])
    np.testing.assert_allclose(predicted, [0.2, np.nan, 0.95])
    np.testing.assert_allclose(observed, [0.5, np.nan, 1.0])
    assert expected_calibration_error(labels, p, bins=3) == pytest.approx(0.5 * 0.3 + 0.5 * 0.05)


def test_platt_finds_the_scale_and_shift_that_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=50_000)
    labels = (rng.random(50_000) < sigmoid(0.6 * logits - 0.4)).astype(float)
    scale, shift = platt(labels, logits, ridge=1.0)
    assert scale == pytest.approx(0.6, abs=0.04)
    assert shift == pytest.approx(-0.4, abs=0.04)
    assert expected_calibration_error(labels, sigmoid(scale * logits + shift)) < 0.01
    assert expected_calibration_error(labels, sigmoid(logits)) > 0.05


def test_platt_stays_finite_where_the_rows_can_be_separated() -> None:
    scale, shift = platt(np.array([0.0, 1.0]), np.array([-1.0, 1.0]), ridge=1.0)
    assert 1 < scale < 3
    assert abs(shift) < 1e-6


def test_running_totals_count_what_came_before_in_time() -> None:
    log = small_log()
    count, totals = running_totals(log, log.item)
    # In time: item 0 (1), item 1 (1), item 1 (0), item 0 (0), item 2 (1), item 2 (1).
    np.testing.assert_array_equal(count, [0, 1, 1, 0, 1, 0])
    np.testing.assert_array_equal(totals[:, 0], [0, 1, 1, 0, 1, 0])
    count, totals = running_totals(log, log.user)
    np.testing.assert_array_equal(count, [0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(totals[:, 0], [0, 1, 1, 0, 1, 1])


def test_totals_of_other_users_leave_out_the_rows_of_ones_own() -> None:
    log = small_log()
    count, totals = other_users_totals(log, seed=0, folds=2)  # a fold a user
    np.testing.assert_array_equal(count, [1, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(totals[:, 0], [0, 1, 1, 0, 1, 1])


def test_comparisons_take_items_from_training_rows_and_running_means_from_everything_before() -> None:
    log = small_log()
    test = log.time >= 5  # rows 2 and 5, both on item 2, which no training row has
    scores = comparison_scores(log, test, 0, strength=2.0)
    np.testing.assert_array_equal(scores["item_count"], [2, 2, 0, 2, 2, 0])
    np.testing.assert_allclose(scores["item_mean"][test], [0.5, 0.5])  # the training mean
    # Row 5 (time 5): user 1 has 1 of 2, item 2 nothing. Row 2: user 0 has 1 of 2, item 2 has 1 of 1.
    np.testing.assert_allclose(scores["running_means"][5], (1 + 1) / 4 + 1 / 2)
    np.testing.assert_allclose(scores["running_means"][2], (1 + 1) / 4 + (1 + 1) / 3)


def test_rare_items_are_counted_in_the_training_rows() -> None:
    item = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2], np.int32)
    test = np.array([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1], bool)
    log = dataclasses.replace(
        small_log(),
        user=np.zeros(12, np.int32),
        item=item,
        time=np.arange(12),
        feedback=np.ones((12, 1), np.float32),
    )
    np.testing.assert_array_equal(rare_rows(log, test), [10, 11])  # 5, 4 and 0 training rows


@pytest.mark.slow
def test_the_report_tells_the_model_with_texts_from_the_one_without() -> None:
    rng = np.random.default_rng(0)
    item = np.concatenate([rng.permutation(200)[:15] for _ in range(80)]).astype(np.int32)
    vectors = np.where(np.arange(200)[:, None] % 2, 1.0, -1.0) * np.ones((200, 4))
    log = Log(
        user=np.repeat(np.arange(80), 15).astype(np.int32),
        item=item,
        time=np.tile(np.arange(15), 80),
        feedback=(rng.random((1200, 1)) < np.where(item % 2, 0.9, 0.1)[:, None]).astype(np.float32),
        feedback_names=("liked",),
        num_users=80,
        num_items=200,
    )
    config = ResponseConfig(history_length=4, width=8, heads=2, epochs=6, batch_size=32)
    validity = validity_of_response(log, vectors, config, seed=0, compare_text=True)
    np.testing.assert_array_equal(validity.test, log.time >= 12)  # the last three of every user's fifteen rows
    rare, liked = validity.report["rare_items"], validity.report["feedback"]["liked"]
    assert (validity.report["train_rows"], validity.report["test_rows"]) == (960, 240)
    assert 80 < rare["test_rows"] < 200  # items have 4.8 training rows on average
    assert rare["auc"]["liked"] > 0.8  # .9 is the best there is: odd items are liked by 90%
    assert rare["auc"]["liked"] > rare["auc_without_text"]["liked"]
    assert sum(liked["reliability"]["rows"]) == 240
    assert len(liked["reliability"]["predicted"]) == 15


@pytest.mark.slow
def test_the_model_beats_running_means_on_real_ratings(real_data) -> None:
    with (real_data / "ml-latest-small" / "ratings.csv").open(encoding="utf-8") as lines:
        rows = np.array([[float(x) for x in row] for row in list(csv.reader(lines))[1:]])
    rows = rows[np.lexsort((rows[:, 3], rows[:, 0]))]
    users, user = np.unique(rows[:, 0], return_inverse=True)
    items, item = np.unique(rows[:, 1], return_inverse=True)
    log = Log(
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        time=rows[:, 3].astype(np.int64),
        feedback=(rows[:, 2:3] >= 4).astype(np.float32),
        feedback_names=("liked",),
        num_users=len(users),
        num_items=len(items),
    )
    report = validity_of_response(log, None, ResponseConfig(epochs=4), seed=0).report  # half of the default's time
    liked = report["feedback"]["liked"]
    assert report["test_rows"] == 20167
    assert liked["auc_item_mean"] == pytest.approx(0.660, abs=0.001)
    assert liked["auc_running_means"] == pytest.approx(0.800, abs=0.002)
    assert liked["auc"] > 0.815
    assert liked["ece"] < 0.05


def test_tastes_are_judged_on_the_latest_rows_row_by_row() -> None:
    log, vectors, _ = known_people(users=40, items=30, rows=20)
    config = TastesConfig(width=2, text_components=2, steps=100, draws=1, search=False, user_strength=1.0)
    validity = validity_of_tastes(log, vectors, config, seed=0, compare_text=True)
    np.testing.assert_array_equal(validity.test, log.time >= 16)  # the last four of every user's twenty rows
    report = validity.report
    assert (report["train_rows"], report["test_rows"]) == (640, 160)
    assert report["fit"]["strengths"]["user"] == 1.0
    rows = np.flatnonzero(validity.test)
    p = follow(validity.fitted, log, rows).probabilities
    for kind, name in enumerate(("liked", "disliked")):
        row = report["feedback"][name]
        assert row["auc"] == pytest.approx(auc(log.feedback[rows, kind], p[:, kind]))
        assert row["mean_probability"] == pytest.approx(p[:, kind].mean(), rel=1e-5)
        assert row["auc"] > max(row["auc_item_mean"], 0.65)
    assert set(report["rare_items"]) >= {"auc", "auc_without_text", "test_rows"}
