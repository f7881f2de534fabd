"""What does a sweep of several seeds cost, compared with one run?

    python benchmarks/sweep.py [--seeds 8] [--updates 50] [--mode auto]

Interest evolution as in configs/ppo_interest_evolution.yaml, shortened to `--updates` updates with one evaluation. Each
sweep is a process of its own without compiled programs on disk, so imports and compilation count. It prints one JSON
line: device, versions, wall and processor seconds of both. benchmarks/README.md has the results.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import jax

RECIPE = Path(__file__).parents[1] / "configs" / "ppo_interest_evolution.yaml"


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--updates", type=int, default=50)
    parser.add_argument("--mode", choices=("auto", "threads", "vmap"), default="auto")
    options = parser.parse_args()
    one, many = (measure(seeds, options.updates, options.mode) for seeds in (1, options.seeds))
    result = {
        "benchmark": "sweep",
        "device": jax.devices()[0].device_kind,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),  # other work on the cores
        "seeds": options.seeds,
        "updates": options.updates,
        "mode": options.mode,
        "one_s": one[0],
        "sweep_s": many[0],
        "ratio": round(many[0] / one[0], 2),
        "one_processor_s": one[1],
        "sweep_processor_s": many[1],
        "processor_ratio": round(many[1] / one[1], 2),
        "versions": {name: version(name) for name in ("jax", "flax", "optax")},
    }
    print(json.dumps(result))


def measure(seeds: int, updates: int, mode: str) -> tuple[float, float]:
    """Wall and processor seconds of a sweep over `seeds`."""
    schedule = [f"train.{name}={updates}" for name in ("updates", "checkpoint_every")]
    words = [f"seeds={seeds}", "learner.anneal_updates=0", *schedule, "--mode", mode]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": f"{folder}/compiled"}
        command = [sys.executable, "-m", "jaxrec.cli", "sweep", str(RECIPE), *words, "--run", f"{folder}/sweep"]
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return round(seconds, 1), round(used, 1)


if __name__ == "__main__":
    main()
