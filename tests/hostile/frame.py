"""Hostile inputs: what a case is, and the rules that all of them keep.

A table of cases is a tuple of `Hostile`; `test_hostile.py` lists the tables, and `fuzz.py` draws from the same ones.
Every case has a root folder of its own:

ROOT/in/    what the case gives to the program: model/, data/, recipe.yaml, run/ (a trained run, if the case asks)
     near/  files of the user that nobody mentioned
     home/  the home folder
     out/   the only folder in which anything new may appear

Rules, whatever the input: no traceback and no panic, at most 10 seconds and 2 GB, no path that was there before has
changed, and what is new is in out/. A refusal is exit code 2 and one line.
"""

import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.hostile.launch import Ended, Launcher

SECONDS, BYTES = 10.0, 2 * 2**30
LINE = 1_000  # characters of a refusal
CRASHES = ("Traceback (most recent call last)", "panicked at", "Exception ignored", "Fatal Python error")
KEY = "the private key of the user\n"  # in near/key.txt; no output may hold it


@dataclasses.dataclass(frozen=True)
class Place:
    """The folders of one case."""

    root: Path

    def __getattr__(self, name: str) -> Path:
        return self.root / {"model": "in/model", "data": "in/data", "run": "in/run", "recipe": "in/recipe.yaml"}.get(
            name, name
        )

    @property
    def inputs(self) -> Path:
        return self.root / "in"

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file under the root, as in write('in/data/log.csv', ...)."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def words(self, command: str | tuple[str, ...]) -> list[str]:
        """Words of a command line; {model}, {data}, {run}, {recipe}, {near}, {out}, {home} and {root} become paths."""
        names = ("model", "data", "run", "recipe", "near", "out", "home")
        paths = {"root": str(self.root), **{name: str(getattr(self, name)) for name in names}}
        words = command.split() if isinstance(command, str) else command
        for name, path in paths.items():
            words = [word.replace(f"{{{name}}}", path) for word in words]
        return list(words)


def nothing(place: Place) -> None:
    """Build no input."""


@dataclasses.dataclass(frozen=True)
class Hostile:
    """One input, and how the program ends."""

    name: str
    command: str | tuple[str, ...]  # without `jaxrec`; see `Place.words`
    build: Callable[[Place], None] = nothing  # writes the input
    wants: tuple[str, ...] = ()  # parts of the line that refuses it, or of the output if it is accepted
    code: int = 2
    env: Mapping[str, str | None] = dataclasses.field(default_factory=dict)  # None: not set
    run: bool = False  # a trained run is copied to {run}
    fresh: bool = False  # a new Python, for what it reads when it starts; costs seconds
    changes: tuple[str, ...] = ()  # paths under the root that may change, besides out/
    check: Callable[[Place, Ended], None] | None = None  # further rules


def prepare(case: Hostile, root: Path, trained: Callable[[], Path]) -> Place:
    """Write the input of a case; `trained` gives the run that is copied."""
    place = Place(root)
    for name in ("in/data", "near/folder", "home", "out"):
        (root / name).mkdir(parents=True)
    place.write("near/key.txt", KEY)
    place.write("near/folder/notes.md", "notes of the user\n")
    if case.run:
        shutil.copytree(trained(), place.run, symlinks=True)
    case.build(place)
    return place


def start(case: Hostile, place: Place, launcher: Launcher) -> Ended:
    """Run the command of a case in its out/ folder."""
    env = {"HOME": str(place.home), "JAXREC_USER_KEY": "k" * 32, "HF_HUB_OFFLINE": "1", **case.env}
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # others compute too
    return launcher.run(place.words(case.command), place.out, env, SECONDS * busy, BYTES, fresh=case.fresh)


Snapshot = dict[str, tuple]


def snapshot(root: Path) -> Snapshot:
    """Everything under a folder: kind, mode, target or content of each path; links are not followed."""
    found: Snapshot = {}
    for folder, folders, files in os.walk(root):
        for path in (Path(folder, name) for name in (*folders, *files)):
            found[str(path.relative_to(root))] = _state(path)
    return found


def _state(path: Path) -> tuple:
    info = path.lstat()
    if path.is_symlink():
        return ("link", str(path.readlink()))
    if path.is_file():
        content = path.read_bytes() if info.st_size < 2**20 else (info.st_size, info.st_mtime_ns)
        return ("file", info.st_mode, content)
    return ("other", info.st_mode)


def broken_rules(case: Hostile, place: Place, before: Snapshot, ended: Ended) -> list[str]:
    """What the program did that no input may make it do."""
    said, broken = ended.out + ended.err, []
    if ended.killed:
        broken.append(ended.killed)
    elif ended.code not in (0, 2, 130):
        broken.append(f"exit code {ended.code}")
    broken += [f"{crash!r} in its output" for crash in CRASHES if crash in said]
    lines = [line for line in ended.err.splitlines() if line.startswith("jaxrec: ")]
    if ended.code == 2 and not ended.killed:
        if len(lines) != 1 or ended.err.strip().splitlines()[-1] != lines[0]:
            broken.append(f"{len(lines)} lines of refusal, or more after it")
        elif len(lines[0]) > LINE:
            broken.append(f"a line of {len(lines[0]):,} characters")
    return broken + _touched(case, place, before)


def _touched(case: Hostile, place: Place, before: Snapshot) -> list[str]:
    after, free = snapshot(place.root), ("out", *case.changes)
    changed = [name for name, state in before.items() if after.get(name) != state]
    changed = [name for name in changed if not any(name == one or name.startswith(f"{one}/") for one in case.changes)]
    new = [name for name in after if name not in before]
    new = [name for name in new if not any(name == one or name.startswith(f"{one}/") for one in free)]
    leaked = [
        name
        for name, state in after.items()
        if name not in before and state[0] == "file" and isinstance(state[2], bytes) and KEY.encode() in state[2]
    ]
    touched = {"changed": changed, "new": new, "copied the user's key to": leaked}
    return [f"{what} {', '.join(sorted(names)[:5])}" for what, names in touched.items() if names]


def faults(case: Hostile, place: Place, before: Snapshot, ended: Ended) -> list[str]:
    """Rules that are broken, and expectations of the case that are not met."""
    found = broken_rules(case, place, before, ended)
    if not ended.killed and ended.code != case.code:
        found.append(f"ended with {ended.code}, expected {case.code}")
    found += [f"does not say {want!r}" for want in case.wants if want not in ended.out + ended.err]
    return found
