"""Flip one random bit in each of many stored files of real runs, and count what the readers of the commands do.

    python -m tests.flipped_bits --flips 300 --seed 0

Trains PPO, DQN with replay and an encoder, fits simulators and embeds texts, all on generated data. Then a random file
of a random part is damaged, read as the commands read it, and restored:

refused     one line says which file is damaged
recovered   a warning names it and something else takes its place, or it was made again with the same bytes
accepted    neither: this must not happen

Prints one line of JSON with the counts, and lists what was accepted. `--folder` keeps the runs for another call.
"""

import argparse
import contextlib
import io
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from jaxrec.checks import InputError
from jaxrec.cli import main
from jaxrec.data.matrix import RewardMatrix, load_matrix, save_matrix
from jaxrec.encoder import load_encoder
from jaxrec.encoder.bulk import embed_in_parts
from jaxrec.encoder.embed import embed_texts
from jaxrec.envs.logged_world import load_simulator
from jaxrec.runs.host_loop import cut_back
from jaxrec.runs.train_learner import SCORE
from jaxrec.runs.users.fitted_folder import check_whole, read_validity
from jaxrec.serve import load_policy
from jaxrec.storage.checkpoint import Checkpoints
from jaxrec.storage.portable import load_portable
from jaxrec.storage.run import RunFolder
from jaxrec.storage.stage_folders import TuneFolder
from tests.damage import flip_bit
from tests.recipes import TINY, TINY_ENCODER

TEXTS = [f"film {n} about {n % 7} and {n % 5}" for n in range(40)]
OWN = "  name: dqn\n  learning_starts: 64\n  replay_size: 1024\n  batch_size: 32\n"
DQN = TINY.replace("  name: ppo\n", OWN).replace("  epochs: 1\n  minibatches: 2\n", "")
TUNE = TINY + "tune: {steps: 4, steps_per_call: 2, evaluate_every: 2, batch_size: 8}\n"


class Part(NamedTuple):
    """Stored files, and what reads them."""

    files: Path  # a folder, or one file
    read: Callable[[], object]  # raises InputError, or gives what was read in a form that can be compared
    changed: Path | None = None  # folder that reading may change, if not that of the files


def train(folder: Path, command: str, recipe: str, name: str) -> Path:
    """Run `jaxrec COMMAND` on a recipe in a folder of its own, unless that is done."""
    run, path = folder / name, folder / f"{name}.yaml"
    if not run.exists():
        path.write_text(recipe)
        option = "-o" if command == "fit-simulator" else "--run"
        if main([command, str(path), option, str(run)]):
            raise SystemExit(f"{command} of {name} failed.")
    return run


def steps_of(folder: Path) -> Callable[[], object]:
    """Read checkpoints as a resumed run does before it restores one."""

    def read() -> object:
        with Checkpoints(folder) as checkpoints:
            return [(step, str(checkpoints.arrays(step))) for step in (checkpoints.latest, checkpoints.best) if step]

    return read


def rows_of(path: Path) -> Callable[[], object]:
    """Read the measurements as a resumed run does."""

    def read() -> object:
        run = RunFolder.open(path)
        with Checkpoints(run.checkpoints) as checkpoints:
            assert checkpoints.latest is not None
            cut_back(run, checkpoints, checkpoints.latest, (SCORE,))
        return run.metrics.read_bytes()

    return read


def leaves(tree: object) -> list[bytes]:
    """Bytes of all arrays of a tree, random keys among them."""
    import jax

    found = jax.tree.leaves(tree)
    plain = (jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x for x in found)
    return [np.asarray(x).tobytes() for x in plain]


def simulators_of(folder: Path) -> Callable[[], object]:
    """Read fitted users as training and evaluation do."""

    def read() -> object:
        check_whole(folder)
        return [read_validity(folder), *(leaves(load_simulator(folder / name)) for name in ("train", "judge"))]

    return read


def policy_of(run: Path) -> Callable[[], object]:
    """Read a policy as `recommend` does."""

    def read() -> object:
        found = load_policy(run)
        return [leaves(found.params), leaves(found.world), found.ids, found.titles, found.step]

    return read


