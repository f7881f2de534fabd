"""Kill commands at random moments and inside saves, continue them, and compare with what nobody disturbed.

    python -m tests.kills --kills 200 --seed 0

Trains PPO (which fits its simulated users first), DQN with replay (on users that are fitted once) and an encoder, and
embeds texts, all on generated data. Each command is killed (SIGKILL),
continued, and killed again until it ends by itself. What it has written must then be equal, bit for bit, to what one
that ran undisturbed has written. Every second kill waits for a save and strikes inside it. With `--corrupted N`, the
newest checkpoint of each job is damaged after N of its kills (where an older one exists), so that the older one is
continued. 100 kills of trainings at random moments, 100 inside saves and 20 damaged checkpoints, in some hours:

    python -m tests.kills --jobs ppo,dqn --kills 200 --corrupted 10

Prints a line of JSON for each job, and says which outputs differ. The line of each job says how many kills of each
kind and how many damaged checkpoints there were: short runs rarely have two checkpoints when they are killed.
`--folder` keeps what was compared.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import orbax.checkpoint as ocp

from jaxrec.storage.checkpoint import Checkpoints
from jaxrec.storage.digests import DIGESTS, is_whole
from jaxrec.storage.steps import steps_in
from tests.damage import flip_bit
from tests.flipped_bits import DQN, TUNE, leaves, policy_of
from tests.hostile.launch import Ended, Launcher
from tests.recipes import TINY, TINY_ENCODER

OFTEN = (
    "updates: 8, updates_per_call: 2, checkpoint_every: 4",
    "updates: 16, updates_per_call: 2, checkpoint_every: 2",
)
RECIPES = {"ppo": TINY.replace(*OFTEN), "dqn": DQN.replace(*OFTEN), "tune": TUNE.replace("steps: 4", "steps: 12")}
TEXTS = 40_000  # three parts of vectors
SECONDS, BYTES = 600.0, 8 * 2**30
LATEST = 0.05  # seconds after a save was seen to begin


class Job(NamedTuple):
    """A command that writes into a folder, and what it has written."""

    name: str
    words: Callable[[Path], list[str]]  # folder -> command line that begins or continues the work
    written: Callable[[Path], object]  # folder -> everything that must be equal


class Killed(NamedTuple):
    """How often one job was killed, and what came of it."""

    random: int
    inside_saves: int  # of a process that left an unfinished save
    corrupted: int  # newest checkpoints that were damaged after a kill
    compared: int  # outputs
    differ: list[str]  # folders of outputs that are not equal to the undisturbed one


def training(name: str, recipe: Path, written: Callable[[Path], object], *overrides: str) -> Job:
    """A command on a recipe, continued with --resume."""
    command = "tune" if name == "tune" else "train"

    def words(folder: Path) -> list[str]:
        run = folder / "run"
        begun = (run / f"{'tune' if name == 'tune' else 'config'}.yaml").exists()
        return [command, str(recipe), *overrides, "--run", str(run), *(["--resume"] if begun else [])]

    return Job(name, words, lambda folder: [*state_of(folder / "run"), written(folder / "run")])


def state_of(run: Path) -> list[object]:
    """The measurements, and every array of the newest and the best checkpoint: weights, optimiser, replay and keys."""
    with Checkpoints(run / "checkpoints") as checkpoints:
        steps = (checkpoints.latest, checkpoints.best)
    found = (ocp.StandardCheckpointer().restore(run / "checkpoints" / str(step) / "default") for step in steps)
    return [steps, (run / "metrics.jsonl").read_bytes(), *(leaves(state) for state in found)]


def jobs_in(folder: Path, launcher: Launcher, users: Path | None = None) -> list[Job]:
    """All jobs; their recipes and texts are written to `folder`, and users are fitted there if none are given."""
    for name, recipe in RECIPES.items():
        (folder / f"{name}.yaml").write_text(recipe)
    texts = folder / "texts.txt"
    texts.write_text("".join(f"film {n} about {n % 7} and {n % 5}\n" for n in range(TEXTS)))
    if users is None:
        users = folder / "users"
        fit = ["fit-simulator", str(folder / "ppo.yaml"), "-o", str(users)]
        if (fitted := launcher.run(fit, folder, {}, SECONDS, BYTES)).code:
            raise SystemExit(f"fit-simulator: failed without a kill: {fitted.err}")
    embed = ["embed", str(TINY_ENCODER), str(texts), "max_length=32", "-o"]
    encoder = "encoder/model.safetensors"
    return [
        training("ppo", folder / "ppo.yaml", lambda run: policy_of(run)()),
        training("dqn", folder / "dqn.yaml", lambda run: policy_of(run)(), f"env.path={users}"),
        training("tune", folder / "tune.yaml", lambda run: (run / encoder).read_bytes()),
        Job("embed", lambda place: [*embed, str(place / "v.npy")], lambda place: (place / "v.npy").read_bytes()),
    ]


def unfinished(folder: Path) -> set[str]:
    """Paths of saves that have begun and not ended: temporary names, and steps without digests."""
    found = set()
    with contextlib.suppress(FileNotFoundError):  # while it is read
        for path in (*folder.glob("*"), *folder.glob("*/*"), *folder.glob("*/checkpoints/*")):
            step = path.name.isdigit() and path.parent.name == "checkpoints" and not (path / DIGESTS).exists()
            if step or path.name.endswith(".tmp") or ".orbax-checkpoint-tmp" in path.name:
                found.add(str(path))
    return found


def alive(process: int) -> bool:
    """Whether a process runs."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


