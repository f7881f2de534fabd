import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec.ops.slates import (
    BLOCK,
    FEW_PER_PICK,
    _sample_in_blocks,
    diverse_slate,
    expected_of_picks,
    pick_log_probs,
    sample_slate,
    slate_log_prob,
    top_slate,
)

M, K = 6, 3
SLATES = np.array(list(itertools.permutations(range(M), K)))  # [120, 3]
many_log_probs = jax.jit(jax.vmap(slate_log_prob, in_axes=(None, 0)))
sample_many = jax.jit(jax.vmap(sample_slate, in_axes=(0, None, None)), static_argnums=2)
gradient_of = jax.jit(jax.grad(lambda x, mask, slate: slate_log_prob(jnp.where(mask, x, -jnp.inf), slate)))


def sequential(logits: np.ndarray, slate: np.ndarray) -> float:
    """log of the product of softmaxes over what is left, in float64."""
    left, total = list(range(len(logits))), 0.0
    for pick in slate:
        x = np.asarray(logits, np.float64)[left]
        total += logits[pick] - x.max() - np.log(np.exp(x - x.max()).sum())
        left.remove(pick)
    return total


def sequential_gradient(logits: np.ndarray, slate: np.ndarray) -> np.ndarray:
    """Sum over picks of one-hot less softmax over what is left."""
    x, total = np.array(logits, np.float64), np.zeros(len(logits))
    for pick in slate:
        p = np.exp(x - x.max())
        total -= p / p.sum()
        total[pick] += 1
        x[pick] = -np.inf
    return total


@pytest.mark.parametrize("seed", range(3))
def test_the_probabilities_of_all_slates_are_sequential_softmaxes_and_sum_to_one(seed: int) -> None:
    logits = np.random.default_rng(seed).normal(size=M).astype(np.float32) * 2
    got = many_log_probs(jnp.asarray(logits), jnp.asarray(SLATES))
    np.testing.assert_allclose(got, [sequential(logits, s) for s in SLATES], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.exp(np.asarray(got, np.float64)).sum(), 1.0, rtol=1e-5)


