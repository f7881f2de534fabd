"""Random keys of a recipe, one stream per use."""

import zlib

import jax

from jaxrec.config.schema import Config
from jaxrec.types import Array


def stream(config: Config, name: str) -> Array:
    """Derive the key for one use; streams with different names are independent."""
    return jax.random.fold_in(jax.random.key(config.seed), zlib.crc32(name.encode()))
