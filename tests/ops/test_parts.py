import numpy as np
import pytest

from jaxrec.ops.parts import equal_parts


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
