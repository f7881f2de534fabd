"""Set up JAX for the command line."""

import logging
import os
import sys
from pathlib import Path

import jax

from jaxrec.foreign import one_line
from jaxrec.home import cache_folder

CACHE = Path("~/.cache/jaxrec/compiled")


class OneLine(logging.Handler):
    """Prints what libraries log in one line each.

    Errors that they log with a traceback are left out: they are raised as well, and the command line reports them.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record on stderr."""
        if record.exc_info is None:
            print(one_line(f"{record.name}: {record.getMessage()}"), file=sys.stderr)


def prepare() -> None:
    """Set up the cache of compiled programs, and what libraries log."""
    logger = logging.getLogger("absl")  # of Orbax
    if not any(isinstance(handler, OneLine) for handler in logger.handlers):
        logger.addHandler(OneLine())
        logger.propagate = False
    _cache_programs()


def _cache_programs() -> None:
    """Cache compiled programs on disk, where there is a place; JAX_COMPILATION_CACHE_DIR sets another folder."""
    given = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    folder = cache_folder(given or CACHE)
    if folder is None:  # JAX would warn of every program that it cannot write
        jax.config.update("jax_enable_compilation_cache", False)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
