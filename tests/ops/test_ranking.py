import chex
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec.ops.ranking import hit_rate_at, mid_rank, ndcg_at, precision_at, recall_at

NONE = jnp.zeros((1, 5), bool)
INF = jnp.inf
LOG2_3, LOG2_5 = 1.5849625, 2.3219281


def test_mid_rank_counts_higher_scores_and_half_the_ties() -> None:
    scores = jnp.array([[3.0, 1.0, 2.0, 2.0, 0.0]])
    got = mid_rank(scores, jnp.array([[0, 2, 3, 1, 4]]), NONE)
    chex.assert_trees_all_close(got, jnp.array([[0.0, 1.5, 1.5, 3.0, 4.0]]))


def test_masked_items_take_no_place_and_masked_targets_miss() -> None:
    scores = jnp.array([[3.0, 1.0, 2.0, 2.0, 0.0]])
    masked = jnp.array([[True, False, False, True, False]])
    got = mid_rank(scores, jnp.array([[0, 2, 1, 4, -1]]), masked)
    chex.assert_trees_all_close(got, jnp.array([[INF, 0.0, 1.0, 2.0, INF]]))


def test_a_constant_score_has_the_middle_rank_and_nan_the_last() -> None:
    got = mid_rank(jnp.zeros((1, 5)), jnp.array([[3]]), NONE)
    chex.assert_trees_all_close(got, jnp.array([[2.0]]))
    got = mid_rank(jnp.array([[jnp.nan, 1.0, 2.0, 3.0, 4.0]]), jnp.array([[0, 1]]), NONE)
    chex.assert_trees_all_close(got, jnp.array([[4.0, 3.0]]))


def test_mid_rank_takes_any_leading_axes() -> None:
    scores = jnp.arange(24.0).reshape(2, 3, 4)
    got = mid_rank(scores, jnp.full((2, 3, 2), 1), jnp.zeros((2, 3, 4), bool))
    chex.assert_trees_all_close(got, jnp.full((2, 3, 2), 2.0))
    chex.assert_shape(mid_rank(scores[0, 0], jnp.array([1, 2]), jnp.zeros(4, bool)), (2,))


@given(st.lists(st.integers(0, 3), min_size=6, max_size=6), st.data())
@settings(max_examples=30, deadline=None)
def test_mid_rank_is_the_mean_rank_over_all_orders_of_ties(levels, data) -> None:
    target = data.draw(st.integers(0, 5))
    hidden = np.array(data.draw(st.lists(st.booleans(), min_size=6, max_size=6)))
    hidden[target] = False
    scores = np.array(levels, float)
    best = sum(scores[~hidden] > scores[target])
    worst = sum(scores[~hidden] >= scores[target]) - 1
    got = mid_rank(jnp.asarray(scores, jnp.float32)[None], jnp.array([[target]]), jnp.asarray(hidden)[None])
    assert float(got[0, 0]) == (best + worst) / 2


def test_metrics_of_one_target_by_hand() -> None:
    ranks, one = jnp.array([[0.0], [1.0], [9.5], [10.0]]), jnp.ones(4, jnp.int32)
    chex.assert_trees_all_close(hit_rate_at(ranks, one, 10), jnp.array([1.0, 1.0, 1.0, 0.0]))
    chex.assert_trees_all_close(recall_at(ranks, one, 10), jnp.array([1.0, 1.0, 1.0, 0.0]))
    chex.assert_trees_all_close(precision_at(ranks, one, 10), jnp.array([0.1, 0.1, 0.1, 0.0]))
    want = jnp.array([1.0, 1 / LOG2_3, 1 / 3.5235620, 0.0])  # log2(11.5) = 3.523562
    chex.assert_trees_all_close(ndcg_at(ranks, one, 10), want, rtol=1e-6)


def test_metrics_of_several_targets_by_hand() -> None:
    # three targets at ranks 0, 3 and 12, a fourth place is padding; cut-off 5
    ranks, three = jnp.array([[0.0, 3.0, 12.0, INF]]), jnp.array([3])
    chex.assert_trees_all_close(hit_rate_at(ranks, three, 5), jnp.array([1.0]))
    chex.assert_trees_all_close(recall_at(ranks, three, 5), jnp.array([2 / 3]))
    chex.assert_trees_all_close(precision_at(ranks, three, 5), jnp.array([0.4]))
    ideal = 1 + 1 / LOG2_3 + 1 / 2  # ranks 0, 1, 2
    chex.assert_trees_all_close(ndcg_at(ranks, three, 5), jnp.array([(1 + 1 / LOG2_5) / ideal]), rtol=1e-6)


def test_the_best_possible_ndcg_has_no_more_hits_than_places() -> None:
    ranks = jnp.array([[0.0, 1.0, 2.0, 3.0]])
    chex.assert_trees_all_close(ndcg_at(ranks, jnp.array([4]), 2), jnp.array([1.0]))
    chex.assert_trees_all_close(recall_at(ranks, jnp.array([4]), 2), jnp.array([0.5]))


def test_without_targets_every_metric_is_zero() -> None:
    ranks, none = jnp.full((1, 2), INF), jnp.array([0])
    for metric in (hit_rate_at, recall_at, precision_at, ndcg_at):
        chex.assert_trees_all_close(metric(ranks, none, 10), jnp.zeros(1))
