import numpy as np

from jaxrec.data.windows import latest_rows


def test_windows_end_with_the_newest_row_and_begin_with_padding() -> None:
    columns = np.arange(10, 15), np.arange(10.0, 20.0).reshape(5, 2)
    starts, ends = np.array([0, 0, 3, 5]), np.array([2, 5, 3, 5])
    items, feedback = latest_rows(columns, starts, ends, 3)
    np.testing.assert_array_equal(items, [[-1, 10, 11], [12, 13, 14], [-1, -1, -1], [-1, -1, -1]])
    np.testing.assert_array_equal(feedback[0], [[0, 0], [10, 11], [12, 13]])
    np.testing.assert_array_equal(feedback[1], [[14, 15], [16, 17], [18, 19]])
    assert not feedback[2:].any()
    assert (items.dtype, feedback.dtype) == (np.int32, np.float32)


def test_nothing_is_known_of_a_user_without_rows() -> None:
    items, feedback = latest_rows((np.zeros(0, int), np.zeros((0, 2))), np.array([0]), np.array([0]), 4)
    assert items.tolist() == [[-1] * 4]
    assert feedback.shape == (1, 4, 2)
