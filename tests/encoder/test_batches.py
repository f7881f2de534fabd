import numpy as np
import pytest

from jaxrec.encoder.batches import bucket_lengths, make_batches


def test_few_texts_share_one_bucket_and_many_get_their_own() -> None:
    lengths = np.array([5] * 10 + [60] * 10)
    # one bucket pads 10 x 56 tokens, far less than a compile is worth
    assert bucket_lengths(lengths).tolist() == [64]
    # 100000 x 56 tokens of padding are worth far more
    assert bucket_lengths(np.repeat(lengths, 10000)).tolist() == [8, 64]


def test_batches_hold_every_text_once_within_their_tokens() -> None:
    rng = np.random.default_rng(0)
    ids = [rng.integers(1, 9, n).tolist() for n in rng.integers(1, 101, 3000)]
    seen = []
    for rows, padded, mask in make_batches(ids, 2048, 100):
        assert padded.shape == mask.shape and padded.size <= 2048
        for line, row in enumerate(rows):
            assert padded[line][mask[line] > 0].tolist() == ids[row]
        assert mask[len(rows) :].sum() == 0
        seen += rows.tolist()
    assert sorted(seen) == list(range(3000))


@pytest.mark.parametrize("devices", [1, 3, 8])
def test_every_bucket_has_one_shape_and_only_the_last_batch_is_not_full(devices: int) -> None:
    rng = np.random.default_rng(1)
    ids = [[1] * n for n in rng.integers(1, 61, 1001)]
    batches = list(make_batches(ids, 1920, 60, np.array([20, 40, 60]), devices))
    assert len({ids.shape for _, ids, _ in batches[:-1]}) == 3
    assert all(len(rows) == len(padded) and len(padded) % devices == 0 for rows, padded, _ in batches[:-1])
    tokens, padded = sum(map(len, ids)), sum(x.size for _, x, _ in batches)
    assert padded < 1.5 * tokens  # on average a bucket of 20 pads 10 of 30


def test_a_batch_is_filled_with_the_next_shorter_texts_by_hand() -> None:
    ids = [[7], [7, 8, 9], [7, 8], [7]]
    (first, padded, mask), (last, rest, _) = make_batches(ids, 6, 4, np.array([2, 3]))
    assert first.tolist() == [1, 2] and padded.tolist() == [[7, 8, 9], [7, 8, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert last.tolist() == [0, 3] and rest.shape == (3, 2)  # 6 tokens of the shorter bucket; the third line is empty
