"""Folders as damage or earlier versions leave them."""

import json
import random
from pathlib import Path

from jaxrec.storage.digests import ENDING


def without_digests(folder: Path) -> Path:
    """Make `folder` what a version before digests wrote; tests that change its files by hand do this first."""
    for path in [*folder.rglob(f"*{ENDING}")]:
        path.unlink()
    for path in [*folder.rglob("description.json"), *folder.rglob("metrics/metrics")]:
        values = json.loads(path.read_text())
        values.pop("sealed", None)
        path.write_text(json.dumps(values))
    return folder


def flip_bit(path: Path, rng: random.Random) -> None:
    """Flip one random bit of a file that is not empty."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
