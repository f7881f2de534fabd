"""What trainings of `jaxrec pretrain` share: the schedule of the host loop, and the line that reports a step."""

import math
from typing import Any

from jaxrec.config.schema import Config
from jaxrec.runs.host_loop import Schedule

SCORE = "validation_ndcg@10"


def schedule(config: Config, epoch: int) -> Schedule:
    """The schedule of `pretrain.epochs` epochs of `epoch` steps."""
    fit = config.pretrain
    return Schedule(
        updates=fit.epochs * epoch,
        updates_per_call=fit.steps_per_call,
        evaluate_every=fit.evaluate_every * epoch,
        keep_latest=1,
        patience=fit.patience,
        grace_seconds=config.train.grace_seconds,
    )


def progress_note(row: dict[str, Any], epoch: int, speed: float, score: float) -> str:
    """Latest row of metrics.jsonl, steps of an epoch, rows per second, latest score or NaN -> note of the bar."""
    judged = "" if math.isnan(score) else f", validation {score:.4f}"
    return f"epoch {row['step'] / epoch:.1f}, {speed:,.0f} rows/s, loss {row['loss']:.3f}{judged}"