def kill_after(seconds: float) -> Callable[[int], None]:
    """Kill a process after some time, unless it has ended."""

    def kill(process: int) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and alive(process):
            time.sleep(0.005)
        _kill(process)

    return kill


def kill_inside(folder: Path, number: int, delay: float) -> Callable[[int], None]:
    """Kill a process `delay` seconds after it was seen to begin save `number` (1, 2, ...), unless it has ended."""

    def kill(process: int) -> None:
        seen = unfinished(folder)  # of the process before
        for _ in range(number):
            while not (new := unfinished(folder) - seen):
                if not alive(process):
                    return
                time.sleep(0.001)
            seen |= new
        time.sleep(delay)
        _kill(process)

    return kill


def corrupt_newest(checkpoints: Path, draw: random.Random) -> bool:
    """Flip a bit of the newest of several finished checkpoints; gives whether it did.

    It does not if there are fewer than two, or if the newest one is damaged already: it keeps its name until a process
    that continues has found the damage, and must not count twice.
    """
    steps = [step for step in steps_in(checkpoints) if (checkpoints / str(step) / DIGESTS).exists()]
    if len(steps) < 2 or not is_whole(newest := checkpoints / str(steps[-1])):
        return False
    files = [path for path in sorted(newest.rglob("*")) if path.is_file()]
    flip_bit(draw.choice([path for path in files if path.stat().st_size]), draw)
    return True


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)


def kill_often(
    job: Job, folder: Path, launcher: Launcher, kills: int, draw: random.Random, corrupted: int = 0
) -> Killed:
    """Kill a job `kills` times, and compare every output that is finished in between.

    After up to `corrupted` of the kills the newest of several checkpoints is damaged. If there were too few, up to
    `4 * kills` further kills follow.
    """

    def run(place: Path, meanwhile: Callable[[int], None] = lambda process: None) -> Ended:
        place.mkdir(parents=True, exist_ok=True)
        return launcher.run(job.words(place), folder, {}, SECONDS, BYTES, meanwhile=meanwhile)

    run(folder / job.name / "warm")  # compiles
    begun = time.monotonic()
    ended = run(folder / job.name / "whole")
    seconds = time.monotonic() - begun
    if ended.code:
        raise SystemExit(f"{job.name}: failed without a kill: {ended.err}")
    want, done, counts, differ = job.written(folder / job.name / "whole"), 0, Counter(), []

    def more(number: int) -> bool:
        return number < kills or (counts["corrupted"] < corrupted and number < 5 * kills)

    while more(counts["random"] + counts["inside"]) or (folder / job.name / str(done)).exists():
        place, number = folder / job.name / str(done), counts["random"] + counts["inside"]
        before = unfinished(place)  # by the process before
        inside = kill_inside(place, draw.randint(1, 4), draw.uniform(0.0, LATEST))
        kill = inside if number % 2 else kill_after(draw.uniform(0.0, seconds))
        ended = run(place, kill) if more(number) else run(place)
        if ended.code == -signal.SIGKILL:
            counts["inside" if unfinished(place) - before else "random"] += 1
            if counts["corrupted"] < corrupted:
                counts["corrupted"] += corrupt_newest(place / "run" / "checkpoints", draw)
            continue
        if ended.code or job.written(place) != want:
            differ.append(f"{place}: {ended.err or 'differs'}")
        else:
            shutil.rmtree(place)
        done += 1
    return Killed(counts["random"], counts["inside"], counts["corrupted"], done, differ)


def main() -> int:
    """Kill, compare, print; returns 1 if something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="of all jobs together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", default="ppo,dqn,tune,embed", help="names of the jobs to kill")
    parser.add_argument("--corrupted", type=int, default=0, help="newest checkpoints to damage, of each job but embed")
    parser.add_argument("--folder", type=Path, help="keep here what was compared")
    options = parser.parse_args()
    names, differ = options.jobs.split(","), []
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "compiled"))
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # small programs: compiling is slow
        os.environ.setdefault("JAXREC_USER_KEY", "of tests only: nobody is hidden by it")
        with Launcher() as launcher:
            for n, job in enumerate(job for job in jobs_in(folder, launcher) if job.name in names):
                kills = options.kills // len(names) + (n < options.kills % len(names))
                begun = time.monotonic()
                draw = random.Random(f"{options.seed} {job.name}")
                corrupted = 0 if job.name == "embed" else options.corrupted  # it has no checkpoints
                killed = kill_often(job, folder, launcher, kills, draw, corrupted)
                counts = {**killed._asdict(), "differ": len(killed.differ), "seed": options.seed}
                print(json.dumps({"job": job.name, **counts, "seconds": round(time.monotonic() - begun)}), flush=True)
                differ += killed.differ
    print("\n".join(differ), file=sys.stderr)
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
