import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.tokens import TokensConfig
from jaxrec.generate import quantise
from jaxrec.generate.codes import add_last_code, check_codes, groups, vocabulary
from jaxrec.generate.quantise import (
    Quantiser,
    fit_kmeans,
    prices_of,
    quantised,
    reconstructed,
    relative_error,
    revived,
    sweep,
)
from jaxrec.generate.report import tokens_report
from jaxrec.generate.rqvae import fit_rqvae, latent_size
from jaxrec.sharding.compile import compiled

RQVAE = TokensConfig(
    method="rqvae", levels=2, codes=8, steps=20, balance=0.1, latent=4, hidden=16, epochs=30, batch_size=64,
    learning_rate=3e-3,
)  # fmt: skip


def clouds(count: int = 200, size: int = 6) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(12, size))
    return (centres[rng.integers(0, 12, count)] + 0.3 * rng.normal(size=(count, size))).astype(np.float32)


def fit(vectors: np.ndarray, balance: float = 0.0, levels: int = 3, codes: int = 8) -> Quantiser:
    return compiled(lambda key, x: fit_kmeans(key, x, levels, codes, 30, balance))(jax.random.key(1), vectors)


def test_codes_are_the_nearest_rows_of_what_is_left() -> None:
    book = jnp.array([[[0.0, 0.0], [4.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]])
    quantiser = Quantiser(jnp.array([1.0, 0.0]), book, jnp.zeros((2, 2)))
    # (6, 0) - mean = (5, 0): the second row leaves (1, 0), which is the second row of the next level.
    # (1, 1) - mean = (0, 1): the first row leaves (0, 1), which is the first row of the next level.
    vectors = jnp.array([[6.0, 0.0], [1.0, 1.0]])
    assert quantised(quantiser, vectors).codes.tolist() == [[1, 1], [0, 0]]
    np.testing.assert_allclose(reconstructed(quantiser, vectors), vectors, atol=1e-6)
    dear = quantiser.replace(prices=jnp.array([[0.0, 0.0], [5.0, 0.0]]))
    assert quantised(dear, vectors).codes.tolist() == [[1, 1], [0, 1]]  # |(0, 1) - (1, 0)|^2 = 2 is less than 0 + 5


def test_each_level_equals_brute_force_and_lowers_the_error() -> None:
    vectors = clouds()
    quantiser = fit(vectors)
    found, left = np.asarray(quantised(quantiser, jnp.asarray(vectors)).codes), vectors - vectors.mean(0)
    errors = [1.0]
    for level, book in enumerate(np.asarray(quantiser.codebooks)):
        distances = np.square(left[:, None] - book[None]).sum(-1)
        np.testing.assert_array_equal(found[:, level], distances.argmin(1))
        left = left - book[found[:, level]]
        errors.append(np.square(left).sum() / np.square(vectors - vectors.mean(0)).sum())
    assert (np.diff(errors) < 0).all() and errors[-1] < 0.1
    remade = reconstructed(quantiser, jnp.asarray(vectors))
    assert float(relative_error(jnp.asarray(vectors), remade, quantiser.mean)) == pytest.approx(errors[-1], rel=1e-3)


def test_the_fixed_point_of_the_first_level_is_that_of_lloyd() -> None:
    vectors = clouds()
    quantiser = fit(vectors, levels=1)
    code = np.asarray(quantised(quantiser, jnp.asarray(vectors)).codes)[:, 0]
    centred = vectors - vectors.mean(0)
    means = np.stack([centred[code == n].mean(0) for n in range(8)])
    np.testing.assert_allclose(quantiser.codebooks[0], means, atol=1e-4)


def test_parts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = jnp.asarray(clouds())
    quantiser = fit(np.asarray(vectors))
    whole = quantised(quantiser, vectors)
    monkeypatch.setattr(quantise, "ROWS", 64)  # 200 rows: three parts and a rest
    np.testing.assert_array_equal(quantised(quantiser, vectors).codes, whole.codes)


def test_prices_are_those_of_the_formula() -> None:
    # Loads 3, 0, 0 have the mean 1: log(4 / 2) and log(1 / 2), times 0.5 x 4.
    np.testing.assert_allclose(
        prices_of(jnp.array([3.0, 0.0, 0.0]), jnp.float32(4.0), 0.5), 2 * np.log([2, 0.5, 0.5]), rtol=1e-6
    )


def test_balance_evens_out_the_use_of_codes() -> None:
    rng = np.random.default_rng(0)
    spread = np.exp(0.7 * rng.normal(size=(400, 1)))  # many rows are near the middle, few are far from it
    crowd = (rng.normal(size=(400, 8)) * spread).astype(np.float32)
    largest = [
        np.bincount(np.asarray(quantised(fit(crowd, balance, levels=1), jnp.asarray(crowd)).codes)[:, 0]).max()
        for balance in (0.0, 0.3)
    ]
    assert largest[1] < 0.8 * largest[0]


def test_later_levels_are_balanced_too() -> None:
    # In many dimensions, the residuals of later levels are about as far from every code: prices that are large next to
    # these differences would send most rows to one code.
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(2000, 64)) * np.exp(0.5 * rng.normal(size=(2000, 1)))).astype(np.float32)
    even, free = (
        np.asarray(quantised(fit(vectors, balance, levels=3, codes=32), jnp.asarray(vectors)).codes)
        for balance in (0.5, 0.0)
    )
    for level in range(3):
        loads, without = (np.bincount(codes[:, level], minlength=32) for codes in (even, free))
        assert (loads > 0).sum() >= 29 and loads.max() < min(4 * 2000 / 32, without.max())


