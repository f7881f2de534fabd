"""Damages good inputs at random, and checks the rules that every input keeps (`frame.py`).

    python -m tests.hostile.fuzz --seed 0 --count 200

Each number of a case is a seed of its own: `--seed 17 --count 1` repeats case 17. The exit code is 1 if a rule was
broken. The trained run, which some cases damage, takes a minute.
"""

import argparse
import json
import os
import random
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.hostile.frame import Hostile, Place, broken_rules, prepare, snapshot, start
from tests.hostile.launch import Launcher
from tests.hostile.logs import SMALL, WHOLE, log, matrix
from tests.hostile.models import EMBED, model
from tests.recipes import TINY

NUMBERS = (b"0", b"-1", b"1e309", b"NaN", b"1" * 400, b"18446744073709551616", b"true", b'"x"', b"[]", b"{}", b"null")
WORDS = (
    b"../../near/key.txt",
    b"/etc/passwd",
    b"\\u0000",
    b"\\ud800",
    b"\x1b]0;x\x07",
    b"x" * 5_000,
    b"",
    b"%s",
    b"{x}",
)
PIECES = (b"\0", b"\xff", b'"', b"\n", b"{", b"[" * 500, b",", b":", b"*a", b"&a ", b"!!python/object/new:os.system ")


def items(place: Place) -> None:
    """A log with an item table."""
    log("log.csv", SMALL, item_file="items.csv", text="{title}")(place)
    place.write("in/data/items.csv", "item,title\ni,One\nj,Two\n")


def lines(place: Place) -> None:
    """A log of JSON lines."""
    rows = [dict(zip(("user", "item", "time", "stars"), line.split(","), strict=True)) for line in SMALL.split()[1:]]
    log("log.jsonl", "".join(json.dumps(row) + "\n" for row in rows))(place)


def tiny(place: Place) -> None:
    """The recipe of a generated log."""
    place.write("in/recipe.yaml", TINY)


BASES = (
    Hostile("model", EMBED, model()),
    Hostile("log", "check-data {recipe}", log("log.csv", SMALL)),
    Hostile("lines", "check-data {recipe} --json", lines),
    Hostile("items", "check-data {recipe}", items),
    Hostile("recipe", "check-data {recipe}", tiny),
    Hostile("matrix", "train {recipe} --run {out}/run", matrix(WHOLE)),
    Hostile("inspect", "inspect {run}", run=True),
    Hostile("recommend", "recommend {run} --history 1,2 -k 3", run=True),
)


def damage(content: bytes, draw: random.Random) -> bytes:
    """Change a file in one way."""
    place = draw.randrange(len(content) + 1)
    ways: list[Callable[[], bytes]] = [
        lambda: content[:place],
        lambda: content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :],
        lambda: content[:place] + draw.choice(PIECES) + content[place:],
        lambda: content[:place] + content[draw.randrange(len(content) + 1) :],
        lambda: content + content,
        lambda: _one(content, rb"-?\d[\d.eE+-]*", draw.choice(NUMBERS), draw),
        lambda: _one(content, rb'(?<=")[^"\n]*(?=")', draw.choice(WORDS), draw),
        lambda: draw.choice((b"", b"\0" * 100, bytes(range(256)), b"[]", b"{}", b"null")),
    ]
    return draw.choice(ways)()


def _one(content: bytes, pattern: bytes, by: bytes, draw: random.Random) -> bytes:
    """Replace one match of a pattern."""
    found = list(re.finditer(pattern, content))
    if not found:
        return by
    one = draw.choice(found)
    return content[: one.start()] + by + content[one.end() :]


def damaged(base: Hostile, draw: random.Random) -> Hostile:
    """The base with one to three files damaged, removed or replaced by a link."""

    def build(place: Place) -> None:
        base.build(place)
        files = sorted(path for path in place.inputs.rglob("*") if path.is_file())
        for path in draw.sample(files, min(len(files), draw.randint(1, 3))):
            way = draw.random()
            content = path.read_bytes()
            path.unlink()
            if way < 0.05:
                path.symlink_to(place.near / "key.txt")
            elif way < 0.95:
                path.write_bytes(damage(content, draw))

    return Hostile(base.name, base.command, build, run=base.run)


def main() -> int:
    """Run the cases; returns 1 if a rule was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument("--count", type=int, default=200, help="cases")
    options = parser.parse_args()
    broken, most, longest = 0, 0, 0.0
    compiled = tempfile.TemporaryDirectory()
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", compiled.name)  # not in the home of a case
    with compiled, tempfile.TemporaryDirectory() as folder, Launcher() as launcher:
        runs: list[Path] = []

        def trained() -> Path:
            if not runs:
                place = prepare(Hostile("a run", "", tiny), Path(folder, "trained"), trained)
                words = place.words("train {recipe} --run {out}/run")
                ended = launcher.run(words, place.out, {"HOME": str(place.home)}, 600, 8 * 2**30)
                assert ended.code == 0, ended.err
                runs.append(place.out / "run")
            return runs[0]

        for seed in range(options.seed, options.seed + options.count):
            draw = random.Random(seed)
            case = damaged(draw.choice(BASES), draw)
            place = prepare(case, Path(folder, str(seed)), trained)
            before = snapshot(place.root)
            ended = start(case, place, launcher)
            most, longest = max(most, ended.bytes), max(longest, ended.seconds)
            if faults := broken_rules(case, place, before, ended):
                broken += 1
                print(f"seed {seed} ({case.name}): {'; '.join(faults)}\n{ended.err[-1500:]}")
    summary = {"cases": options.count, "broken": broken, "longest_s": round(longest, 1), "most_mb": most // 2**20}
    print(json.dumps(summary))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
