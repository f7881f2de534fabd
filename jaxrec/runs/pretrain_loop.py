"""What trainings of `jaxrec pretrain` share: the schedule of the host loop, and its words."""

import math
from typing import Any

from jaxrec.config.schema import Config
from jaxrec.runs.host_loop import Schedule, Wording

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


def wording(epoch: int) -> Wording:
    """The words of the host loop, for epochs of `epoch` steps."""
    return Wording(
        title="pretraining",
        update="step",
        score=SCORE,
        rate="rows_per_s",
        note=lambda row, speed, score: progress_note(row, epoch, speed, score),
        advice="Lower pretrain.learning_rate in another run.",
    )


def progress_note(row: dict[str, Any], epoch: int, speed: float, score: float) -> str:
    """Latest row of metrics.jsonl, steps of an epoch, rows per second, latest score or NaN -> note of the bar."""
    judged = "" if math.isnan(score) else f", validation {score:.4f}"
    return f"epoch {row['step'] / epoch:.1f}, {speed:,.0f} rows/s, loss {row['loss']:.3f}{judged}"
