import csv

import numpy as np
import pytest

from jaxrec.config.users import ResponseConfig
from jaxrec.data.log import Log
from jaxrec.supervised.calibration import auc, expected_calibration_error, platt, sigmoid
from jaxrec.supervised.histories import other_users_totals, running_totals
from jaxrec.supervised.validity import comparison_scores, validity_report


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
    report = validity_report(log, None, ResponseConfig(epochs=4), seed=0)  # half of the default's time
    liked = report["feedback"]["liked"]
    assert report["test_rows"] == 20167
    assert liked["auc_item_mean"] == pytest.approx(0.660, abs=0.001)
    assert liked["auc_running_means"] == pytest.approx(0.800, abs=0.002)
    assert liked["auc"] > 0.815
    assert liked["ece"] < 0.05
