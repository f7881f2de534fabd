"""Checkpoints of the whole learner state with Orbax; the latest ones and the best one are kept.

A restored state continues bit for bit. Layout: RUN/checkpoints/STEP/{default,metrics,...,digests.xxh128}.
A checkpoint that is damaged or was not finished is not used; the newest whole one takes its place. When training
continues it is set aside as STEP.damaged, which goes when that step is saved again.
"""

import math
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from jaxrec.checks import InputError
from jaxrec.progress import warn
from jaxrec.storage.array_headers import ArrayHeader, array_headers
from jaxrec.storage.digests import DIGESTS, Damaged, check_digests, is_sealed, seal
from jaxrec.storage.files import check_orbax_path, read_json_object, to_disk

METRIC, STEP = "return", "step"
SEALED = "sealed"  # in the metrics of a step that is not whole without its digests; earlier versions wrote none
ROWS = "rows"  # in the same metrics: digest of the run's measurements up to the step
UNJUDGED = -1e30  # return of a step that was not evaluated, or not to a number
ARRAYS, METRICS = "default", "metrics/metrics"  # in the folder of a step, as Orbax names them
PARAMETERS = {"params", "target_params", "trained", "encoder"}  # parts of a state that are finite if it is whole
FIX = "delete this checkpoint, or continue from the one before"


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
        self._unusable: dict[int, Damaged] = {}
        self._manager: ocp.CheckpointManager | None = None
        self._settling: Future[None] | None = None  # of the last save
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        for step in _steps(self._folder):
            try:
                metrics = _metrics(self._folder / str(step))
                self._scores[step], self._rows[step] = float(metrics[METRIC]), str(metrics.get(ROWS, ""))
            except Damaged as error:
                self._unusable[step] = error
        for step, error in self._unusable.items():
            newest = self.latest is None or step > self.latest
            instead = f" Checkpoint {self.latest} is used instead." if newest and self.latest is not None else ""
            warn(f"checkpoint {step} is not used: {error}{instead}")

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

    def begin_writing(self) -> None:
        """Set damaged steps aside, and check that steps can be saved."""
        if self._manager is not None:
            return
        check_orbax_path(self._folder)
        try:
            for step in self._unusable:
                shutil.rmtree(self._aside(step), ignore_errors=True)
                (self._folder / str(step)).rename(self._aside(step))
            self._unusable.clear()
            # Orbax writes metrics only with a best_fn. It lets nothing go: a step is kept until the next one is sealed.
            options = ocp.CheckpointManagerOptions(
                best_fn=lambda metrics: metrics[METRIC], preservation_policy=preservation_policy.PreserveAll()
            )
            self._manager = ocp.CheckpointManager(self._folder, options=options)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{self._folder}: cannot be written ({reason}); correct it or choose another.") from None

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
        if not self._manager.save(step, args=ocp.args.StandardSave(state), metrics=metrics):
            raise RuntimeError(f"checkpoint {step} was not written: {self._folder} already holds step {self.latest}.")
        self._scores[step], self._rows[step] = score, rows
        self._settling = self._thread.submit(self._settle, step, headers_of(state), started)

    def wait(self) -> None:
        """Wait until the last save is on the disk; raises what it ended with."""
        settling, self._settling = self._settling, None
        if settling is not None:
            settling.result()

    def _settle(self, step: int, wanted: dict[str, ArrayHeader], started: float) -> None:
        """Wait for Orbax, seal what it wrote, and only then let older steps go."""
        assert self._manager is not None
        self._manager.wait_until_finished()
        where = self._folder / str(step)
        if (written := array_headers(where / ARRAYS)) != wanted:
            wrong = sorted(name for name in wanted if written.get(name) != wanted[name]) or sorted(written)
            raise Damaged(f"{where}: {wrong[0]} was not saved as it is; check the disk, and resume.")
        seal(where)
        to_disk(where)
        kept = {*sorted(self._scores)[-self._keep_latest :], self.best}
        for old in [one for one in self._scores if one not in kept]:
            self._manager.delete(old)
            del self._scores[old]
        shutil.rmtree(self._aside(step), ignore_errors=True)
        self._saved(step, time.perf_counter() - started)

    def _aside(self, step: int) -> Path:
        return self._folder / f"{step}.damaged"

    def arrays(self, step: int) -> dict[str, ArrayHeader]:
        """Shapes and types of what step `step` holds, by dotted name."""
        where = self._usable(step)
        try:
            return array_headers(where / ARRAYS)
        except (OSError, ValueError) as error:
            raise _unreadable(where, error) from None

    def restore(self, step: int, abstract: Any) -> Any:
        """Read step `step` into the shapes, types and shardings of `abstract` (ShapeDtypeStructs)."""
        where = self._usable(step)
        try:
            _check_same_arrays(where, abstract)
            with ocp.StandardCheckpointer() as checkpointer:
                state = checkpointer.restore(where / ARRAYS, abstract)
        except InputError:
            raise
        except Exception as error:  # Orbax and TensorStore raise many kinds for damaged and differing trees
            raise _unreadable(where, error) from None
        _check_finite(where, state)
        return state

    def _usable(self, step: int) -> Path:
        self.wait()
        if step in self._unusable:
            raise self._unusable[step]
        return self._folder / str(step)


def _steps(folder: Path) -> list[int]:
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(int(path.name) for path in found if path.name.isdigit() and path.is_dir())


def _metrics(where: Path) -> dict[str, Any]:
    """What Orbax's metrics of the step in `where` hold; raises Damaged if it is not whole."""
    if is_sealed(where):
        check_digests(where, FIX)
    try:
        metrics = read_json_object(where / METRICS, FIX)
        float(metrics[METRIC])
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise Damaged(str(error) if isinstance(error, InputError) else f"{where / METRICS}: damaged; {FIX}.") from None
    if not is_sealed(where) and SEALED in metrics:
        raise Damaged(f"{where}: not finished, or its {DIGESTS} is missing; {FIX}.")
    return metrics


def headers_of(state: Any) -> dict[str, ArrayHeader]:
    """What Orbax writes of a state, by dotted name."""
    headers = {}
    for path, x in jax.tree_util.tree_leaves_with_path(state):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x = jax.eval_shape(jax.random.key_data, x)
        headers[_name(path)] = ArrayHeader(tuple(x.shape), x.dtype)
    return headers


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _unreadable(where: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200]
    return InputError(
        f"{where}: does not fit this run's learner or is damaged ({reason}); "
        "resume with the recipe it was written by, or delete this step to fall back to the one before."
    )


def _check_same_arrays(where: Path, abstract: Any) -> None:
    """Refuse arrays of another type or shape, since Orbax would cast the former and sometimes pad or cut the latter."""
    saved = array_headers(where / ARRAYS)
    for name, want in headers_of(abstract).items():
        got = saved.get(name)
        if got is not None and got != want:
            raise InputError(
                f"{where}: {name} has shape {got.shape} {got.dtype}, but this run's learner "
                f"expects {want.shape} {want.dtype}; resume with the recipe that wrote it."
            )


def _check_finite(where: Path, state: Any) -> None:
    for path, x in jax.tree_util.tree_leaves_with_path(state):
        name = _name(path)
        weights = not PARAMETERS.isdisjoint(name.split(".")) and jnp.issubdtype(x.dtype, jnp.floating)
        if weights and not jnp.isfinite(x).all():
            raise InputError(f"{where}: {name} holds numbers that are not finite; {FIX}.")


def abstract_like(state: Any, shardings: Any) -> Any:
    """Combine an abstract state and its shardings into ShapeDtypeStructs, the target of `Checkpoints.restore`."""
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, shardings)
