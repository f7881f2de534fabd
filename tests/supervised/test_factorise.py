import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.full_matrix import FactorsConfig
from jaxrec.data import Log
from jaxrec.supervised import factorise as module
from jaxrec.supervised.factorise import factorise, matrix_of_log

USERS, ITEMS, RANK = 60, 40, 2


def truth() -> np.ndarray:
    rng = np.random.default_rng(0)
    return 3 + rng.normal(size=(USERS, RANK)) @ rng.normal(size=(RANK, ITEMS))


def test_a_matrix_of_known_rank_is_recovered_from_half_of_it() -> None:
    values = truth()
    seen = np.random.default_rng(1).random(values.shape) < 0.5
    user, item = np.nonzero(seen)
    config = FactorsConfig(rank=RANK + 2, ridge=1e-3, sweeps=300, bias_strength=1.0)  # two more mend the biases
    fit = factorise(user, item, values[seen], values.shape, config, 0)
    got = np.asarray(fit.matrix())
    error = np.sqrt(np.mean((got - values)[~seen] ** 2))
    assert error < 0.02 * values.std()
    np.testing.assert_allclose(fit.rows(user, item), got[user, item], rtol=1e-4, atol=1e-4)


def test_users_and_items_without_rows_get_the_mean() -> None:
    user, item = np.array([0, 0, 1]), np.array([0, 1, 0])
    fit = factorise(user, item, np.array([1.0, 0.0, 1.0]), (3, 3), FactorsConfig(rank=2), 0)
    np.testing.assert_allclose(np.asarray(fit.matrix())[2, 2], 2 / 3, rtol=1e-6)


def test_the_solution_does_not_depend_on_the_size_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = truth()
    user, item = np.nonzero(np.random.default_rng(2).random(values.shape) < 0.3)
    fits = []
    for block in (4096, 100):
        monkeypatch.setattr(module, "BLOCK", block)
        fits.append(factorise(user, item, values[user, item], values.shape, FactorsConfig(sweeps=3), 0).matrix())
    np.testing.assert_allclose(fits[0], fits[1], atol=1e-3)


def make_log(kinds: int = 1) -> Log:
    likes = (truth() > 3).astype(np.float32)
    user, item = np.nonzero(np.random.default_rng(3).random(likes.shape) < 0.5)
    return Log(
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        time=np.arange(len(user)),
        feedback=np.repeat(likes[user, item][:, None], kinds, axis=1),
        feedback_names=("liked", "disliked")[:kinds],
        num_users=USERS,
        num_items=ITEMS,
    )


def test_a_logs_matrix_stays_in_range_and_beats_the_biases(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, report = matrix_of_log(make_log(), FactorsConfig(ridge=0.05), 0)
    assert matrix.shape == (USERS, ITEMS)
    assert matrix.min() >= 0 and matrix.max() <= 1
    assert report["rmse"] < report["rmse_biases"]
    with pytest.raises(InputError, match=r"data\.feedback: a matrix holds one kind"):
        matrix_of_log(make_log(2), FactorsConfig(), 0)
    monkeypatch.setattr(module, "LARGEST", 100)
    with pytest.raises(InputError, match="a matrix of 60 users and 40 items is too large"):
        matrix_of_log(make_log(), FactorsConfig(), 0)
