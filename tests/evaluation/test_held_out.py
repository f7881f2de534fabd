import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig, GeneratedLog
from jaxrec.data import Log, Split, global_time, leave_one_out, load_dataset
from jaxrec.evaluation import held_out
from jaxrec.evaluation.held_out import (
    held_out_metrics,
    held_out_tables,
    held_out_tables_of_users,
    positive_targets,
)
from jaxrec.sharding.compile import compiled
from jaxrec.supervised.baselines.neighbours import score_popular
from jaxrec.supervised.simple import SIMPLE_RECOMMENDERS, most_popular

SMALL = GeneratedLog(users=120, items=200, interactions=30)


def log_of(rows: list[tuple[int, int]], num_users: int, num_items: int) -> Log:
    user, item = (np.array(column, np.int32) for column in zip(*rows, strict=True))
    feedback = np.stack([np.ones(len(rows)), item], axis=1).astype(np.float32)
    return Log(user, item, np.arange(len(rows)), feedback, ("seen", "value"), num_users, num_items)


def fixed(values: list[float]):
    return lambda obs: jnp.broadcast_to(jnp.array(values), (len(obs.history_items), len(values)))


def test_metrics_of_several_targets_by_hand() -> None:
    # user 0 has history 0 and 1, targets 2 and 5; user 1 has no history and target 4; user 2 is not judged
    split = Split(
        train=log_of([(0, 0), (2, 3)], 3, 6),
        validation=log_of([(0, 1)], 3, 6),
        test=log_of([(0, 2), (0, 5), (1, 4)], 3, 6),
    )
    got = held_out_metrics(fixed([9.0, 8.0, 7.0, 6.0, 5.0, 4.0]), split, ks=(1, 4))
    # user 0: item 2 at rank 0, item 5 at rank 3; user 1: item 4 at rank 4
    assert got["users"] == 2
    assert got["hit_rate@1"] == got["precision@1"] == got["ndcg@1"] == 0.5
    assert got["recall@1"] == 0.25
    assert got["recall@4"] == 0.5 and got["precision@4"] == 0.25
    want = (1 + 1 / np.log2(5)) / (1 + 1 / np.log2(3)) / 2
    assert got["ndcg@4"] == pytest.approx(want, rel=1e-6)
    assert list(got) == [f"{m}@{k}" for m in ("hit_rate", "recall", "precision", "ndcg") for k in (1, 4)] + ["users"]


def test_a_ranking_may_depend_on_who_the_user_is() -> None:
    # of three users, 0 and 2 have a target; user 0 prefers item 3 and user 2 item 1, which is in the history of user 2
    split = Split(
        train=log_of([(0, 0), (1, 2), (2, 1)], 3, 4),
        validation=log_of([(0, 1)], 3, 4),
        test=log_of([(0, 3), (2, 2)], 3, 4),
    )
    own = np.array([[2.0, 1, 0, 3], [0, 0, 0, 0], [2, 4, 1, 3]])
    got = held_out_tables_of_users(lambda who: own[who], split, ks=(1, 3)).all
    # the target of user 0 is first; that of user 2 comes after items 3 and 0
    assert got["users"] == 2 and got["hit_rate@1"] == 0.5 and got["hit_rate@3"] == 1.0
    assert got["ndcg@3"] == pytest.approx((1 + 1 / np.log2(4)) / 2, rel=1e-6)


def test_liked_targets_are_ranked_on_their_own() -> None:
    # first feedback of the test rows: user 0 likes item 5 and not item 2, user 1 does not like item 4
    test = log_of([(0, 2), (0, 5), (1, 4)], 3, 6)
    test = dataclasses.replace(test, feedback=np.array([[0, 1], [1, 1], [0, 1]], np.float32))
    split = Split(train=log_of([(0, 0), (2, 3)], 3, 6), validation=log_of([(0, 1)], 3, 6), test=test)
    scores = fixed([9.0, 8.0, 7.0, 6.0, 5.0, 4.0])
    got = held_out_tables(scores, split, ks=(1, 4))
    assert got.all == held_out_metrics(scores, split, ks=(1, 4)) and got.all["users"] == 2
    assert got.liked is not None and got.liked["users"] == 1
    # item 5 is at rank 3, after items 2, 3 and 4: the disliked target keeps its place above it
    assert got.liked["recall@1"] == 0 and got.liked["recall@4"] == 1 and got.liked["precision@4"] == 0.25
    assert got.liked["ndcg@4"] == pytest.approx(1 / np.log2(5), rel=1e-6)
    assert list(got.liked) == list(got.all)


