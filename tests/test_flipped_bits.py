from pathlib import Path

import pytest

from tests.flipped_bits import count, parts_of


@pytest.mark.slow
def test_no_flipped_bit_is_accepted(tmp_path: Path) -> None:
    counts, accepted = count(parts_of(tmp_path), flips=60, seed=0)
    assert not accepted and counts["refused"] and counts["recovered"]
