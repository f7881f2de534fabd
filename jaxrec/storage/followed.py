"""The run folder as all processes but the first see it: they read it, and the first one writes."""

import contextlib
import os
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxrec.checks import InputError
from jaxrec.processes import count, from_first, is_first, together
from jaxrec.storage.files import MARK
from jaxrec.storage.run import RunFolder

SEEN_SECONDS = 5.0  # file systems of a network may show a new entry late


def check_shared(folder: Path) -> None:
    """Raise InputError in all processes unless all of them see `folder` of the first one.

    On a local disk per host, checkpoints would be sealed without the shards of the others.
    """
    if count() == 1:
        return
    # A random name, since another folder could hold the same recipe. One that is left by a kill is removed later.
    mark = from_first(lambda: tempfile.mkdtemp(".tmp", f".shared.{MARK}-{os.getpid()}-", folder))
    try:
        together(lambda: _check_seen(folder, Path(mark).name))
    finally:
        if is_first():
            Path(mark).rmdir()


def _check_seen(folder: Path, name: str) -> None:
    end = time.monotonic() + SEEN_SECONDS
    while True:
        with contextlib.suppress(OSError):
            if any(path.name == name for path in folder.iterdir()):
                return
        if time.monotonic() > end:
            raise InputError(
                f"{folder}: is not the run folder of process 0; give all processes the same --run, on storage that "
                "all of them share."
            )
        time.sleep(0.1)


class FollowedRun(RunFolder):
    """Paths of a run that another process writes."""

    def write_config(self, config_yaml: str) -> None:
        """Leave it to the first process."""

    def append_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Leave it to the first process."""

    def metrics_to_disk(self) -> None:
        """Leave it to the first process."""

    def rows_digest(self, without: Collection[str]) -> str:
        """No digest: that of the first process is saved."""
        return ""

    def append_timing(self, row: Mapping[str, Any]) -> None:
        """Leave it to the first process."""

    def append_save(self, step: int, seconds: float) -> None:
        """Leave it to the first process."""

    def cut_back(self, step: int, *, forget: Collection[str] = ()) -> bool:
        """Leave it to the first process, and compare nothing."""
        return False
