import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.logged import ResponseConfig
from jaxrec.data.log import Log
from jaxrec.supervised.calibration import sigmoid
from jaxrec.supervised.fit import Schedule, fit
from jaxrec.supervised.histories import row_histories, user_histories
from jaxrec.supervised.response import (
    UserHistory,
    add_to_history,
    all_probabilities,
    empty_history,
    load_response,
    probabilities,
    save_response,
    user_features,
    user_state,
)
from jaxrec.supervised.response_fit import fit_response, item_fields, logits_of_rows, window_batches
from tests.damage import without_digests

USERS, ROWS, ITEMS, TEXT = 150, 60, 40, 2
CONFIG = ResponseConfig(history_length=20, width=16, heads=2, epochs=10, batch_size=16, dropout=0.0)


def synthetic() -> tuple[Log, np.ndarray, np.ndarray]:
    """Log with P(like) = sigmoid(3 <user, item's text> + item's quality), text [I, E], and P [R]."""
    rng = np.random.default_rng(0)
    text = rng.normal(size=(ITEMS, TEXT)).astype(np.float32) / TEXT**0.5
    taste, quality = rng.normal(size=(USERS, TEXT)), rng.normal(size=ITEMS)
    user = np.repeat(np.arange(USERS, dtype=np.int32), ROWS)
    item = rng.integers(0, ITEMS, USERS * ROWS).astype(np.int32)
    truth = sigmoid(3 * (taste[user] * text[item]).sum(1) + quality[item])
    feedback = np.stack([rng.random(len(user)) < truth, rng.random(len(user)) < 0.2], axis=1)
    time = rng.permutation(len(user)).reshape(USERS, ROWS)
    log = Log(
        user=user,
        item=item,
        time=np.sort(time, axis=1).reshape(-1),
        feedback=feedback.astype(np.float32),
        feedback_names=("liked", "noise"),
        num_users=USERS,
        num_items=ITEMS,
    )
    return log, text, truth


def evenings(log: Log) -> Log:
    """The same rows with feedback that only their context [day, evening] tells."""
    rng = np.random.default_rng(1)
    evening = rng.random(len(log)) < 0.5
    answer = rng.random(len(log)) < np.where(evening, 0.8, 0.2)
    return dataclasses.replace(
        log,
        feedback=answer[:, None].astype(np.float32),
        feedback_names=("evening",),
        context=np.stack([~evening, evening], axis=1).astype(np.float32),
        context_names=("day", "evening"),
    )


catalogue = jax.jit(lambda response, history: all_probabilities(response, user_state(response, history)))


@pytest.fixture(scope="module")
def fitted():
    log, text, _ = synthetic()
    return fit_response(log, text, CONFIG, seed=0)


def test_known_probabilities_are_recovered_and_calibrated(fitted) -> None:
    log, _, truth = synthetic()
    response, report = fitted
    late = np.flatnonzero(np.arange(len(log)) % ROWS >= 30)  # the user is known by then
    p = sigmoid(logits_of_rows(response, log, late) * np.asarray(response.scale) + np.asarray(response.shift))
    assert np.corrcoef(p[:, 0], truth[late])[0, 1] > 0.75
    assert np.abs(p[:, 0] - truth[late]).mean() < 0.17
    assert abs(p[:, 1].mean() - 0.2) < 0.02  # nothing to learn but the rate
    assert p[:, 1].std() < 0.04
    liked = report["calibration"]["liked"]
    assert liked["auc"] > 0.7
    assert liked["ece"] < 0.06
    assert report["losses"][-1] < report["losses"][0]


def test_the_same_seed_fits_bit_for_bit_and_another_does_not(fitted) -> None:
    log, text, _ = synthetic()
    again, report = fit_response(log, text, CONFIG, seed=0)
    jax.tree.map(np.testing.assert_array_equal, again, fitted[0])
    assert report == fitted[1]
    other, _ = fit_response(log, text, dataclasses.replace(CONFIG, epochs=1), seed=1)
    assert not np.allclose(other.items, fitted[0].items)


def test_probabilities_of_items_are_rows_of_the_whole_catalogue(fitted) -> None:
    log, _, _ = synthetic()
    response = fitted[0]
    history = row_histories(log, np.array([5, 239]), 20)
    z, everything = jax.jit(user_state)(response, history), catalogue(response, history)
    assert everything.shape == (2, ITEMS, 2)
    some = probabilities(response, z, jnp.array([[4, 1], [0, 39]]))
    np.testing.assert_allclose(some[0], everything[0, jnp.array([4, 1])], rtol=1e-5)
    np.testing.assert_allclose(some[1], everything[1, jnp.array([0, 39])], rtol=1e-5)
    one = probabilities(response, z[1], jnp.array([0, 39]))
    np.testing.assert_allclose(one, some[1], rtol=1e-5)


