import numpy as np
import pytest

from jaxrec.data import Log, leave_one_out
from jaxrec.evaluation.retrieval import retrieval_metrics, validation_of


def split_of(sequences: list[list[int]], num_items: int):
    user = np.repeat(np.arange(len(sequences)), [len(one) for one in sequences]).astype(np.int32)
    item = np.concatenate(sequences).astype(np.int32)
    ones = np.ones((len(item), 1), np.float32)
    return leave_one_out(Log(user, item, np.arange(len(item)), ones, ("liked",), len(sequences), num_items))


def test_the_mean_of_the_history_ranks_by_cosine_and_skips_the_history() -> None:
    vectors = np.array([[1, 0], [0, 2], [3, 3], [1, 0.5], [-1, 0]], np.float32)  # of any length
    split = split_of([[0, 1, 2], [0, 1, 3]], 5)
    # The user is (1, 1): items 2 (cosine 1), 3 (0.95) and 4 are left, so the targets have ranks 0 and 1.
    got = retrieval_metrics(vectors, split, (1, 2))
    assert got["hit_rate@1"] == 0.5 and got["ndcg@2"] == pytest.approx(0.5 * (1 + 1 / np.log2(3)))


def test_validation_judges_validation_rows_by_training_rows() -> None:
    split = split_of([[0, 1, 2, 3], [1, 2, 3, 0], [2, 3, 0, 1]], 5)
    small = validation_of(split, 2, seed=0)
    assert len(small.test) == 2 and not len(small.validation) and small.train is split.train
    np.testing.assert_array_equal(small.test.item, split.validation.item[small.test.user])