def test_a_sweep_equals_brute_force_and_lowers_the_cost_of_uneven_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, book = clouds(500), clouds(8)
    distances = np.square(rows[:, None] - book[None]).sum(-1)

    def cost(code: np.ndarray) -> float:
        loads = np.bincount(code, minlength=8)
        return distances[np.arange(500), code].sum() + 0.5 * 2.0 * (loads * np.log(loads * 8 / 500)).sum()

    def swept(code: np.ndarray) -> np.ndarray:
        return np.asarray(sweep(jnp.asarray(rows), jnp.asarray(book), jnp.asarray(code), jnp.float32(2.0), 0.5))

    nearest = distances.argmin(1)
    one_by_one, loads = nearest.copy(), np.bincount(nearest, minlength=8)
    for row in range(500):
        loads[one_by_one[row]] -= 1
        one_by_one[row] = (distances[row] + np.log((loads + 1) / (loads.mean() + 1))).argmin()
        loads[one_by_one[row]] += 1
    in_parts = swept(nearest)
    monkeypatch.setattr(quantise, "PARTS", 500)
    np.testing.assert_array_equal(swept(nearest), one_by_one)
    assert max(cost(one_by_one), cost(in_parts)) < cost(nearest) - 20  # about 1340, 1340 and 1368


def test_dead_codes_move_to_the_worst_rows() -> None:
    centres, rows = jnp.zeros((3, 1)), jnp.array([[1.0], [5.0], [9.0], [2.0]])
    moved = revived(centres, jnp.array([0.0, 4.0, 0.0]), rows, jnp.array([1.0, 25.0, 81.0, 4.0]))
    assert moved.tolist() == [[9.0], [0.0], [5.0]]


def test_an_rqvae_starts_at_the_error_of_kmeans_and_ends_below() -> None:
    vectors = clouds()
    quantiser, errors = compiled(lambda key, x: fit_rqvae(key, x, RQVAE))(jax.random.key(0), vectors)
    remade = reconstructed(quantiser, jnp.asarray(vectors))
    error = float(relative_error(jnp.asarray(vectors), remade, quantiser.mean))
    assert error == pytest.approx(float(errors.min()), rel=1e-4) and error < 0.97 * float(errors[0])
    centred = vectors - vectors.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:4]
    lost = 1 - np.square(centred @ axes.T).sum() / np.square(centred).sum()  # what four components cannot hold
    assert float(errors[0]) > lost
    codes = np.asarray(quantised(quantiser, jnp.asarray(vectors)).codes)
    assert [len(np.unique(column)) for column in codes.T] == [8, 8]


def test_the_size_of_latent_vectors_follows_from_the_variance() -> None:
    # Variances of 5 : 3 : 1.5 : 0.5, so that 1, 2, 3 and 4 components hold 50%, 80%, 95% and all of it.
    axes = np.diag(np.sqrt([5.0, 3.0, 1.5, 0.5]))
    vectors = np.concatenate([axes, -axes]) @ np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0] + 7.0
    assert [latent_size(vectors, held) for held in (0.4, 0.7, 0.9, 0.99)] == [1, 2, 3, 4]
    assert latent_size(np.ones((5, 4))) == 1


def test_the_last_code_tells_items_apart() -> None:
    codes = np.array([[1, 2], [0, 0], [1, 2], [1, 3], [1, 2]])
    whole = add_last_code(codes)
    assert whole.tolist() == [[1, 2, 0], [0, 0, 0], [1, 2, 1], [1, 3, 0], [1, 2, 2]]
    new = add_last_code(np.array([[1, 2], [5, 5], [1, 2], [0, 0]]), whole)
    assert new.tolist() == [[1, 2, 3], [5, 5, 0], [1, 2, 4], [0, 0, 1]]
    assert vocabulary(whole, 2) == (2, 2, 3) and vocabulary(whole, 8) == (8, 8, 8)


def test_groups_are_counted_in_the_order_of_the_codes() -> None:
    assert groups(np.array([[2, 0], [0, 9], [2, 0], [0, 1]])).tolist() == [2, 1, 2, 0]
    assert groups(np.zeros((0, 2), int)).tolist() == []


@pytest.mark.parametrize(
    ("codes", "wanted"),
    [([[0, 0], [0, 0]], "same code"), ([[0, 4]], "from 0 to"), ([[-1, 0]], "from 0 to"), ([[0, 0, 0]], "shape")],
)
def test_wrong_codes_are_refused(codes: list[list[int]], wanted: str) -> None:
    with pytest.raises(InputError, match=wanted):
        check_codes(np.array(codes), (4, 4))


def test_the_report_has_numbers_worked_by_hand() -> None:
    codes = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]])
    vectors = np.array([[1.0, 0], [1, 0], [-1, 0], [-1, 0]])
    remade = np.array([[1.0, 0], [0, 0], [-1, 0], [-1, 0]])
    report = tokens_report(codes, 2, vectors, remade, ["a", "a", "b", "b"])
    assert report["error"] == 0.25 and report["collisions"] == {"before_last": 2, "after_last": 0}
    assert report["last_level_used"] == 2
    assert report["levels"][0]["most_items"] == 3 and report["levels"][0]["used"] == 2
    assert report["levels"][0]["perplexity"] == pytest.approx(np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)))
    one, two = report["prefixes"]  # pairs (0, 1), (0, 2), (1, 2) share the first code; (0, 1) both
    assert one == {"pairs": 3, "cosine": pytest.approx(-1 / 3), "same_category": pytest.approx(1 / 3)}
    assert two == {"pairs": 1, "cosine": pytest.approx(1.0), "same_category": 1.0}
    assert report["pairs"] == {"pairs": 6, "cosine": pytest.approx(-1 / 3), "same_category": pytest.approx(1 / 3)}
