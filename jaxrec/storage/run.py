"""The run folder: the recipe, the measurements, and the states to resume from.

config.yaml     the resolved recipe; a run is reproducible from it alone
config-N.yaml   the recipe of the first updates, if a run of N updates became longer with another learning rate
metrics.jsonl   one row per update, numbers of the learner only: an interrupted and resumed run writes the same bytes
timings.jsonl   one row per compiled call and per checkpoint, times only
events.*        both for TensorBoard, unless train.tensorboard is false
checkpoints/    whole learner states
policy/         what another JAX program needs to use the policy
pretrain/       the folder of `jaxrec pretrain`, if learning starts from it (learner.start_from)
policy_before/  the policy of the run that this one continues, if any
simulators/     the fitted users: those for training and those of the judge
evaluation.*    written by `jaxrec evaluate`: the figures, and a picture of what the users did
report.html     the same for a browser, with examples
matrix.npz      the matrix of rewards, if the users are full_matrix
.jaxrec-lock    the mark of a folder of ours, and who writes into it at the moment
"""

import json
import math
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from jaxrec.bounded import parse_json
from jaxrec.checks import InputError
from jaxrec.progress import warn
from jaxrec.storage.digests import check_text, sealed_text, text_digest
from jaxrec.storage.files import UNFINISHED, check_orbax_path, naming, remove_unfinished, to_disk, write_text
from jaxrec.storage.inside import check_folder
from jaxrec.storage.lock import LOCK, hold, is_ours
from jaxrec.storage.schemas import ROW
from jaxrec.storage.steps import ASIDE

LONGEST_ROW = 2**20  # bytes
SAVED = "save_seconds"  # in timings.jsonl, of a checkpoint that is whole


SWEEP = "sweep.yaml"  # in the folder of a sweep: its grid, seeds and recipe


