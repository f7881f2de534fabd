"""Paths that begin with ~, also for accounts without a home directory, as containers have them."""

import os
from pathlib import Path

from jaxrec.checks import InputError


def expanded(path: str | Path) -> Path:
    """Replace ~ at the beginning of a path; raises InputError if there is no home directory."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(
            f"{path}: this account has no home directory; set the environment variable HOME to a folder that can be "
            "written, or give a path without ~."
        ) from None


def cache_folder(path: str | Path) -> Path | None:
    """Make the folder of a cache, which is not vital; None if there is no place for it."""
    try:
        folder = expanded(path)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, InputError):
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None
