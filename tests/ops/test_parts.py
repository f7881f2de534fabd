import numpy as np
import pytest

from jaxrec.ops.parts import equal_parts, next_power, rounded_up


@pytest.mark.parametrize(
    ("count", "want"),
    [
        (6, [([0, 1, 2], 3), ([3, 4, 5], 3)]),
        (5, [([0, 1, 2], 3), ([3, 4, 3], 2)]),
        (4, [([0, 1, 2], 3), ([3, 3, 3], 1)]),
        (2, [([0, 1, 0], 2)]),
        (0, []),
    ],
)
def test_parts_are_of_one_size_and_the_last_repeats_its_own(count: int, want: list) -> None:
    assert [(places.tolist(), own) for places, own in equal_parts(count, 3)] == want


def test_the_parts_together_are_every_row_once() -> None:
    rows = np.arange(100, 111)
    together = np.concatenate([rows[places] for places, _ in equal_parts(11, 4)])[:11]
    np.testing.assert_array_equal(together, rows)


def test_sizes_are_few_and_hold_what_is_rounded_up_to_them() -> None:
    sizes = [rounded_up(count) for count in range(1, 1025)]
    assert all(count <= size <= 1.25 * count for count, size in enumerate(sizes, 1))
    assert sorted(set(sizes))[:16] == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32]
    assert rounded_up(0) == 0
    assert rounded_up(1_000_001) - 1_000_001 < 8192


def test_the_next_power_of_two() -> None:
    np.testing.assert_array_equal(next_power(np.array([1, 2, 3, 8, 9])), [1, 2, 4, 8, 16])
