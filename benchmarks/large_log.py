"""How much memory and time does a log of many rows take, from its files until a fit reads batches of windows?

    python benchmarks/large_log.py [--rows 20000000] [--ceiling-gb 6] [--folder DIR]

A folder of Parquet files of 1,000,000 rows each is generated (one user per 50 rows, one item per 200; popularity falls
with rank; 1 row in 500 appears twice; fixed seed). A fresh process then does what `jaxrec pretrain` does with it: it
reads and cleans the log (reading, checking, pseudonyms, repetitions, order, k-core), splits it, cuts windows, and draws
batches of them on the device. It prints one JSON line with seconds and the peak of resident memory of each stage, and
exits with 1 if the peak of all is above the ceiling. `--folder` keeps the files for another call.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

PART = 1_000_000  # rows of a file
ROWS_PER_USER, ROWS_PER_ITEM, ONE_REPEATED_IN = 50, 200, 500
BATCHES = 20  # of windows, drawn by the fit
RECIPE = """\
data:
  source: files
  path: {folder}
  log_file: "log-*.parquet"
  item_file: ""
  columns: {{user: user, item: item, time: time}}
  feedback: {{liked: {{column: stars, at_least: 4}}}}
  min_user_rows: 5
  min_item_rows: 5
env: {{name: logged}}
learner: {{policy: {{history: 50}}}}
pretrain: {{texts: false, batch_size: 64}}
"""


def main() -> int:
    """Generate, measure in a fresh process, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--ceiling-gb", type=float, default=6.0, help="most resident memory, in units of 1e9 bytes")
    parser.add_argument("--folder", type=Path, help="keep the files here, or use those that are here")
    parser.add_argument("--read", metavar="FOLDER", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(measured(options.read)))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not any(folder.glob("log-*.parquet")):
            write(options.rows, folder)
        command = [sys.executable, __file__, "--read", str(folder)]
        environment = os.environ | {"JAXREC_USER_KEY": "of this benchmark only: nobody is hidden"}
        found = json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout)
    row = {
        "benchmark": "large_log",
        "device": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        **found,
        "ceiling_gb": options.ceiling_gb,
        "versions": {package: version(package) for package in ("pyarrow", "numpy", "jax")},
    }
    print(json.dumps(row), flush=True)
    return int(found["peak_gb"] > options.ceiling_gb)


def write(rows: int, folder: Path) -> None:
    """Write the log in files of at most PART rows; no more than one of them is in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    users, items = max(1, rows // ROWS_PER_USER), max(1, rows // ROWS_PER_ITEM)
    for number, start in enumerate(range(0, rows, PART)):
        rng, size = np.random.default_rng([0, number]), min(PART, rows - start)
        fresh = size - size // ONE_REPEATED_IN
        columns = {
            "user": rng.integers(1, users + 1, fresh),
            "item": (items * rng.random(fresh) ** 2).astype(np.int64) + 1,
            "time": 1_600_000_000 + rng.integers(0, 10**8, fresh),
            "stars": rng.integers(1, 6, fresh),
        }
        again = rng.integers(0, fresh, size - fresh)
        table = pa.table({name: np.concatenate([values, values[again]]) for name, values in columns.items()})
        pyarrow.parquet.write_table(table, folder / f"log-{number:04}.parquet")


def measured(folder: Path) -> dict[str, object]:
    """Take the log from its files to batches of windows; gives seconds and memory of each stage."""
    stages: dict[str, dict[str, float]] = {}
    with stage("imports", stages):
        import jax

        from jaxrec.config.load import load_config
        from jaxrec.config.schema import Config
        from jaxrec.data import load_dataset, make_split
        from jaxrec.runs.pretrain_inputs import window_length
        from jaxrec.sharding.compile import compiled
        from jaxrec.supervised.user_windows import cut, make_windows

        jax.devices()
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(folder=json.dumps(str(folder), ensure_ascii=False)))  # JSON's quotes are YAML's too
    config = load_config(Config, recipe)
    with stage("read and clean", stages):
        data = load_dataset(config.data, config.seed)
    with stage("split", stages):
        split = make_split(config.data, data.log)
    with stage("windows", stages):
        length = window_length(config)
        rows, buckets = make_windows(split.train, split.train.item, length, config.pretrain.batch_size * length)
    with stage(f"{BATCHES} batches", stages):
        draw = compiled(cut, static=(1, 2, 5))
        for number in range(BATCHES):
            n = number % len(buckets)
            window = draw(rows, n, buckets[n], number, jax.random.key(0), data.log.num_users)
            jax.block_until_ready(rows.items[window.rows])
    sizes = {"rows_read": _rows_in(folder), "rows_kept": len(data.log), "users": data.log.num_users}
    return {
        **sizes,
        "items": data.log.num_items,
        "training_rows": len(split.train),
        "stages": stages,
        "seconds": round(sum(one["seconds"] for one in stages.values()), 1),
        "peak_gb": max(one["peak_gb"] for one in stages.values()),
    }


@contextmanager
def stage(name: str, stages: dict[str, dict[str, float]]) -> Iterator[None]:
    """Measure a stage: its seconds, the most resident memory in it, and what is resident after it."""
    forget = Path("/proc/self/clear_refs")
    if forget.exists():
        forget.write_text("5")  # the kernel then counts the most resident memory anew
    started, cpu = time.perf_counter(), time.process_time()
    yield
    stages[name] = {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_gb": round(_resident("VmHWM"), 2),
        "after_gb": round(_resident("VmRSS"), 2),
    }


def _resident(field: str) -> float:
    """Resident memory of this process in units of 1e9 bytes: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith(f"{field}:"))


def _rows_in(folder: Path) -> int:
    return sum(pyarrow.parquet.read_metadata(file).num_rows for file in folder.glob("log-*.parquet"))


if __name__ == "__main__":
    sys.exit(main())
