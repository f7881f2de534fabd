"""Files of known answers: what is read from them, and the one line for what cannot be read."""

from pathlib import Path

import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig, FeedbackKind
from jaxrec.data.matrix import load_matrix
from jaxrec.data.pseudonyms import pseudonymise, user_key
from jaxrec.data.true_answers import TrueAnswers, check_true_answers, read_true_answers

NAN = np.nan
LIKED = {"liked": FeedbackKind(column="liked")}
RATED = {"liked": FeedbackKind(column="rating", at_least=4), "disliked": FeedbackKind(column="rating", at_most=2)}
WATCHED = {"liked": FeedbackKind(column="watched", over="duration", at_least=2)}
USERS, ITEMS = ["ann", "bob"], ["x", "y", "z"]
P = np.array([[0.0, 1.0, 0.25], [NAN, 1.0, 0.0]])


def config(kinds: dict[str, FeedbackKind], source: str = "files") -> DataConfig:
    return DataConfig(source=source, feedback=kinds)  # type: ignore[arg-type]


def read(folder: Path, kinds: dict[str, FeedbackKind], source: str = "files", **arrays) -> TrueAnswers:
    np.savez(folder / "truth.npz", **{"users": USERS, "items": ITEMS} | arrays)
    return read_true_answers(str(folder / "truth.npz"), config(kinds, source))


def test_probabilities_are_read_as_they_are(tmp_path: Path) -> None:
    truth = read(tmp_path, LIKED, liked=P)
    np.testing.assert_array_equal(truth.answers, P[..., None].astype(np.float32))
    assert truth.name == "truth.npz" and truth.items == ("x", "y", "z")


def test_users_get_the_pseudonyms_of_the_log_but_in_generated_logs_they_have_none(tmp_path: Path) -> None:
    assert read(tmp_path, LIKED, liked=P).users == pseudonymise(USERS, user_key(config(LIKED)).secret)
    numbers = read(tmp_path, LIKED, "generated", users=np.array([7, 12]), items=np.array([3, 1, 2]), liked=P)
    assert numbers.users == ("7", "12") and numbers.items == ("3", "1", "2")
    assert read(tmp_path, LIKED, "generated", users=np.array([b" 7", b"12 "]), liked=P).users == ("7", "12")


def test_columns_get_the_thresholds_of_the_recipe(tmp_path: Path) -> None:
    rating = np.array([[5.0, 4.0, 3.0], [2.0, NAN, 0.5]])
    got = read(tmp_path, RATED, rating=rating).answers
    np.testing.assert_array_equal(got[..., 0], [[1, 1, 0], [0, NAN, 0]])
    np.testing.assert_array_equal(got[..., 1], [[0, 0, 0], [1, NAN, 1]])
    # Watched 10 of 5 and 6 of 4 seconds: ratios 2 and 1.5
    watched, duration = np.array([[10, 6, 8]] * 2), np.array([[5.0, 4.0, NAN]] * 2)
    got = read(tmp_path, WATCHED, watched=watched, duration=duration).answers
    np.testing.assert_array_equal(got[0, :, 0], [1, 0, NAN])


def test_the_array_of_a_kind_goes_before_its_column(tmp_path: Path) -> None:
    rating = np.full((2, 3), 5)
    got = read(tmp_path, RATED, rating=rating, liked=np.full((2, 3), 0.5)).answers
    np.testing.assert_array_equal(got[0, 0], [0.5, 0.0])  # disliked comes from the rating


def test_one_file_may_be_a_truth_and_a_matrix_of_rewards(tmp_path: Path) -> None:
    full, vectors = np.nan_to_num(P), np.eye(3)
    shown = np.array([True, False, True])
    truth = read(tmp_path, LIKED, matrix=full, vectors=vectors, recommendable=shown)
    assert truth.items == ("x", "z")
    np.testing.assert_array_equal(truth.answers[..., 0], full[:, [0, 2]].astype(np.float32))
    np.testing.assert_array_equal(load_matrix(tmp_path / "truth.npz").matrix, full)
    stars = {"liked": FeedbackKind(column="rating", at_least=0.2)}
    np.testing.assert_array_equal(read(tmp_path, stars, matrix=full).answers[0, :, 0], [0, 1, 1])

    weighed = {"liked": FeedbackKind(column="event", weights={"view": 0.1, "buy": 1.0}, at_least=0.2)}
    np.testing.assert_array_equal(read(tmp_path, weighed, matrix=full).answers[0, :, 0], [0, 1, 1])


