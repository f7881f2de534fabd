"""What do digests cost? Shares of the time to load and save a checkpoint, and to load a policy.

    python benchmarks/digests.py RUN [--rounds 9]

RUN is a finished run. Its newest checkpoint is loaded and saved again in a temporary folder, and its policy is loaded,
`--rounds` times after one round without a clock. A checkpoint is loaded as `--resume` does: all steps of the folder are
checked, and one is restored. Prints one JSON line per question with the median times and shares.
"""

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from jaxrec.runs.devices import describe_devices
from jaxrec.serve import load_policy
from jaxrec.storage import checkpoint, portable, steps
from jaxrec.storage.checkpoint import Checkpoints

Spent = dict[str, float]  # seconds in all, and of them in digests


@contextlib.contextmanager
def clock(module: Any, name: str) -> Iterator[Spent]:
    """Yield a dict that holds the seconds of the `with` block, and those in the function `name` of `module`."""
    spent, function = {"seconds": 0.0, "digests": 0.0}, getattr(module, name)

    def timed(*arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            spent["digests"] += time.perf_counter() - started

    setattr(module, name, timed)
    started = time.perf_counter()
    try:
        yield spent
    finally:
        spent["seconds"] = time.perf_counter() - started
        setattr(module, name, function)


def load(folder: Path, abstract: Any) -> Spent:
    """Open a folder of checkpoints and restore the newest."""
    with clock(steps, "check_digests") as spent, Checkpoints(folder) as checkpoints:
        assert checkpoints.latest is not None
        jax.block_until_ready(checkpoints.restore(checkpoints.latest, abstract))
    return spent


def save(state: Any) -> Spent:
    """Save a state, until it is on the disk."""
    with tempfile.TemporaryDirectory() as folder, Checkpoints(Path(folder)) as checkpoints:
        checkpoints.begin_writing()
        with clock(checkpoint, "seal") as spent:
            checkpoints.save(1, state, 0.0)
            checkpoints.wait()
    return spent


def policy(run: Path) -> Spent:
    """Load a policy."""
    with clock(portable, "check_digests") as spent:
        load_policy(run)
    return spent


def main() -> None:
    """Measure and print one JSON line per question."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    folder = (options.run / "checkpoints").absolute()
    with Checkpoints(folder) as checkpoints:
        newest = folder / str(checkpoints.latest)
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with ocp.CheckpointManager(folder) as manager:
        state = manager.restore(int(newest.name), args=ocp.args.StandardRestore(fallback_sharding=here))
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), state)
    questions: dict[str, Callable[[], Spent]] = {
        "load a checkpoint": lambda: load(folder, abstract),
        "save a checkpoint": lambda: save(state),
        "load the policy": lambda: policy(options.run),
    }
    size = sum(path.stat().st_size for path in newest.rglob("*") if path.is_file())
    for what, measure in questions.items():
        rounds = [measure() for _ in range(options.rounds + 1)][1:]
        shares = [one["digests"] / one["seconds"] for one in rounds]
        line = {
            "what": what,
            "checkpoint_bytes": size,
            "rounds": options.rounds,
            "ms": round(1000 * statistics.median(one["seconds"] for one in rounds), 2),
            "digests_ms": round(1000 * statistics.median(one["digests"] for one in rounds), 3),
            "share": round(statistics.median(shares), 4),
            "share_lowest_highest": [round(min(shares), 4), round(max(shares), 4)],
            "devices": describe_devices(),
        }
        print(json.dumps(line))


if __name__ == "__main__":
    main()
