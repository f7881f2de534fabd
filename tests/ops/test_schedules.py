import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.ops.schedules import linear


@pytest.mark.parametrize(("step", "want"), [(0, 1.0), (1, 0.8), (5, 0.0), (9, 0.0)])
def test_a_linear_schedule_goes_from_start_to_end_and_stays(step: int, want: float) -> None:
    np.testing.assert_allclose(linear(jnp.asarray(step), 1.0, 0.0, 5), want, atol=1e-7)
    np.testing.assert_allclose(linear(jnp.asarray(step), 0.1, 0.6, 5), 0.6 - 0.5 * want, rtol=1e-6)
