import jax
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.data import Log
from jaxrec.supervised.item_texts import draw_texts
from jaxrec.supervised.pairs import co_liked, make_pair_data


def log(rows: list[tuple[int, int, int]]) -> Log:
    user, item, liked = (np.array(column, np.int32) for column in zip(*rows, strict=True))
    feedback = liked[:, None].astype(np.float32)
    return Log(user, item, np.arange(len(rows)), feedback, ("liked",), num_users=3, num_items=6)


def test_pairs_are_neighbouring_likes_of_one_user() -> None:
    got = co_liked(log([(0, 1, 1), (0, 2, 0), (0, 3, 1), (0, 3, 1), (1, 4, 1), (1, 5, 1), (2, 0, 1)]), 0)
    np.testing.assert_array_equal(got, [[1, 3], [4, 5]])
    with pytest.raises(InputError, match="no user has two different items with liked"):
        co_liked(log([(0, 1, 1), (0, 1, 1), (1, 2, 1)]), 0)


def test_shares_count_each_place_of_the_pairs() -> None:
    data = make_pair_data(np.array([[0, 1], [0, 2]], np.int32), [[[5], [6, 7], [8]]])
    np.testing.assert_allclose(np.exp(data.log_share), [[1, 0, 0], [0, 0.5, 0.5]])
    np.testing.assert_array_equal(data.texts.ids, [[[5, 0], [6, 7], [8, 0]]])


def test_dropped_words_never_are_the_first_or_last_token_and_dropped_fields_are_other_texts() -> None:
    whole, shorter = [[1, 2, 3, 4, 5]] * 2, [[1, 9, 5]] * 2
    data = jax.device_put(make_pair_data(np.array([[0, 1]], np.int32), [whole, shorter]))
    items = np.zeros(4000, np.int32)
    draw = jax.jit(draw_texts, static_argnums=(3, 4))
    ids, mask = map(np.asarray, draw(jax.random.key(0), data.texts, items, 0.0, 0.0))
    assert (ids == whole[0]).all() and mask.all()
    ids, mask = map(np.asarray, draw(jax.random.key(0), data.texts, items, 0.25, 0.5))
    short = ids[:, 1] == 9
    assert abs(short.mean() - 0.25) < 0.03
    assert mask[:, 0].all() and mask[~short, 4].all() and mask[short, 2].all() and not mask[short, 3:].any()
    assert abs(mask[~short, 1:4].mean() - 0.5) < 0.03
