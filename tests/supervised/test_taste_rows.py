import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.supervised import taste_rows
from jaxrec.supervised.calibration import sigmoid
from jaxrec.supervised.taste_rows import mean_answers
from tests.tiny_tastes import random_log, random_tastes


@pytest.mark.parametrize("chunk", [8192, 5])
def test_rows_are_answered_by_the_mean_over_the_versions_of_their_user(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taste_rows, "ROWS_PER_CHUNK", chunk)
    log = random_log(np.array([3, 0, 7, 2]), items=6)  # user 1 has no rows, and is none of the simulator
    theta = np.random.default_rng(1).normal(size=(4, 3, 2, 3))  # four versions of three users, two kinds
    tastes = random_tastes(items=6, width=2).replace(draws=jnp.asarray(theta, jnp.float32))
    got = mean_answers(tastes, log)
    vectors, levels = np.asarray(tastes.item_vectors), np.asarray(tastes.item_logits)
    for row, (user, item) in enumerate(zip(log.user, log.item, strict=True)):
        own = theta[:, {0: 0, 2: 1, 3: 2}[int(user)]]  # [versions, kinds, 3]
        want = sigmoid(levels[item] + own[..., 0] + own[..., 1:] @ vectors[item]).mean(0)
        np.testing.assert_allclose(got[row], want, rtol=1e-5)
