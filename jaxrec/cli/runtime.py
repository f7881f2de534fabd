"""Set up JAX for the command line."""

import os
from pathlib import Path

import jax

CACHE = Path("~/.cache/jaxrec/compiled")


def prepare() -> None:
    """Cache compiled programs on disk; JAX_COMPILATION_CACHE_DIR sets another folder."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(CACHE.expanduser()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
