"""Describe a sweep: its grid, how far its runs are, and its figures. Reads no arrays and imports no JAX."""

from pathlib import Path
from typing import Any

from jaxrec.config.load import read_yaml
from jaxrec.runs.half_written import folder_bytes, read_account, read_rows
from jaxrec.storage.run import RunFolder
from jaxrec.storage.stage_folders import DIVERGED, SweepFolder


def describe_sweep(folder: Path) -> dict[str, Any]:
    """Describe a sweep in any state."""
    sweep = SweepFolder.open(folder)
    words = read_yaml(sweep.config)
    grid, seeds, updates = words["grid"], words["seeds"], words["recipe"]["train"]["updates"]
    asked = len(seeds)
    for values in grid.values():
        asked *= len(values)
    runs = sorted(path for path in sweep.runs.iterdir() if path.is_dir()) if sweep.runs.is_dir() else []
    done = {path.name: _updates(RunFolder(path)) for path in runs}
    results = read_account(sweep.results) if sweep.results.is_file() else None
    return {
        "kind": "sweep",
        "path": str(folder),
        "grid": grid,
        "seeds": seeds,
        "runs": {"asked": asked, "begun": len(runs), "updates": done},
        "diverged": [path.name for path in runs if (path / DIVERGED).is_file()],
        "settings": None if results is None else results["settings"],
        "bytes_on_disk": folder_bytes(folder),
        "next": "repeat the command of this sweep with --resume" if results is None else _best(sweep, results),
        "updates": updates,
    }


def _updates(run: RunFolder) -> int:
    rows = read_rows(run.metrics)
    return rows[-1]["step"] if rows else 0


def _best(sweep: SweepFolder, results: dict[str, Any]) -> str:
    """The command that evaluates the best run of the best setting; empty if all diverged."""
    known = [one for one in results["settings"] if one["best"]["mean"] is not None]
    if not known:
        return ""
    best = max(known, key=lambda one: one["best"]["mean"])
    run = max((one for one in best["runs"] if one["best"] is not None), key=lambda one: one["best"])
    return f"jaxrec evaluate {sweep.runs / run['name']}"