def test_the_future_never_changes_a_prediction(fitted) -> None:
    log, _, _ = synthetic()
    rows = np.array([0, 67, 130, 239])  # of four users
    later = log.feedback.copy()
    for row in rows:  # its own answer and all that follows
        later[row : log.offsets[log.user[row] + 1]] = 1 - later[row : log.offsets[log.user[row] + 1]]
    changed = dataclasses.replace(log, feedback=later)
    np.testing.assert_array_equal(logits_of_rows(fitted[0], changed, rows), logits_of_rows(fitted[0], log, rows))
    assert (logits_of_rows(fitted[0], changed, rows[:3] + 1) != logits_of_rows(fitted[0], log, rows[:3] + 1)).all()


def test_training_rows_are_not_told_their_own_answer() -> None:
    log, _, _ = synthetic()
    base = log.feedback.mean(0)
    flipped = log.feedback.copy()
    flipped[ROWS - 1] = 1 - flipped[ROWS - 1]  # the last row of the first user
    before = window_batches(log, base, CONFIG, 0)(0)
    after = window_batches(dataclasses.replace(log, feedback=flipped), base, CONFIG, 0)(0)
    np.testing.assert_array_equal(before["features"], after["features"])
    own = (before["feedback"] != after["feedback"]).any((-2, -1))  # the window of that row
    assert own.sum() == 1
    np.testing.assert_array_equal(before["statistics"][own], after["statistics"][own])
    assert (before["statistics"] != after["statistics"]).any()  # other users learn of it


def test_windows_hold_every_row_once_in_order() -> None:
    log, _, _ = synthetic()
    numbered = dataclasses.replace(log, feedback=np.stack([np.arange(len(log)), log.user], 1).astype(np.float32))
    batches = window_batches(numbered, np.full(2, 0.5), dataclasses.replace(CONFIG, batch_size=1), 0)
    seen = []
    for epoch in (0, 1):
        batch = batches(epoch)
        rows = np.where(batch["mask"], batch["feedback"][..., 0], np.nan)[:, 0]  # [N, L]
        for window in rows:
            present = window[~np.isnan(window)]
            np.testing.assert_array_equal(np.diff(present), 1)
            assert len(set(log.user[present.astype(int)])) <= 1  # a few windows are empty
        seen.append(rows[~np.isnan(rows)])
        assert len(np.unique(seen[-1])) == len(seen[-1]) > 0.95 * len(log)
    assert not np.array_equal(seen[0], seen[1])


def test_the_context_of_a_visit_is_read_and_saved(tmp_path) -> None:
    log, text, _ = synthetic()
    response, report = fit_response(evenings(log), text, dataclasses.replace(CONFIG, epochs=4), seed=0)
    assert report["calibration"]["evening"]["auc"] == pytest.approx(0.8, abs=0.04)  # what knowing the hour gives
    nobody = empty_history(response)
    assert nobody.context is not None
    day, evening = (catalogue(response, nobody.replace(context=jnp.eye(2)[n])).mean() for n in (0, 1))
    assert (float(day), float(evening)) == (pytest.approx(0.2, abs=0.05), pytest.approx(0.8, abs=0.05))
    save_response(tmp_path / "model", response)
    assert load_response(tmp_path / "model").context_size == 2


def test_observe_pushes_the_slate_and_adds_it_up() -> None:
    history = UserHistory(
        items=jnp.array([-1, 5, 6]),
        feedback=jnp.array([[0.0], [1.0], [0.0]]),
        count=jnp.array(2.0),
        totals=jnp.array([1.0]),
    )
    after = add_to_history(history, jnp.array([7, 8]), jnp.array([[1.0], [1.0]]))
    np.testing.assert_array_equal(after.items, [6, 7, 8])
    np.testing.assert_array_equal(after.feedback[:, 0], [0, 1, 1])
    assert (float(after.count), after.totals.tolist()) == (4, [3])
    longer = add_to_history(history, jnp.array([1, 2, 3, 4]), jnp.zeros((4, 1)))
    np.testing.assert_array_equal(longer.items, [2, 3, 4])


def test_histories_of_a_log_equal_what_observing_it_gives(fitted) -> None:
    log, _, _ = synthetic()
    start, length = log.offsets[2], CONFIG.history_length
    history = empty_history(fitted[0])
    for row in range(start, start + 13):
        history = add_to_history(history, jnp.asarray(log.item[row])[None], jnp.asarray(log.feedback[row])[None])
        want = user_histories(log, np.array([2]), np.array([row + 1]), length)
        jax.tree.map(lambda got, one: np.testing.assert_allclose(got, one[0]), history, want)


def test_features_are_worked_by_hand_and_end_with_the_context() -> None:
    history = UserHistory(
        items=jnp.array([-1, 5, 6]),
        feedback=jnp.array([[0.0], [1.0], [0.0]]),
        count=jnp.array(2.0),
        totals=jnp.array([1.0]),
        context=jnp.array([7.0, -8.0]),
    )
    got = user_features(history, jnp.array([0.4]), (0.5,))
    mean = (1 + 3 * 0.4) / (2 + 3)
    want_mean = np.log(mean / (1 - mean)) - np.log(0.4 / 0.6)
    recent = 4 * 0.5 * (-0.4 + 0.5 * 0.6)  # newest first: 0 - .4, then 1 - .4 at half the weight
    np.testing.assert_allclose(got, [np.log(3) / 3 - 0.5, want_mean, recent, 7, -8], rtol=1e-5)