BAD = [
    (LIKED, {}, "no array 'liked' for this kind of feedback; add it"),
    (RATED, {"liked": P}, "no array 'disliked' for this kind"),
    (RATED, {"matrix": P}, "no array 'liked' for this kind"),
    (LIKED, {"liked": P, "likd": P}, "array 'likd' is no kind of feedback of data.feedback; did you mean 'liked'?"),
    (LIKED, {"liked": P, "users": ["ann", "ann"]}, "users: places 0 and 1 (from 0) have the same id"),
    (LIKED, {"liked": P, "items": [3, 1, 3]}, "items: places 0 and 2 (from 0) have the same id"),
    (LIKED, {"liked": P, "users": [1.0, 2.0]}, "users: expected a list of ids, whole numbers or text, got float64"),
    (LIKED, {"liked": P, "items": [["x", "y", "z"]]}, "items: expected a list of ids"),
    (LIKED, {"liked": P[:, :2]}, "liked: expected shape (2, 3) (2 users, 3 items), got (2, 2)"),
    (LIKED, {"liked": P.T}, "liked: expected shape (2, 3)"),
    (LIKED, {"liked": P + 1}, "liked: expected 0, 1 or a probability (or set a threshold in data.feedback), got 2 at"),
    (LIKED, {"liked": -P}, "got -1 at [0, 1]"),
    (LIKED, {"liked": np.full((2, 3), np.inf)}, "liked: expected a finite number, or NaN"),
    (LIKED, {"liked": np.full((2, 3), NAN)}, "every answer is NaN"),
    (LIKED, {"liked": np.full((2, 3), "1")}, "liked: expected numbers, got <U1"),
    (WATCHED, {"watched": P}, "no array 'duration', by which data.feedback.liked.over divides watched"),
    (WATCHED, {"watched": P, "duration": np.zeros((2, 3))}, "duration: expected no 0"),
    (LIKED, {"liked": P, "recommendable": [True]}, "recommendable: expected shape (3), got (1,)"),
]  # fmt: skip


@pytest.mark.parametrize(("kinds", "arrays", "want"), BAD, ids=range(len(BAD)))
def test_what_cannot_be_used_is_one_line(kinds, arrays, want: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, kinds, **arrays)
    line = str(caught.value)
    assert line.startswith(f"evaluate.truth: {tmp_path / 'truth.npz'}: ") and want in line and "\n" not in line


def test_files_that_are_none_are_one_line(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", P)
    np.savez(tmp_path / "objects.npz", users=np.array(["ann", None], object), items=ITEMS, liked=P)
    np.savez(tmp_path / "no_users.npz", items=ITEMS, liked=P)
    (tmp_path / "text.npz").write_text("user,item\n")
    np.savez_compressed(tmp_path / "cut.npz", users=USERS, items=ITEMS, liked=np.random.default_rng(0).random((2, 3)))
    whole = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    wants = {
        "missing.npz": "no such file; give a .npz file with the arrays users, items and one",
        "array.npy": "not a readable .npz",
        "objects.npz": "not a readable .npz",
        "text.npz": "not a readable .npz",
        "cut.npz": "not a readable .npz",
        "no_users.npz": "no array 'users' in it; add the ids of the users, as in the log",
    }
    for name, want in wants.items():
        with pytest.raises(InputError) as caught:
            check_true_answers(str(tmp_path / name), config(LIKED))
        assert f"evaluate.truth: {tmp_path / name}: {want}" in str(caught.value), name
