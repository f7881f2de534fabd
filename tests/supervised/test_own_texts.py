from pathlib import Path

import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.data.log import Log
from jaxrec.supervised.own_texts import add_own_texts, earlier_means, fit_basis, load_basis, save_basis

VECTORS = {"east": [4.0, 0.0, 1.0], "west": [-4.0, 0.0, 1.0], "north": [0.0, 1.0, 1.0], "south": [0.0, -1.0, 1.0]}


def encode(texts):
    return np.array([VECTORS[text] for text in texts], np.float32)


def make_log(reviews: list[str], users: list[int]) -> Log:
    rows = len(users)
    feedback = np.ones((rows, 1), np.float32)
    user, item = np.array(users, np.int32), np.zeros(rows, np.int32)
    log = Log(user, item, np.arange(rows), feedback, ("liked",), max(users) + 1, 1)
    return Log(**{**vars(log), "review": np.array(reviews, object)})


def test_the_running_mean_is_of_the_users_earlier_reviews_only() -> None:
    log = make_log(["a", "b", "", "c", "d", "e"], [0, 0, 0, 0, 2, 2])  # user 1 has no rows
    values = np.array([[1.0], [3.0], [99.0], [8.0], [5.0], [7.0]])
    got = earlier_means(log, values, log.review != "")
    # nothing; 1; (1+3)/2; the row without a review does not count: (1+3)/2; another user: nothing; 5
    np.testing.assert_array_equal(got[:, 0], [0, 1, 2, 2, 0, 5])


def test_principal_components_of_a_cross_are_its_arms() -> None:
    basis = fit_basis(encode(list(VECTORS)), 2)
    np.testing.assert_allclose(basis.mean, [0, 0, 1], atol=1e-6)
    # variances (16+16)/4 = 8 and (1+1)/4 = 0.5: the first axis becomes 1 wide, the second is scaled with it
    np.testing.assert_allclose(basis.components, [[8**-0.5, 0, 0], [0, 8**-0.5, 0]], atol=1e-6)
    np.testing.assert_allclose(basis.reduce(encode(["west"])), [[-(2**0.5), 0]], atol=1e-6)


def test_the_basis_has_no_random_sign() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 6))
    components = fit_basis(vectors, 4).components
    np.testing.assert_allclose(fit_basis(-vectors, 4).components, components, atol=1e-6)
    assert np.all(np.take_along_axis(components, np.abs(components).argmax(1)[:, None], 1) > 0)


def test_context_tells_of_earlier_texts_and_nothing_later_changes_it() -> None:
    users = [0, 0, 0, 0, 1, 1, 1, 1]
    log = make_log(["east", "west", "north", "", "south", "east", "west", "north"], users)
    train = log.take(log.user == 1)
    got = add_own_texts(log, train, encode, 2)[0].context
    assert got is not None
    r = 2**0.5  # of east; north is r / 4
    want = [[0, 0], [r, 0], [0, 0], [0, r / 12], [0, 0], [0, -r / 4], [r / 2, -r / 8], [0, -r / 12]]
    np.testing.assert_allclose(got, want, atol=1e-6)
    other = make_log(["east", "west", "south", "", "south", "east", "west", "north"], users)
    changed = add_own_texts(other, train, encode, 2)[0].context
    assert changed is not None
    np.testing.assert_array_equal(np.delete(changed, 3, 0), np.delete(got, 3, 0))
    np.testing.assert_allclose(changed[3], [0, -r / 12], atol=1e-6)


def test_the_basis_is_fitted_to_training_reviews_only() -> None:
    log = make_log(["east", "west", "north", "south", "east"], [0, 0, 0, 0, 0])
    _, basis = add_own_texts(log, log.take(np.array([0, 1, 4])), encode, 1)
    np.testing.assert_allclose(basis.components, [[1 / 4, 0, 0]], atol=1e-6)  # of east and west


def test_a_given_basis_is_kept_and_must_fit() -> None:
    log = make_log(["north", "south", "east"], [0, 0, 0])
    before = fit_basis(encode(["east", "west"]), 1)
    got, basis = add_own_texts(log, log, encode, 1, before)
    assert basis is before and got.context is not None
    np.testing.assert_allclose(got.context, np.zeros((3, 1)), atol=1e-6)  # east and west tell nothing of north
    with pytest.raises(
        InputError, match=r"reduced 3 numbers per text to 1, this recipe 3 to 2; use the settings of that run"
    ):
        add_own_texts(log, log, encode, 2, before)


def test_own_columns_stand_behind_the_context_of_the_visit() -> None:
    log = make_log(["east", "north", "south"], [0, 0, 0])
    log = Log(**{**vars(log), "context": np.ones((3, 1), np.float32), "context_names": ("tv",)})
    got, _ = add_own_texts(log, log, encode, 1)
    assert got.context_names == ("tv", "own_text_0")
    assert got.context is not None and got.context.shape == (3, 2) and got.context.dtype == np.float32


def test_a_saved_basis_reads_back_the_same(tmp_path: Path) -> None:
    basis = fit_basis(encode(list(VECTORS)), 2)
    save_basis(tmp_path / "own_texts", basis)
    again = load_basis(tmp_path / "own_texts")
    np.testing.assert_array_equal(again.mean, basis.mean)
    np.testing.assert_array_equal(again.components, basis.components)


@pytest.mark.parametrize(("reviews", "size"), [(["east", "west"], 2), (["", ""], 1), (["east", "west", "north"], 3)])
def test_more_components_than_the_reviews_differ_in_are_refused(reviews: list[str], size: int) -> None:
    log = make_log(reviews, [0] * len(reviews))
    with pytest.raises(InputError, match=r"data.own_texts: \d training reviews do not vary in \d directions; lower it"):
        add_own_texts(log, log, lambda texts: encode(texts).reshape(len(texts), 3), size)


def test_a_log_without_reviews_has_no_own_texts() -> None:
    log = make_log(["east"], [0])
    with pytest.raises(InputError, match=r"data.own_texts: .*set data.columns.review"):
        add_own_texts(Log(**{**vars(log), "review": None}), log, encode, 1)
