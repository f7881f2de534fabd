"""How much time and memory does it take to read and clean a log, by format?

    python benchmarks/read_log.py [--rows 1000000] [--repeats 3] [--formats csv,parquet,...]

A log of `rows` interactions (50,000 users, 20,000 items, popularity falling with rank; fixed seed) is written once per
format. `load_dataset` reads it in a fresh process each time: reading, checking, pseudonyms, repetitions, order. It
prints one JSON line per format: seconds without the start of Python, and the peak memory of the whole process. `dates`
is CSV with ISO dates as times. `tfds` is read from its cache; `first_seconds` is the run that decodes the rows and
fills the cache. (Preparing 1,000,000 rows for it takes minutes.)
"""

import argparse
import bz2
import contextlib
import functools
import gzip
import json
import lzma
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

USERS, ITEMS = 50_000, 20_000
FORMATS = ("csv", "dates", "tsv", "parquet", "jsonl", "csv.gz", "csv.bz2", "csv.zst", "csv.xz", "tfds")
PACK = {
    "csv.gz": gzip.compress,
    "csv.bz2": bz2.compress,
    "csv.zst": lambda raw: pa.Codec("zstd").compress(raw).to_pybytes(),
    "csv.xz": functools.partial(lzma.compress, preset=1),
}


def main() -> None:
    """Measure and print one JSON line per format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--read", nargs=2, metavar=("FORMAT", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read(options.read[0], Path(options.read[1]))
        return
    for name in options.formats.split(","):
        with tempfile.TemporaryDirectory() as folder:
            write(name, make_log(options.rows), Path(folder))
            first = [in_fresh_process(name, folder)] if name == "tfds" else []
            runs = [in_fresh_process(name, folder) for _ in range(options.repeats)]
        seconds = sorted(run["seconds"] for run in runs)
        row = {
            "benchmark": "read_log",
            "device": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "format": name,
            "rows": options.rows,
            "rows_kept": runs[0]["rows_kept"],
            "seconds": round(statistics.median(seconds), 2),
            "lowest": round(seconds[0], 2),
            "highest": round(seconds[-1], 2),
            "cpu_seconds": round(statistics.median(run["cpu_seconds"] for run in runs), 2),
            "peak_mb": round(max(run["peak_mb"] for run in runs)),
            "repeats": options.repeats,
            "first_seconds": round(first[0]["seconds"], 2) if first else None,
            "versions": {package: version(package) for package in ("pyarrow", "numpy", "tensorflow-datasets")},
        }
        print(json.dumps(row), flush=True)


def make_log(rows: int) -> pa.Table:
    """Make a log: users and items as numbers, times in seconds, one to five stars."""
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "user": rng.integers(1, USERS + 1, rows),
            "item": (ITEMS * rng.random(rows) ** 2).astype(np.int64) + 1,
            "time": 1_600_000_000 + rng.integers(0, 10**8, rows),
            "stars": rng.integers(1, 6, rows),
        }
    )


def write(name: str, log: pa.Table, folder: Path) -> None:
    """Write the log in one format; jsonl with Python, because pyarrow reads but does not write it."""
    if name == "tfds":
        prepare(log, folder)
    elif name == "parquet":
        pyarrow.parquet.write_table(log, folder / "log.parquet")
    elif name == "jsonl":
        with (folder / "log.jsonl").open("w") as file:
            for batch in log.to_batches(2**16):
                file.writelines(json.dumps(row) + "\n" for row in batch.to_pylist())
    else:
        if name == "dates":
            log = log.set_column(2, "time", log["time"].cast(pa.timestamp("s")))
        plain = folder / ("log.tsv" if name == "tsv" else "log.csv")
        options = pyarrow.csv.WriteOptions(delimiter="\t" if name == "tsv" else ",")
        pyarrow.csv.write_csv(log, plain, options)
        if name in PACK:
            (folder / f"log.{name}").write_bytes(PACK[name](plain.read_bytes()))
            plain.unlink()


def prepare(log: pa.Table, folder: Path) -> None:
    """Write the log as TFDS prepares a data set."""
    import tensorflow_datasets as tfds

    class BenchmarkLog(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = folder  # TFDS looks there for descriptions, which it cannot do next to a script

        def _info(self):
            features = dict.fromkeys(log.column_names, np.int64)
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for start in range(0, len(log), 2**16):
                yield from enumerate(log.slice(start, 2**16).to_pylist(), start)

    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(sys.stderr):
        BenchmarkLog(data_dir=folder, file_format="array_record").download_and_prepare()


def in_fresh_process(name: str, folder: str) -> dict[str, float]:
    """Run `read` in a fresh process and give what it prints."""
    command = [sys.executable, __file__, "--read", name, folder]
    environment = os.environ | {"JAXREC_USER_KEY": "of this benchmark only: nobody is hidden"}
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)


def read(name: str, folder: Path) -> None:
    """Read the log once and print time and memory."""
    from jaxrec.config.data import DataConfig, FeedbackKind, TfdsLog
    from jaxrec.data import load_dataset, tfds

    tfds.CACHE = folder / "cache"
    (file,) = [file.name for file in folder.glob("log.*")] or [""]
    config = DataConfig(
        source="tfds" if name == "tfds" else "files",
        path=str(folder),
        log_file=file,
        item_file="",
        tfds=TfdsLog(name=str(folder / "benchmark_log" / "1.0.0")),
        feedback={"liked": FeedbackKind(column="stars", at_least=4)},
    )
    started, cpu = time.perf_counter(), time.process_time()
    data = load_dataset(config, 0)
    row = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3),
        "rows_kept": len(data.log),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()
