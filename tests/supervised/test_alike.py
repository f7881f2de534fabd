"""Ways in which items can be alike."""

import numpy as np

from jaxrec.data.log import Log
from jaxrec.supervised.alike import ways_alike


def log_of(items: int, touched: int) -> Log:
    return Log(
        user=np.zeros(touched, np.int32),
        item=np.arange(touched, dtype=np.int32),
        time=np.arange(touched),
        feedback=np.zeros((touched, 1), np.float32),
        feedback_names=("liked",),
        num_users=1,
        num_items=items,
        untouched=items - touched,
    )


def three_subjects(items: int) -> tuple[np.ndarray, np.ndarray]:
    subject = np.arange(items) % 3
    noise = 0.05 * np.random.default_rng(0).normal(size=(items, 5))
    return subject, 3.0 * np.eye(5)[subject] + noise


def test_groups_hold_what_reads_alike_and_items_without_rows_have_one_too() -> None:
    subject, features = three_subjects(40)
    ways = {way.name: way.directions for way in ways_alike(features, log_of(40, 40), seed=0)}
    assert list(ways) == ["tastes", "features", "4 groups", "6 groups", "8 groups"]  # 12 groups: under 4 items each
    assert ways["tastes"] is None
    features_way, groups = ways["features"], ways["4 groups"]
    assert features_way is not None and groups is not None
    np.testing.assert_allclose(features_way[0], features[0] / np.linalg.norm(features[0]))
    assert groups.shape == (40, 4) and (groups.sum(1) == 1).all()
    together = groups @ groups.T > 0
    assert not together[subject[:, None] != subject[None]].any()  # a group never mixes subjects
    assert together[subject[:, None] == subject[None]].mean() > 0.7  # four groups split one of them


def test_groups_are_found_on_items_with_rows_alone() -> None:
    features = three_subjects(60)[1]
    other = np.concatenate([features[:48], -features[48:]])  # nobody has touched the last twelve
    one, two = (ways_alike(x, log_of(60, 48), seed=3) for x in (features, other))
    assert [way.name for way in one] == ["tastes", "features", "4 groups", "6 groups", "8 groups", "12 groups"]
    for first, second in zip(one[1:], two[1:], strict=True):
        assert first.directions is not None and second.directions is not None
        np.testing.assert_array_equal(first.directions[:48], second.directions[:48])
        assert len(first.directions) == 60


def test_without_features_items_are_alike_by_tastes_alone() -> None:
    assert [way.name for way in ways_alike(np.zeros((9, 0)), log_of(9, 9), seed=0)] == ["tastes"]
    assert [way.name for way in ways_alike(np.zeros((9, 3)), log_of(9, 9), seed=0)] == ["tastes"]


def test_items_with_few_different_features_have_few_groups() -> None:
    genres = np.eye(5)[np.arange(60) % 5]
    names = [way.name for way in ways_alike(genres, log_of(60, 60), seed=0)]
    assert names == ["tastes", "features", "4 groups"]  # five genres: a sixth group would have nobody
    same = [way.name for way in ways_alike(np.ones((60, 2)), log_of(60, 60), seed=0)]
    assert same == ["tastes", "features"]