def test_very_uneven_logits_are_exact_in_float32() -> None:
    logits = np.array([30, -30, 0, 30, -30, 29.5], np.float32)
    got = many_log_probs(jnp.asarray(logits), jnp.asarray(SLATES))
    np.testing.assert_allclose(got, [sequential(logits, s) for s in SLATES], rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("spread", [1, 30])
def test_the_gradient_is_one_hot_less_softmax_of_every_pick(spread: int) -> None:
    logits = np.random.default_rng(0).uniform(-spread, spread, M).astype(np.float32)
    for slate in SLATES[::17]:
        got = gradient_of(jnp.asarray(logits), jnp.ones(M, bool), jnp.asarray(slate))
        np.testing.assert_allclose(got, sequential_gradient(logits, slate), atol=1e-5)


@pytest.mark.parametrize("open_", [3, 4, 6])
def test_masked_candidates_leave_the_others_as_if_alone(open_: int) -> None:
    # with three open, the candidates that were never picked are all masked
    logits, slate = np.array([0.5, -1.0, 2.0, 0.0, 1.0, -2.0], np.float32), np.array([2, 0, 1])
    mask = jnp.arange(M) < open_
    got = slate_log_prob(jnp.where(mask, jnp.asarray(logits), -jnp.inf), jnp.asarray(slate))
    np.testing.assert_allclose(got, sequential(logits[:open_], slate), rtol=1e-5)
    gradient = gradient_of(jnp.asarray(logits), mask, jnp.asarray(slate))
    np.testing.assert_allclose(gradient[:open_], sequential_gradient(logits[:open_], slate), atol=1e-5)
    np.testing.assert_array_equal(gradient[open_:], np.zeros(M - open_))


def test_slates_of_everything_are_rankings() -> None:
    logits = np.array([3.0, -1.0, 0.5], np.float32)
    slates = np.array(list(itertools.permutations(range(3))))
    got = many_log_probs(jnp.asarray(logits), jnp.asarray(slates))
    np.testing.assert_allclose(got, [sequential(logits, s) for s in slates], rtol=1e-5, atol=1e-6)
    for slate in slates:
        gradient = gradient_of(jnp.asarray(logits), jnp.ones(3, bool), jnp.asarray(slate))
        np.testing.assert_allclose(gradient, sequential_gradient(logits, slate), atol=1e-5)


def test_single_items_are_softmax_choices() -> None:
    logits = jnp.array([1.0, -2.0, 0.3, 30.0])
    got = many_log_probs(logits, jnp.arange(4)[:, None])
    np.testing.assert_allclose(got, jax.nn.log_softmax(logits), rtol=1e-6)


def test_leading_axes_are_a_batch() -> None:
    logits = jax.random.normal(jax.random.key(0), (2, 5, M))
    slates = sample_slate(jax.random.key(1), logits, K)
    assert slates.shape == (2, 5, K) and slates.dtype == jnp.int32
    got = slate_log_prob(logits, slates)
    assert got.shape == (2, 5)
    np.testing.assert_allclose(got[1, 3], slate_log_prob(logits[1, 3], slates[1, 3]), rtol=1e-6)


def test_sampling_follows_the_probabilities() -> None:
    weights, draws = np.array([1.0, 2.0, 3.0, 4.0]), 20_000
    slates = np.array(list(itertools.permutations(range(4), 2)))
    p = np.array([weights[i] / 10 * weights[j] / (10 - weights[i]) for i, j in slates])
    logits = jnp.log(jnp.asarray(weights, jnp.float32))
    drawn = np.asarray(sample_many(jax.random.split(jax.random.key(7), draws), logits, 2))
    seen = np.array([(drawn == s).all(1).sum() for s in slates])
    assert seen.sum() == draws
    assert (np.abs(seen - draws * p) < 4 * np.sqrt(draws * p * (1 - p))).all()
    chi_square = ((seen - draws * p) ** 2 / (draws * p)).sum()
    assert chi_square < 11 + 4 * np.sqrt(2 * 11)  # 12 slates, 11 degrees of freedom


@pytest.mark.parametrize("block", [1, 2, 3])
def test_blocks_of_candidates_have_the_same_probabilities(block: int) -> None:
    weights, draws = np.array([1.0, 2.0, 0.0, 4.0, 0.5, 30.0, 0.0]), 40_000  # the last block is filled up
    slates = np.array(list(itertools.permutations([0, 1, 3, 4, 5], 2)))
    p = np.array([weights[i] / 37.5 * weights[j] / (37.5 - weights[i]) for i, j in slates])
    sample = jax.jit(jax.vmap(lambda key, logits: _sample_in_blocks(key, logits, 2, block), in_axes=(0, None)))
    drawn = sample(jax.random.split(jax.random.key(block), draws), jnp.log(jnp.asarray(weights, jnp.float32)))
    seen = np.array([(np.asarray(drawn) == s).all(1).sum() for s in slates])
    assert seen.sum() == draws
    chi_square = ((seen - draws * p) ** 2 / (draws * p)).sum()
    assert chi_square < 19 + 4 * np.sqrt(2 * 19)  # 20 slates, 19 degrees of freedom


def test_long_catalogues_are_drawn_in_blocks_with_the_probabilities_of_the_softmax() -> None:
    size, draws = FEW_PER_PICK * BLOCK * 2 + 5, 20_000
    logits = np.random.default_rng(0).normal(size=size).astype(np.float32)
    logits[200:600] = -np.inf  # blocks without any candidate among them
    slates = np.asarray(sample_many(jax.random.split(jax.random.key(3), draws), jnp.asarray(logits), 2))
    assert np.isfinite(logits[slates]).all() and (slates[:, 0] != slates[:, 1]).all()
    p = np.exp(logits.astype(np.float64)) / np.exp(logits.astype(np.float64)).sum()
    first = np.bincount(slates[:, 0] // 100, minlength=11)
    wanted = draws * np.array([p[n * 100 : n * 100 + 100].sum() for n in range(11)])
    assert (np.abs(first - wanted) < 4 * np.sqrt(wanted) + 1e-6).all()


def test_long_catalogues_with_fewer_candidates_than_picks_show_those_first() -> None:
    size = FEW_PER_PICK * BLOCK * 3 + 2  # the last block is filled up
    for open_ in ([7, 900], [size - 1, size - 2]):
        logits = jnp.full(size, -jnp.inf).at[jnp.array(open_)].set(0.0)
        drawn = np.asarray(sample_many(jax.random.split(jax.random.key(0), 50), logits, 3))
        assert {frozenset(row[:2]) for row in drawn.tolist()} == {frozenset(open_)} and drawn.max() < size
        assert all(len(set(row)) == 3 for row in drawn.tolist())


def test_masked_candidates_are_never_drawn_while_others_are_left() -> None:
    logits = jnp.array([-20.0, -jnp.inf, 20.0, -jnp.inf, 0.0, -jnp.inf])
    drawn = sample_many(jax.random.split(jax.random.key(0), 5_000), logits, K)
    assert set(np.unique(np.asarray(drawn))) == {0, 2, 4}


def test_the_top_slate_is_best_first_and_the_most_probable() -> None:
    logits = jnp.array([0.1, 2.0, -1.0, 3.0, 0.5, -jnp.inf])
    assert top_slate(logits, K).tolist() == [3, 1, 4]
    assert SLATES[many_log_probs(logits, jnp.asarray(SLATES)).argmax()].tolist() == [3, 1, 4]


numbers = st.one_of(st.floats(-50, 50, width=32), st.just(-np.inf))


@given(values=st.lists(numbers, min_size=8, max_size=8), seed=st.integers(0, 2**31 - 1))
@settings(deadline=None, max_examples=60, derandomize=True)
def test_a_slate_never_repeats_an_item_and_never_takes_a_masked_one_early(values: list[float], seed: int) -> None:
    logits = jnp.asarray(values, jnp.float32)
    slate = np.asarray(sample_many(jax.random.key(seed)[None], logits, 5)[0])
    assert len(set(slate.tolist())) == 5 and slate.min() >= 0 and slate.max() < 8
    is_open = np.isfinite(np.asarray(values)[slate])
    assert is_open.sum() == min(5, np.isfinite(values).sum())
    assert (np.diff(is_open.astype(int)) <= 0).all()
    if is_open.all():
        got = np.asarray(slate_log_prob(logits, jnp.asarray(slate)))
        np.testing.assert_allclose(got, sequential(np.asarray(values), slate), rtol=1e-4, atol=1e-5)


def picks_by_hand(logits: np.ndarray, slate: np.ndarray, rewards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-probability and expected reward of every pick: a softmax over what is left."""
    left, log_probs, means = np.exp(logits.astype(np.float64)), [], []
    for pick in slate:
        share = left / left.sum()
        log_probs.append(np.log(share[pick]))
        means.append(share @ rewards)
        left[pick] = 0.0
    return np.array(log_probs), np.array(means)


@pytest.mark.parametrize(("items", "size"), [(7, 1), (7, 3), (4, 4)])
def test_picks_are_softmax_choices_among_what_is_left(items: int, size: int) -> None:
    rng = np.random.default_rng(items)
    logits, rewards = rng.normal(0, 2, (3, items)).astype(np.float32), rng.uniform(size=(3, items)).astype(np.float32)
    if size < items - 1:
        logits[:, 1] = -np.inf
    slates = np.stack([rng.permutation(np.flatnonzero(np.isfinite(row)))[:size] for row in logits]).astype(np.int32)
    arrays = jnp.asarray(logits), jnp.asarray(slates)
    log_probs, means = pick_log_probs(*arrays), expected_of_picks(*arrays, jnp.asarray(rewards))
    for n in range(3):
        want = picks_by_hand(logits[n], slates[n], rewards[n])
        np.testing.assert_allclose(log_probs[n], want[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(means[n], want[1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(log_probs.sum(-1), slate_log_prob(*arrays), rtol=1e-6)


def test_means_after_a_pick_that_had_nearly_all_the_mass_are_exact() -> None:
    logits, slate = jnp.array([60.0, 0.0, 0.0, -jnp.inf]), jnp.array([0, 1])
    means = expected_of_picks(logits, slate, jnp.array([0.25, 0.5, 1.0, 9.0]))
    np.testing.assert_allclose(means, [0.25, 0.75], rtol=1e-6)


def test_each_pick_pays_for_its_highest_cosine_with_those_before() -> None:
    vectors = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    gains = jnp.array([0.9, 0.8, 0.5, 0.1])
    # With weight .5: item 0; then .8 - .5 = .3, .5 - 0, .1 - 0 (a cosine of -1 costs and gives nothing): item 2; then
    # item 1 (.3) before item 3 (.1).
    assert diverse_slate(gains, vectors, jnp.float32(0.5), 4).tolist() == [0, 2, 1, 3]
    assert diverse_slate(gains, vectors, jnp.float32(0.2), 3).tolist() == [0, 1, 2]
    assert diverse_slate(gains, vectors, jnp.float32(0.0), 4).tolist() == top_slate(gains, 4).tolist()


def test_different_slates_of_a_batch_and_of_candidates_are_those_of_each_alone() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3, 6, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    gains, weight = jnp.asarray(rng.random((3, 6)), jnp.float32), jnp.array([0.0, 0.3, 2.0])
    got = diverse_slate(gains, jnp.asarray(vectors), weight, 4)
    for n in range(3):
        assert got[n].tolist() == diverse_slate(gains[n], jnp.asarray(vectors[n]), weight[n], 4).tolist()
    same = jnp.asarray(vectors[0])
    np.testing.assert_array_equal(diverse_slate(gains, same, weight, 4)[0], got[0])


def test_what_may_not_be_shown_comes_last_in_a_diverse_slate() -> None:
    gains = jnp.array([-jnp.inf, 0.2, -jnp.inf, 0.1])
    slate = diverse_slate(gains, jnp.eye(4), jnp.float32(1.0), 4).tolist()
    assert slate[:2] == [1, 3] and sorted(slate[2:]) == [0, 2]