def test_there_is_no_table_of_liked_targets_without_one() -> None:
    test = log_of([(0, 2)], 1, 3)
    test = dataclasses.replace(test, feedback=np.zeros((1, 2), np.float32))
    split = Split(train=log_of([(0, 0)], 1, 3), validation=test.take(np.zeros(1, bool)), test=test)
    assert held_out_tables(fixed([1.0, 2.0, 3.0]), split, ks=(1,)).liked is None


def test_many_targets_agree_with_sorting_by_hand() -> None:
    data = load_dataset(DataConfig(generated=SMALL), 1)
    split = global_time(data.log, 0.3)
    counts = most_popular(split.train)
    got = held_out_metrics(lambda obs: score_popular(jnp.asarray(counts), obs.history_items), split, ks=(20,))
    recall, ndcg = [], []
    for user in np.unique(split.test.user):
        seen = {i for part in (split.train, split.validation) for i in part.item[part.user == user].tolist()}
        targets = split.test.item[split.test.user == user].tolist()
        scores = np.array([count for item, count in enumerate(counts) if item not in seen])
        ranks = [(scores > counts[t]).sum() + ((scores == counts[t]).sum() - 1) / 2 for t in targets]
        hits = [rank for rank in ranks if rank < 20]
        recall.append(len(hits) / len(targets))
        ideal = sum(1 / np.log2(place + 2) for place in range(min(20, len(targets))))
        ndcg.append(sum(1 / np.log2(rank + 2) for rank in hits) / ideal)
    assert got["users"] == len(recall)
    assert got["recall@20"] == pytest.approx(np.mean(recall), rel=1e-5)
    assert got["ndcg@20"] == pytest.approx(np.mean(ndcg), rel=1e-5)


def test_the_window_is_right_aligned_and_cut_but_the_whole_history_is_masked() -> None:
    rows = [(0, item) for item in (4, 2, 0, 3, 1)] + [(1, 3), (1, 4), (1, 0)]
    seen = {}

    def score(obs):
        for row, (window, values) in enumerate(zip(obs.history_items, obs.history_feedback, strict=True)):
            if (window >= 0).any():
                seen[row] = (window.tolist(), values[:, 1].tolist())
        return jnp.broadcast_to(jnp.array([5.0, 1.0, 4.0, 3.0, 2.0]), (len(obs.history_items), 5))

    got = held_out_metrics(score, leave_one_out(log_of(rows, 2, 5)), ks=(1,), history_length=3)
    assert seen[0] == ([2, 0, 3], [2.0, 0.0, 3.0])
    assert seen[1] == ([-1, 3, 4], [0.0, 3.0, 4.0])
    # user 0: only item 1 is open, although the window lacks 4; user 1: item 0 scores highest
    assert got["hit_rate@1"] == 1.0


def test_the_context_is_that_of_the_first_row_to_predict() -> None:
    log = log_of([(0, 0), (0, 1), (0, 2), (0, 3), (1, 4), (1, 5)], 2, 6)
    log = dataclasses.replace(log, context=np.arange(6, dtype=np.float32)[:, None], context_names=("row",))
    rows = {"train": [0, 1, 4], "validation": [], "test": [2, 3, 5]}
    seen = []

    def score(obs):
        seen.extend(np.asarray(obs.context).tolist())
        return jnp.zeros((len(obs.history_items), 6))

    held_out_metrics(score, Split(**{name: log.take(np.array(r, int)) for name, r in rows.items()}), ks=(1,))
    assert seen == [[2.0], [5.0]]


def test_a_target_in_the_history_is_a_miss() -> None:
    one = log_of([(0, 1)], 1, 3)
    split = Split(train=one, validation=one.take(np.zeros(1, bool)), test=one)
    assert held_out_metrics(fixed([0.0, 9.0, 0.0]), split, ks=(3,))["hit_rate@3"] == 0.0


def test_a_constant_score_is_not_rewarded() -> None:
    test = log_of([(user, user) for user in range(20)], 20, 20)
    empty = test.take(np.zeros(20, bool))
    got = held_out_metrics(fixed([1.0] * 20), Split(train=empty, validation=empty, test=test), ks=(9, 10))
    assert got["hit_rate@9"] == 0.0 and got["hit_rate@10"] == 1.0  # everybody's mid-rank is 9.5


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_dataset(DataConfig(generated=SMALL), 0)
    split = leave_one_out(data.log)
    counts = jnp.asarray(most_popular(split.train))
    score = compiled(score_popular)
    whole = held_out_metrics(lambda obs: score(counts, obs.history_items), split)
    monkeypatch.setattr(held_out, "BATCH_SCORES", 8 * split.train.num_items)
    parts = held_out_metrics(lambda obs: score(counts, obs.history_items), split)
    assert whole == pytest.approx(parts, rel=1e-6)
    assert whole["users"] == 120


