"""`jaxrec inspect` for the folders of `jaxrec tune` and `jaxrec distill`."""

from pathlib import Path
from typing import Any

from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.runs.half_written import folder_bytes, read_account, read_rows
from jaxrec.storage.stage_folders import DistillFolder, TuneFolder


def describe_tuning(folder: Path) -> dict[str, Any]:
    """Describe a folder of `jaxrec tune` in any state."""
    return _describe(TuneFolder.open(folder), "tune", "validation_ndcg@10")


def describe_distillation(folder: Path) -> dict[str, Any]:
    """Describe a folder of `jaxrec distill` in any state."""
    return _describe(DistillFolder.open(folder), "distill", "agreement")


def _describe(run: TuneFolder | DistillFolder, section: str, score: str) -> dict[str, Any]:
    config, rows = load_config(Config, run.config), read_rows(run.metrics)
    fit = getattr(config, section)
    done = run.account.is_file()
    return {
        "kind": section,
        "path": str(run.path),
        "steps": {"measured": rows[-1]["step"] if rows else 0, "asked": fit.steps},
        "source": config.encoder.model,
        "score": score,
        "scores": [{"step": row["step"], "score": row[score]} for row in rows if score in row],
        "last_metrics": rows[-1] if rows else None,
        "account": read_account(run.account) if done else None,
        "encoder": str(run.encoder) if run.encoder.is_dir() else None,
        "bytes_on_disk": folder_bytes(run.path),
        "next": f"jaxrec train {run.config} encoder.model={run.encoder}"
        if done
        else f"jaxrec {section} {run.config} --run {run.path} --resume",
    }
