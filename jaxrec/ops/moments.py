"""Running mean and deviation of numbers whose distribution changes slowly."""

import jax.numpy as jnp
from flax import struct

from jaxrec.types import Array

KEEP = 0.95  # what earlier batches weigh when one more comes
LEAST = 1e-4  # deviation below which numbers are not scaled up further


class Moments(struct.PyTreeNode):
    """Weighted mean and variance; before the first batch, numbers are left as they are."""

    mean: Array  # []
    variance: Array  # []
    weight: Array  # [] sum of the weights of all batches

    @property
    def deviation(self) -> Array:
        """Standard deviation []."""
        return jnp.maximum(jnp.sqrt(self.variance), LEAST)

    def normalise(self, x: Array) -> Array:
        """Subtract the mean and divide by the deviation; [...] -> [...]."""
        return (x - self.mean) / self.deviation

    def restore(self, x: Array) -> Array:
        """Invert `normalise`; [...] -> [...]."""
        return x * self.deviation + self.mean


def no_moments() -> Moments:
    """Build moments that have seen nothing."""
    return Moments(jnp.zeros(()), jnp.ones(()), jnp.zeros(()))


def add_batch(moments: Moments, x: Array) -> Moments:
    """Count a batch [...] with weight 1, and all earlier ones with `KEEP` times theirs."""
    before = KEEP * moments.weight
    weight = before + 1.0
    mean = moments.mean + (x.mean() - moments.mean) / weight
    # Both parts about the new mean: a difference of mean squares would lose all digits of a small deviation.
    old = moments.variance + jnp.square(moments.mean - mean)
    new = jnp.square(x - mean).mean()
    return Moments(mean, (before * old + new) / weight, weight)