def test_five_lucky_ratings_count_as_five_among_thirty_five() -> None:
    log, _, _ = synthetic()
    rows = np.flatnonzero(log.item == 0)[:5]
    few = log.take(np.concatenate([rows, np.flatnonzero(log.item > 1)]).astype(int))  # item 1 has no rows
    few.feedback[:5, 0] = 1.0
    statistics, trust = item_fields(few, np.array([0.5, 0.2], np.float32), ResponseConfig())
    # (5 + 30 * .5) / (5 + 30) = 4/7, a logit of log(4/3) above that of .5; an unseen item is the crowd.
    np.testing.assert_allclose(statistics[0, 0], np.log(4 / 3), rtol=1e-5)
    np.testing.assert_allclose(statistics[1], [0, 0], atol=1e-6)
    np.testing.assert_allclose(trust[:2], [5 / 1005, 0], rtol=1e-5)


def test_saved_and_loaded_answers_are_equal(fitted, tmp_path) -> None:
    response = fitted[0]
    save_response(tmp_path / "model", response)
    loaded = load_response(tmp_path / "model")
    jax.tree.map(np.testing.assert_array_equal, loaded, response)
    assert (loaded.config, loaded.feedback_names) == (response.config, ("liked", "noise"))
    assert loaded.history_length == 20


def test_damaged_and_foreign_folders_are_refused_in_one_line(fitted, tmp_path) -> None:
    folder = tmp_path / "model"

    def refused(match: str) -> None:
        with pytest.raises(InputError, match=match) as caught:
            load_response(folder)
        assert "\n" not in str(caught.value)

    refused("No such file")
    folder.mkdir()
    (folder / "response.json").write_text('{"format": "other"}')
    refused("not of format")
    (folder / "response.json").write_text("[1")
    refused("not a readable response model")
    shutil.rmtree(folder)  # without digests it looks like a folder of the user, which is not replaced
    save_response(folder, fitted[0])
    arrays = without_digests(folder) / "arrays.safetensors"
    whole = arrays.read_bytes()
    arrays.write_bytes(whole[: len(whole) // 2])
    refused("not a readable response model")
    arrays.write_bytes(whole)
    text = (folder / "response.json").read_text()
    (folder / "response.json").write_text(text.replace('"width": 16', '"width": 32'))
    refused("do not fit|not a readable")
    (folder / "response.json").write_text(text.replace('"width"', '"wide"'))
    refused("not a readable response model")
    shutil.rmtree(folder)
    save_response(folder, fitted[0].replace(base=fitted[0].base.at[0].set(np.nan)))
    refused("base holds numbers that are not finite")
    arrays.write_bytes(whole[:-1])
    refused("arrays.safetensors: damaged, its digest is not the one")


def test_feedback_that_never_varies_is_refused() -> None:
    log, text, _ = synthetic()
    with pytest.raises(InputError, match=r"data\.feedback\.liked: expected rows with and without it"):
        fit_response(dataclasses.replace(log, feedback=np.ones_like(log.feedback)), text, CONFIG, seed=0)
    with pytest.raises(InputError, match=r"item_table: expected shape \(40, any\), got \(39, 2\)"):
        fit_response(log, text[1:], CONFIG, seed=0)


def test_the_latest_rows_calibrate_and_text_is_optional() -> None:
    log, _, _ = synthetic()
    config = dataclasses.replace(CONFIG, epochs=1, holdout=0.1)
    response, report = fit_response(log, None, config, 0)
    assert report["calibration_rows"] == round(len(log) / 10)
    assert bool(jnp.isfinite(catalogue(response, empty_history(response))).all())


def test_the_fitting_loop_finds_a_minimum_and_keeps_the_callers_parameters() -> None:
    target = np.array([[1.0, -2.0]], np.float32)
    params = {"w": jnp.zeros((1, 2))}
    batches = np.zeros((20, 1), np.float32)

    def loss(params, data, batch, key):
        return ((params["w"] - data + batch[None]) ** 2).sum()

    best, losses = fit(loss, params, target, lambda _: batches, Schedule(5, 0.1), jax.random.key(0))
    np.testing.assert_allclose(best["w"], target, atol=0.02)
    assert losses.shape == (5,)
    assert losses[-1] < losses[0]
    np.testing.assert_array_equal(params["w"], 0)


def test_rates_rise_over_the_first_tenth_and_end_at_zero() -> None:
    rates = Schedule(1, 2.0).rates(20)
    np.testing.assert_allclose(rates[:2], [1.0, 2.0])
    assert rates[-1] == pytest.approx(0, abs=1e-6)
    assert (np.diff(rates[1:]) < 0).all()
