"""Set up JAX for the command line."""

import os
from pathlib import Path

import jax

from jaxrec.home import cache_folder

CACHE = Path("~/.cache/jaxrec/compiled")


def prepare() -> None:
    """Cache compiled programs on disk, where there is a place; JAX_COMPILATION_CACHE_DIR sets another folder."""
    given = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    folder = cache_folder(given or CACHE)
    if folder is None:  # JAX would warn of every program that it cannot write
        jax.config.update("jax_enable_compilation_cache", False)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