def parts_of(folder: Path) -> list[Part]:
    """Make all runs, and say how their parts are read."""
    encoder = load_encoder(TINY_ENCODER, max_length=32)
    ppo, dqn = (train(folder, "train", recipe, name) for recipe, name in ((TINY, "ppo"), (DQN, "dqn")))
    tuned = train(folder, "tune", TUNE, "tuned")
    fitted = train(folder, "fit-simulator", TINY, "fitted")
    save_matrix(folder / "matrix" / "matrix.npz", RewardMatrix(matrix=np.eye(4, 8), categories=np.eye(8)))
    parts, cache, output, texts = (folder / name for name in ("parts", "cache", "vectors", "texts.txt"))
    texts.write_text("\n".join(TEXTS) + "\n")

    def embed(path: Path) -> Callable[[], object]:
        def read() -> object:
            words = ["embed", str(TINY_ENCODER), str(texts), "-o", str(path), "max_length=32"]
            if main(words):
                raise InputError("refused")
            return path.read_bytes() if path.is_file() else leaves(load_portable(path, "vectors")[0])

        return read

    def in_parts() -> object:
        done = embed_in_parts(encoder, pa.array(TEXTS), parts, {"job": 1}, 2048, size=16)
        return [np.load(path).tobytes() for path in done.files]

    for make in (in_parts, embed(output / "v.npy"), embed(output / "orbax")):
        make()
    return [
        *(Part(run / "checkpoints", steps_of(run / "checkpoints")) for run in (ppo, dqn, tuned)),
        *(Part(run / "policy", policy_of(run)) for run in (ppo, dqn)),
        *(Part(run / "config.yaml", lambda run=run: RunFolder.open(run).path.name) for run in (ppo, dqn)),
        Part(tuned / "tune.yaml", lambda: TuneFolder.open(tuned).path.name),
        Part(ppo / "metrics.jsonl", rows_of(ppo), ppo),
        Part(ppo / "simulators", simulators_of(ppo / "simulators")),
        Part(fitted, simulators_of(fitted)),
        Part(tuned / "encoder", lambda: leaves(load_encoder(tuned / "encoder").params)),
        Part(folder / "matrix", lambda: load_matrix(folder / "matrix").matrix.tobytes()),
        Part(parts, in_parts),
        Part(cache, lambda: embed_texts(encoder, TEXTS, cache_dir=str(cache)).tobytes()),
        Part(output / "v.npy", embed(output / "v.npy"), output),
        Part(output / "v.npy.json", embed(output / "v.npy"), output),
        Part(output / "orbax", embed(output / "orbax"), output),
    ]


def outcome_of(part: Part, file: Path, whole: object, rng: random.Random) -> str:
    """Damage a file, read its part, and put everything back."""
    folder = part.changed or part.files
    before = {path: path.read_bytes() for path in (folder, *folder.rglob("*")) if path.is_file()}
    flip_bit(file, rng)
    damaged, said = file.read_bytes(), io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            found = part.read()
    except InputError as error:
        return "refused" if "\n" not in str(error) else "accepted"
    finally:
        made_again = not file.exists() or file.read_bytes() != damaged
        if folder.is_dir():
            shutil.rmtree(folder)
        for path, content in before.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    named = any(line.startswith("warning: ") and str(file) in line for line in said.getvalue().splitlines())
    return "recovered" if named or (made_again and found == whole) else "accepted"


def count(parts: list[Part], flips: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Flip bits in files of all parts in turn; gives the counts, and the files whose damage was accepted."""
    rng, counts, accepted = random.Random(seed), Counter(), []
    for part in parts:  # the first call makes caches
        part.read()
    wholes = [part.read() for part in parts]
    for n in range(flips):
        part, whole = parts[n % len(parts)], wholes[n % len(parts)]
        files = [part.files] if part.files.is_file() else sorted(path for path in part.files.rglob("*"))
        file = rng.choice([path for path in files if path.is_file() and path.stat().st_size])
        outcome = outcome_of(part, file, whole, rng)
        counts[outcome] += 1
        if outcome == "accepted":
            accepted.append(str(file))
    return counts, accepted


def run() -> int:
    """Count, print, and fail if damage was accepted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--flips", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep the runs here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        counts, accepted = count(parts_of(folder), options.flips, options.seed)
    names = ("refused", "recovered", "accepted")
    print(json.dumps({"flips": options.flips, "seed": options.seed, **{name: counts[name] for name in names}}))
    print("\n".join(accepted), file=sys.stderr)
    return 1 if accepted else 0


if __name__ == "__main__":
    sys.exit(run())
