"""Checkpoints of the whole learner state with Orbax; the latest ones and the best one are kept.

A restored state continues bit for bit. Layout: RUN/checkpoints/STEP/{default,metrics,...,digests.xxh128}.
A checkpoint that is damaged or was not finished is not used; the newest whole one takes its place. When training
continues it is set aside as STEP.damaged, which goes when that step is saved again.
"""

import math
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from jaxrec import processes
from jaxrec.checks import InputError
from jaxrec.progress import warn
from jaxrec.storage.array_headers import ArrayHeader, array_headers
from jaxrec.storage.checkpoint_arrays import Insane, check_parameters, check_same_arrays, headers_of
from jaxrec.storage.digests import Damaged, seal
from jaxrec.storage.files import check_orbax_path, to_disk
from jaxrec.storage.orbax import of_all, same_number
from jaxrec.storage.steps import ARRAYS, ASIDE, METRIC, ROWS, SEALED, STEP, UNJUDGED, read_metrics, steps_in

# Orbax numbers saves in one counter per process, by which the threads of a save find each other. Where two saves
# overlap, one of them waits for the threads of the other until it gives up.
ONE_SAVE = threading.Lock()
T = TypeVar("T")


class Checkpoints:
    """The steps in a folder; close it, or use it as a context manager. Only saving changes the folder."""

    def __init__(
        self, folder: Path, keep_latest: int = 2, saved: Callable[[int, float], None] = lambda step, seconds: None
    ):
        """Look at the steps in `folder`, and warn of those that are not whole.

        When steps are saved, the newest `keep_latest` and the best one are kept, and `saved(step, seconds)` is called
        once a step is on the disk.
        """
        self._folder, self._keep_latest, self._saved = Path(folder).absolute(), keep_latest, saved
        self._scores: dict[int, float] = {}
        self._rows: dict[int, str] = {}
        self._unusable: dict[int, InputError] = {}
        self._manager: ocp.CheckpointManager | None = None
        self._settling: Future[None] | None = None  # of the last save
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        for step in steps_in(self._folder):
            try:
                metrics = read_metrics(self._folder / str(step))
                self._scores[step], self._rows[step] = float(metrics[METRIC]), str(metrics.get(ROWS, ""))
            except Damaged as error:
                self._unusable[step] = error
        for step in self._unusable:
            self._warn(step)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for unfinished writes, then close."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()
            if self._manager is not None:
                self._manager.close()

    @property
    def latest(self) -> int | None:
        """Newest whole step."""
        return max(dict(self._scores), default=None)  # a copy: the thread that settles a save removes steps

    @property
    def best(self) -> int | None:
        """Step with the highest return; the earliest if several are equal."""
        scores = dict(self._scores)
        return max(scores, key=lambda step: (scores[step], -step), default=None)

    @property
    def best_score(self) -> float:
        """Return of the best step; -inf before the first."""
        return -math.inf if self.best is None else self._scores[self.best]

    @property
    def judged(self) -> bool:
        """True if some step was evaluated."""
        return self.best_score > UNJUDGED

    def agree(self) -> None:
        """Keep the steps that the first process sees; raises InputError in all of them if another one lacks any."""
        first = processes.from_first(lambda: sorted(self._scores))
        processes.together(lambda: self._check_has(first))
        for step in self._scores.keys() - set(first):
            del self._scores[step], self._rows[step]

    def _check_has(self, steps: list[int]) -> None:
        if lacking := [step for step in steps if step not in self._scores]:
            raise InputError(
                f"{self._folder}: process 0 sees checkpoint {lacking[-1]}, and process {processes.number()} does not "
                "or finds it damaged; the run folder must be on storage that all processes share."
            )

    def begin_writing(self) -> None:
        """Set damaged steps aside, and check that steps can be saved."""
        if self._manager is not None:
            return
        check_orbax_path(self._folder)
        try:
            processes.from_first(self._set_aside)
            self._unusable.clear()
            # Orbax writes metrics only with a best_fn. It lets nothing go: a step is kept until the next one is sealed.
            options = ocp.CheckpointManagerOptions(
                best_fn=lambda metrics: metrics[METRIC],
                preservation_policy=preservation_policy.PreserveAll(),
                **of_all(),
            )
            self._manager = ocp.CheckpointManager(self._folder, options=options)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{self._folder}: cannot be written ({reason}); correct it or choose another.") from None

    def _set_aside(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for step in self._unusable:
            shutil.rmtree(self._aside(step), ignore_errors=True)
            (self._folder / str(step)).rename(self._aside(step))

    def rows(self, step: int) -> str:
        """The digest of the measurements that `step` was saved with; empty if there was none."""
        return self._rows[step]

    def save(self, step: int, state: Any, score: float, rows: str = "") -> None:
        """Begin to save `state` as `step`; a NaN score counts as the worst. `rows` is a digest of the measurements.

        Raises what the save before ended with.
        """
        self.begin_writing()
        assert self._manager is not None
        self.wait()
        started = time.perf_counter()
        score = score if math.isfinite(score) else UNJUDGED
        metrics = {METRIC: score, STEP: step, SEALED: 1, ROWS: rows}
        same_number()
        ONE_SAVE.acquire()  # until Orbax has finished, in `_settle`
        try:
            if not self._manager.save(step, args=ocp.args.StandardSave(state), metrics=metrics):
                raise RuntimeError(f"checkpoint {step} was not written: {self._folder} holds step {self.latest}.")
            self._scores[step], self._rows[step] = score, rows
            self._settling = self._thread.submit(self._settle, step, headers_of(state), started)
        except BaseException:
            ONE_SAVE.release()
            raise

    def wait(self) -> None:
        """Wait until the last save is on the disk; raises what it ended with."""
        settling, self._settling = self._settling, None
        if settling is not None:
            settling.result()

    def _settle(self, step: int, wanted: dict[str, ArrayHeader], started: float) -> None:
        """Wait for Orbax, seal what it wrote, and only then let older steps go."""
        assert self._manager is not None
        try:
            self._manager.wait_until_finished()
        finally:
            ONE_SAVE.release()
        kept = {*sorted(self._scores)[-self._keep_latest :], self.best}
        gone = [one for one in self._scores if one not in kept]
        if processes.is_first():
            self._seal(step, wanted, gone)
        for old in gone:
            del self._scores[old]
        self._saved(step, time.perf_counter() - started)

    def _seal(self, step: int, wanted: dict[str, ArrayHeader], gone: list[int]) -> None:
        """Seal what Orbax wrote as `step`, and then remove the steps `gone`."""
        where = self._folder / str(step)
        if (written := array_headers(where / ARRAYS)) != wanted:
            wrong = sorted(name for name in wanted if written.get(name) != wanted[name]) or sorted(written)
            raise Damaged(f"{where}: {wrong[0]} was not saved as it is; check the disk, and resume.")
        seal(where)
        to_disk(where)
        for old in gone:
            shutil.rmtree(self._folder / str(old))
        shutil.rmtree(self._aside(step), ignore_errors=True)

    def _warn(self, step: int) -> None:
        newest = self.latest is None or step > self.latest
        instead = f" Checkpoint {self.latest} is used instead." if newest and self.latest is not None else ""
        warn(f"checkpoint {step} is not used: {self._unusable[step]}{instead}")

    def _aside(self, step: int) -> Path:
        return self._folder / f"{step}{ASIDE}"

    def arrays(self, step: int) -> dict[str, ArrayHeader]:
        """Shapes and types of what step `step` holds, by dotted name."""
        where = self._usable(step)
        try:
            return array_headers(where / ARRAYS)
        except (OSError, ValueError) as error:
            raise _unreadable(where, error) from None

    def restore(self, step: int, abstract: Any) -> Any:
        """Read step `step` into the shapes, types and shardings of `abstract` (ShapeDtypeStructs).

        Raises InputError if it does not fit, and Insane if its parameters are not sane.
        """
        where = self._usable(step)
        try:
            check_same_arrays(where, abstract)
            with ocp.StandardCheckpointer() as checkpointer:
                state = checkpointer.restore(where / ARRAYS, abstract)
        except InputError:
            raise
        except Exception as error:  # Orbax and TensorStore raise many kinds for damaged and differing trees
            raise _unreadable(where, error) from None
        check_parameters(where, state)
        return state

    def newest_sane(self, restore: Callable[[int], T]) -> tuple[int, T]:
        """The newest step that is sane, and what `restore` gives for it; those that are not are left out."""
        return self._sane(lambda: self.latest, restore)

    def best_sane(self, restore: Callable[[int], T]) -> tuple[int, T]:
        """The same of the best step."""
        return self._sane(lambda: self.best, restore)

    def _sane(self, choose: Callable[[], int | None], restore: Callable[[int], T]) -> tuple[int, T]:
        while True:
            step = choose()
            assert step is not None
            try:
                return step, restore(step)
            except Insane as error:
                if len(self._scores) == 1:
                    raise
                del self._scores[step], self._rows[step]
                self._unusable[step] = error
                self._warn(step)

    def _usable(self, step: int) -> Path:
        self.wait()
        if step in self._unusable:
            raise self._unusable[step]
        return self._folder / str(step)


def _unreadable(where: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200]
    return InputError(
        f"{where}: does not fit this run's learner or is damaged ({reason}); "
        "resume with the recipe it was written by, or delete this step to fall back to the one before."
    )
