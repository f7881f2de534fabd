"""How much memory does `jaxrec embed` need? The largest resident size of the whole command.

    python benchmarks/embed_memory.py MODEL [--texts 200000]

Writes short generated texts to a temporary folder and encodes them with the command, in a process of its own. Prints
one JSON line.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax

WORDS = ["red", "blue", "film", "song", "story", "toy", "heat", "space", "night", "love", "river", "stone", "green"]


def write_texts(path: Path, count: int) -> None:
    """Write texts of 3 to 9 words, all different."""
    draw = random.Random(0)
    lines = (f"{' '.join(draw.choices(WORDS, k=draw.randrange(2, 9)))} {n}\n" for n in range(count))
    path.write_text("".join(lines))


def peak_of(words: list[str]) -> int:
    """Run `jaxrec WORDS`; its largest resident size in bytes."""
    process = subprocess.Popen([sys.executable, "-m", "jaxrec.cli", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"jaxrec {words[0]}: failed.")
    return usage.ru_maxrss * 1024  # Linux counts in KiB


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--texts", type=int, default=200_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        texts = Path(folder, "texts.txt")
        write_texts(texts, options.texts)
        started = time.perf_counter()
        peak = peak_of(["embed", options.model, str(texts), "-o", str(Path(folder, "vectors.npy")), "max_length=32"])
        seconds = time.perf_counter() - started
    line = {"what": "embed", "model": Path(options.model).name, "texts": options.texts, "peak_mb": round(peak / 1e6)}
    print(json.dumps({**line, "seconds": round(seconds), "jax": jax.__version__}))


if __name__ == "__main__":
    main()