def test_scores_of_the_wrong_shape_and_splits_without_tests_are_refused() -> None:
    split = leave_one_out(log_of([(0, 0), (0, 1), (0, 2)], 1, 4))
    with pytest.raises(InputError, match=r"scores: expected shape \(1, 4\), got \(1, 3\)"):
        held_out_metrics(fixed([1.0, 2.0, 3.0]), split)
    with pytest.raises(InputError, match="no test rows"):
        held_out_metrics(fixed([1.0] * 4), leave_one_out(log_of([(0, 0)], 1, 4)))
    with pytest.raises(InputError, match="ks: expected a value at least 1, got 0"):
        held_out_metrics(fixed([1.0] * 4), split, ks=(0,))


def test_simple_recommenders_reproduce_the_reference_on_movielens(real_data) -> None:
    path = str(real_data / "ml-latest-small")
    split = leave_one_out(load_dataset(DataConfig(source="movielens", path=path), 0).log)
    reference = {  # recall@10, ndcg@10 of an independent program under the same protocol
        "most_popular": (0.0410, 0.0188),
        "item_knn": (0.0557, 0.0254),
        "item_knn_last": (0.0770, 0.0436),
    }
    for name, (recall, ndcg) in reference.items():
        recommender = SIMPLE_RECOMMENDERS[name]
        fitted, score = jnp.asarray(recommender.fit(split.train)), compiled(recommender.score)
        got = held_out_metrics(lambda o, f=fitted, s=score: s(f, o.history_items, o.history_feedback), split, ks=(10,))
        assert got["users"] == 610
        assert got["recall@10"] == got["hit_rate@10"] == pytest.approx(recall, rel=0.02)
        assert got["ndcg@10"] == pytest.approx(ndcg, rel=0.02)


def slates() -> Split:
    """User 0 was shown items 1 to 3 at time 5 and clicked item 2, the test row; user 1 clicked item 3 alone."""
    user = np.array([0, 0, 0, 0, 1, 1], np.int32)
    item = np.array([0, 1, 3, 2, 0, 3], np.int32)
    clicked = np.array([[1], [0], [0], [1], [0], [1]], np.float32)
    log = Log(user, item, np.array([1, 5, 5, 5, 1, 2]), clicked, ("clicked",), 2, 5)
    return Split(train=log.take(np.array([0, 1, 4])), validation=log.take([2]), test=log.take([3, 5]))


def test_rows_shown_together_with_a_success_leave_its_history() -> None:
    seen = {}

    def score(obs):
        for row in np.asarray(obs.history_items):
            seen.setdefault(tuple(row[row >= 0]), 0)
        return jnp.broadcast_to(jnp.array([5.0, 4.0, 3.0, 2.0, 1.0]), (len(obs.history_items), 5))

    got = held_out_tables(score, slates(), ks=(1, 2))
    assert set(seen) >= {(0, 1, 3), (0,)}  # with every row as target, and with the clicked ones
    # Every row: items 0, 1 and 3 are masked for user 0, so item 2 is first. Item 3 is after 1 and 2 for user 1.
    assert (got.all["hit_rate@1"], got.all["hit_rate@2"]) == (0.5, 0.5)
    # Clicked rows: item 1 could be recommended again to user 0 and is above item 2.
    assert got.liked is not None and (got.liked["hit_rate@1"], got.liked["hit_rate@2"]) == (0.0, 0.5)
    assert got.liked["users"] == len(got.liked_ndcg) == 2


def test_only_users_with_such_rows_are_scored_twice() -> None:
    narrow, affected = positive_targets(slates())
    np.testing.assert_array_equal(affected, [True, False])
    np.testing.assert_array_equal(narrow.train.item, [0, 0])
    assert len(narrow.validation) == 0
    np.testing.assert_array_equal(narrow.test.item, [2, 3])


def test_a_repeated_item_can_be_a_hit_where_rows_are_kept() -> None:
    train = dataclasses.replace(log_of([(0, 0), (0, 1)], 1, 3), repeats=True)
    split = Split(train=train, validation=train.take([]), test=log_of([(0, 1)], 1, 3))
    assert held_out_metrics(fixed([1.0, 2.0, 0.0]), split, ks=(1,))["hit_rate@1"] == 1
