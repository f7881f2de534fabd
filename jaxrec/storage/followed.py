"""The run folder as all processes but the first see it: they read it, and the first one writes."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from jaxrec.storage.run import RunFolder


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
