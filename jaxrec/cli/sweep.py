"""`jaxrec sweep`."""

import argparse
import shlex
import signal

from jaxrec.cli.runtime import prepare
from jaxrec.runs.sweep import sweep
from jaxrec.runs.sweep_grid import LIMIT, read_words


def run_sweep(options: argparse.Namespace) -> int:
    """Train all runs or until a signal, then print the table; returns 0 if done, else 128 + the signal."""
    grid, overrides, seeds = read_words(options.overrides)
    prepare()
    found = sweep(
        options.config,
        grid,
        seeds,
        options.run,
        overrides,
        resume=options.resume,
        limit=options.limit,
        mode=options.mode,
        workers=options.workers,
    )
    folder = found.folder
    if found.interrupted:
        words = ["jaxrec", "sweep", options.config, *options.overrides, "--run", str(folder.path)]
        for name, usual in (("limit", LIMIT), ("mode", "auto"), ("workers", 0)):
            words += [f"--{name}", str(getattr(options, name))] if getattr(options, name) != usual else []
        print(
            f"stopped: {found.done} of {len(found.members)} runs are done; continue with: {shlex.join(words)} --resume"
        )
        return 128 + (found.stopped_by or signal.SIGINT)
    found.show()
    print(
        f"done in {found.seconds:.0f} s; programs compiled for learning: {found.programs}\n"
        f"  curves   {folder.picture}\n"
        f"  results  {folder.results}\n"
        f"  runs     {folder.runs}"
    )
    if found.best_run is not None:
        print(f"next: jaxrec evaluate {shlex.quote(str(found.best_run))}")
    return 0
