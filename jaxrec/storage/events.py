"""Event files for TensorBoard: the numbers of metrics.jsonl under the same names, prefixed with `train/`.

RUN/events.out.tfevents.STEP holds what was measured after update STEP, at which its process began. metrics.jsonl is
the record; events are only for display.
"""

import contextlib
import importlib.util
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxrec.checks import InputError
from jaxrec.storage.files import naming

PREFIX = "events.out.tfevents."
WriteRows = Callable[[Iterable[Mapping[str, Any]]], None]  # rows with their `step`, as in metrics.jsonl


def check_tensorboard(wanted: bool) -> None:
    """Raise InputError if events are wanted and the package that writes them is not installed."""
    if wanted and importlib.util.find_spec("tensorboardX") is None:
        raise InputError(
            "train.tensorboard: event files need tensorboardX; install it with `pip install tensorboardX`, "
            "or set train.tensorboard=false."
        )


@contextlib.contextmanager
def event_file(folder: Path, step: int, wanted: bool = True) -> Iterator[WriteRows]:
    """Yield a function that writes rows after update `step`; when it returns, they are on disk.

    A resumed run repeats what an earlier process wrote after `step`, so an event tells readers to drop those rows.
    Values that are not finite are left out.
    """
    check_tensorboard(wanted)
    if not wanted:
        yield lambda rows: None
        return
    # `SummaryWriter` is not used: if the process is killed, it loses what is in its queue.
    from tensorboardX.proto.event_pb2 import Event, SessionLog  # type: ignore[attr-defined]
    from tensorboardX.proto.summary_pb2 import Summary  # type: ignore[attr-defined]
    from tensorboardX.record_writer import RecordWriter

    for path in folder.glob(f"{PREFIX}*"):
        if path.name >= _name(step):
            path.unlink()
    path = folder / _name(step)
    with naming(path), contextlib.closing(RecordWriter(str(path))) as file:

        def write(event: Any) -> None:
            event.wall_time = time.time()
            file.write(event.SerializeToString())

        def write_rows(rows: Iterable[Mapping[str, Any]]) -> None:
            for row in rows:
                values = [
                    Summary.Value(tag=f"train/{name}", simple_value=value)
                    for name, value in row.items()
                    if name != "step" and math.isfinite(value)
                ]
                write(Event(step=row["step"], summary=Summary(value=values)))
            file.flush()

        write(Event(file_version="brain.Event:2"))
        if step:
            write(Event(step=step + 1, session_log=SessionLog(status=SessionLog.START)))
        file.flush()
        yield write_rows


def _name(step: int) -> str:
    """Name the file so that readers, which sort by name, read files in order of their steps."""
    return f"{PREFIX}{step:012d}"