class RunFolder:
    """Paths and append-only files of one run."""

    made_by = "train"

    def __init__(self, path: str | Path):
        """Point at `path`; nothing is read or written yet."""
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.metrics = self.path / "metrics.jsonl"
        self.timings = self.path / "timings.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.policy = self.path / "policy"
        self.policy_before = self.path / "policy_before"
        self.simulators = self.path / "simulators"
        self.pretrain = self.path / "pretrain"
        self.evaluation = self.path / "evaluation.json"
        self.evaluation_picture = self.path / "evaluation.svg"
        self.page = self.path / "report.html"

    @classmethod
    def create(cls, path: str | Path, config_yaml: str) -> Self:
        """Begin a run; refuses a folder that holds more than the recipe of a run that never began to train.

        Until the command ends, no other one may write into the folder (`jaxrec.storage.lock`).
        """
        run = cls(path)
        check_orbax_path(run.path)
        run._check_free(config_yaml)
        hold(run.path, cls.made_by)
        run._check_free(config_yaml)  # once more, now that nobody else can begin a run here
        try:
            run.write_config(config_yaml)
        except OSError as error:
            raise InputError(
                f"{run.path}: cannot be written ({error.strerror}); name another folder with --run."
            ) from None
        return run

    def _check_free(self, config_yaml: str) -> None:
        """Raise InputError if the folder holds a run, or anything that no run wrote."""
        if not self.path.exists():
            return
        names = {p.name for p in self.path.iterdir()} if self.path.is_dir() else {""}
        if {name for name in names if not UNFINISHED.search(name)} - {self.config.name, LOCK}:
            raise InputError(
                f"{self.path}: already exists; add --resume to continue it, or name another folder with --run."
            )
        if self.config.name in names and not is_ours(self.path) and not self._holds(config_yaml):
            raise InputError(
                f"{self.config}: already exists, and no run wrote it; it would be replaced by the recipe as resolved: "
                "name another folder with --run."
            )

    def _holds(self, config_yaml: str) -> bool:
        try:
            return self.config.read_text(encoding="utf-8") in (config_yaml, sealed_text(config_yaml))
        except (OSError, UnicodeDecodeError):
            return False

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Point at an existing run; raises InputError if there is none, or if something in it leads out of it."""
        run = cls(path)
        if not run.config.is_file():
            if (run.path / SWEEP).is_file():
                raise InputError(f"{run.path}: a sweep; name one of its runs, which are in {run.path / 'runs'}.")
            raise InputError(
                f"{run.path}: not a run folder ({run.config.name} is missing); `jaxrec {run.made_by}` makes one."
            )
        check_folder(run.path)
        check_text(run.config, "restore it, or delete its first line if the change is yours")
        return run

    @classmethod
    def reopen(cls, path: str | Path, command: str = "") -> Self:
        """Open a run to write into it, by `command` (default: the one that made it); no other command may meanwhile.

        Raises InputError if another one does, or if the folder holds a recipe alone that no run wrote.
        """
        run = cls.open(path)
        if not is_ours(run.path) and not any(p.exists() for p in (run.metrics, run.checkpoints, run.policy)):
            raise InputError(
                f"{run.path}: holds {run.config.name}, but no run; leave --resume out and name another folder with "
                "--run."
            )
        hold(run.path, command or cls.made_by)
        return run

    def write_config(self, config_yaml: str) -> None:
        """Write the resolved recipe with its digest, since all figures of the run depend on it."""
        write_text(self.config, sealed_text(config_yaml))

    def append_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows to metrics.jsonl; values that are not finite become null."""
        _append(self.metrics, rows)

    def metrics_to_disk(self) -> None:
        """Wait until the rows of metrics.jsonl are on the disk, so that no checkpoint is without them."""
        to_disk(self.metrics)

    def rows_digest(self, without: Collection[str]) -> str:
        """Digest of the rows of metrics.jsonl, of the last one without the values `without`."""
        content = self.metrics.read_bytes() if self.metrics.is_file() else b""
        before, _, last = content.removesuffix(b"\n").rpartition(b"\n")
        row = _row(last + b"\n") or {}
        return text_digest(before.decode(errors="replace") + _line(_without(row, without)))

    def append_timing(self, row: Mapping[str, Any]) -> None:
        """Add one row to timings.jsonl."""
        _append(self.timings, [row])

    def append_save(self, step: int, seconds: float) -> None:
        """Note in timings.jsonl that a checkpoint is whole."""
        _append(self.timings, [{"step": step, SAVED: round(seconds, 4)}])

    def was_saved(self) -> bool:
        """True if a checkpoint of this run was whole once; earlier versions did not note it."""
        return self.timings.is_file() and f'"{SAVED}"' in self.timings.read_text(encoding="utf-8", errors="replace")

    def cut_back(self, step: int, *, forget: Collection[str] = ()) -> bool:
        """Drop the rows after `step` from metrics.jsonl, and a last row that was cut off by a crash.

        Also drops the values `forget` of row `step`, and removes files that a killed process left unfinished. If rows
        before `step` are missing or cannot be read, warns, keeps the file as metrics.jsonl.damaged and returns False.
        """
        remove_unfinished(self.path)
        lines = self.metrics.read_bytes().splitlines(keepends=True) if self.metrics.is_file() else []
        found = {row["step"]: row for line in lines if (row := _row(line)) is not None and row["step"] <= step}
        missing = [n for n in range(1, step + 1) if n not in found]
        if missing:
            if lines:
                shutil.copyfile(self.metrics, self.metrics.with_name(f"{self.metrics.name}{ASIDE}"))
            warn(
                f"{self.metrics}: {len(missing)} of the rows 1 to {step} are missing or damaged, the first is "
                f"{missing[0]}; training continues from checkpoint {step}, which needs none of them."
            )
        if step in found:
            found[step] = _without(found[step], forget)
        if lines or step > 0:
            write_text(self.metrics, "".join(_line(found[n]) for n in sorted(found)))
        return not missing


def rows_of(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Lines and rows of metrics.jsonl or timings.jsonl, without a last line that was cut off by a crash.

    Raises InputError that names a line that is no such row.
    """
    with path.open("rb") as file:
        for number, data in enumerate(iter(lambda: file.readline(LONGEST_ROW), b""), start=1):
            if not data.endswith(b"\n") and len(data) < LONGEST_ROW:
                return
            try:
                line = data.decode()
                row = parse_json(line)
                ROW(row, "")
            except ValueError as error:
                reason = " ".join(str(error).split())[:200]
                raise InputError(
                    f"{path} line {number}: damaged ({reason}); remove this line and those after it."
                ) from None
            yield line, row


def _append(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with naming(path), path.open("a", encoding="utf-8") as file:
        for row in rows:
            clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
            file.write(_line(clean))


def _row(line: bytes) -> dict[str, Any] | None:
    """The row of a line; None if it is damaged or cut off."""
    try:
        row = parse_json(line)
        _line(row)  # no NaN and no infinity, which are null in what we write
    except ValueError:
        return None
    whole = line.endswith(b"\n") and isinstance(row, dict) and type(row.get("step")) is int
    return row if whole else None


def _without(row: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"
