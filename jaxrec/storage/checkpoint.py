"""Checkpoints of the whole learner state with Orbax; the latest ones and the best one are kept.

A restored state continues bit for bit. Layout: RUN/checkpoints/STEP/{state,metrics,...}.
"""

import logging
import math
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from jaxrec.checks import InputError
from jaxrec.storage.array_headers import ArrayHeader, array_headers

METRIC, STEP = "return", "step"


class Checkpoints:
    """Thin wrapper of one `CheckpointManager`; close it, or use it as a context manager."""

    def __init__(self, folder: Path, keep_latest: int = 2):
        """Open or create `folder`; the newest `keep_latest` steps and the best one are kept."""
        logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax logs every item

        def metric(metrics: dict[str, float]) -> Any:
            # If returns are equal, the earliest step is the best; older versions did not save the step.
            return metrics[METRIC], -metrics.get(STEP, 0)

        keep = preservation_policy.AnyPreservationPolicy(
            [
                preservation_policy.LatestN(keep_latest),
                preservation_policy.BestN(get_metric_fn=metric, reverse=False, n=1),
            ]
        )
        # Orbax needs best_fn too: without it, it does not write the metrics that BestN reads on resume.
        options = ocp.CheckpointManagerOptions(best_fn=metric, best_mode="max", preservation_policy=keep)
        self._folder = Path(folder).absolute()
        try:
            self._manager = ocp.CheckpointManager(self._folder, options=options)
        except (OSError, ValueError) as error:  # a folder that cannot be written, scores that are not JSON
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{self._folder}: cannot be opened or is damaged ({reason}); delete the damaged step in it."
            ) from None

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for unfinished writes, then close."""
        self._manager.wait_until_finished()
        self._manager.close()

    @property
    def latest(self) -> int | None:
        """Newest complete step."""
        return self._manager.latest_step()

    @property
    def best(self) -> int | None:
        """Step with the highest return; the earliest if several are equal."""
        return self._manager.best_step()

    @property
    def best_score(self) -> float:
        """Return of the best step; -inf before the first."""
        if self.best is None:
            return -math.inf
        self._manager.wait_until_finished()  # metrics are read from disk
        metrics = self._manager.metrics(self.best)
        return metrics[METRIC] if metrics else -math.inf

    def save(self, step: int, state: Any, score: float) -> None:
        """Save `state` as `step`; a NaN score counts as the worst, since NaN breaks Orbax's ranking."""
        score = score if math.isfinite(score) else -1e30
        if not self._manager.save(step, args=ocp.args.StandardSave(state), metrics={METRIC: score, STEP: step}):
            raise RuntimeError(f"checkpoint {step} was not written: {self._folder} already holds step {self.latest}.")

    def arrays(self, step: int) -> dict[str, ArrayHeader]:
        """Shapes and types of what step `step` holds, by dotted name."""
        self._manager.wait_until_finished()
        where = self._folder / str(step)
        try:
            return array_headers(where / "default")
        except (OSError, ValueError) as error:
            raise _unreadable(where, error) from None

    def restore(self, step: int, abstract: Any) -> Any:
        """Read step `step` into the shapes, types and shardings of `abstract` (ShapeDtypeStructs)."""
        where = self._folder / str(step)
        try:
            self._manager.wait_until_finished()
            _check_same_arrays(where, abstract)
            return self._manager.restore(step, args=ocp.args.StandardRestore(abstract))
        except InputError:
            raise
        except Exception as error:  # Orbax and TensorStore raise many kinds for damaged and differing trees
            raise _unreadable(where, error) from None


def _unreadable(where: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200]
    return InputError(
        f"{where}: does not fit this run's learner or is damaged ({reason}); "
        "resume with the recipe it was written by, or delete this step to fall back to the one before."
    )


def _check_same_arrays(where: Path, abstract: Any) -> None:
    """Refuse arrays of another type or shape, since Orbax would cast the former and sometimes pad or cut the latter."""
    saved = array_headers(where / "default")
    for path, want in jax.tree_util.tree_leaves_with_path(abstract):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if jax.numpy.issubdtype(want.dtype, jax.dtypes.prng_key):
            want = jax.eval_shape(jax.random.key_data, want)
        got = saved.get(name)
        if got is not None and (got.shape, got.dtype) != (want.shape, want.dtype):
            raise InputError(
                f"{where}: {name} has shape {got.shape} {got.dtype}, but this run's learner "
                f"expects {want.shape} {want.dtype}; resume with the recipe that wrote it."
            )


def abstract_like(state: Any, shardings: Any) -> Any:
    """Combine an abstract state and its shardings into ShapeDtypeStructs, the target of `Checkpoints.restore`."""
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, shardings)
