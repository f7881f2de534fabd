"""Outputs that would destroy something of the user, and runs whose files lead out of them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.hostile.frame import Ended, Hostile, Place
from tests.hostile.models import OUT, Change, model
from tests.recipes import TINY

EMBED = "embed {model} {data}/texts.txt max_length=16 -o "
HELD = """
import pathlib, sys, time
from jaxrec.storage.lock import hold, one_command
with one_command():
    hold(pathlib.Path(sys.argv[1]), "train")
    print("held", flush=True)
    time.sleep(60)
"""


def users(name: str, content: str = "of the user\n") -> Change:
    """A file of the user."""
    return lambda place: place.write(name, content)


def link(name: str, target: str) -> Change:
    def build(place: Place) -> None:
        path = place.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.symlink_to(place.words((target,))[0])

    return build


def pipe(name: str) -> Change:
    def build(place: Place) -> None:
        (place.root / name).unlink(missing_ok=True)
        os.mkfifo(place.root / name)

    return build


def recipe(name: str = "in/recipe.yaml") -> Change:
    return lambda place: place.write(name, "# my notes\n" + TINY)


def all_of(*changes: Change) -> Callable[[Place], None]:
    def build(place: Place) -> None:
        for change in changes:
            change(place)

    return build


def held(name: str) -> Change:
    """Another process that holds the lock of a folder; `release` ends it."""

    def build(place: Place) -> None:
        command = [sys.executable, "-c", HELD, str(place.root / name)]
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        HOLDERS[place.root] = process

    return build


HOLDERS: dict[Path, subprocess.Popen] = {}


def release(place: Place, ended: Ended) -> None:
    process = HOLDERS.pop(place.root)
    process.kill()
    process.communicate()


NOT_OURS, TAKEN = "did not write", "already exists"
CLAIMS = (
    Hostile(
        "a folder of the user where the parts go", EMBED + "q.npy", model(users("out/q.npy.parts/a.txt")), (NOT_OURS,)
    ),
    Hostile(
        "a folder with a file of the name of a part",
        EMBED + "q.npy",
        model(users("out/q.npy.parts/vectors-00000.npy")),
        (NOT_OURS,),
    ),
    Hostile(
        "a folder with an identity and a file of the user",
        EMBED + "q.npy",
        model(users("out/q.npy.parts/identity.json", "{}"), users("out/q.npy.parts/a.txt")),
        (NOT_OURS,),
    ),
    Hostile(
        "an identity of something else",
        EMBED + "q.npy",
        model(users("out/q.npy.parts/identity.json", "{}")),
        ("another job",),
    ),
    Hostile(
        "an empty folder where the parts go",
        EMBED + "q.npy",
        model(lambda place: (place.out / "q.npy.parts").mkdir()),
        code=0,
        changes=("out",),
    ),
    Hostile("a file where the parts go", EMBED + "q.npy", model(users("out/q.npy.parts")), ("a file or link",)),
    Hostile(
        "a link where the parts go",
        EMBED + "q.npy",
        model(link("out/q.npy.parts", "{near}/folder")),
        ("a file or link",),
    ),
    Hostile(
        "a link to nothing where the parts go",
        EMBED + "q.npy",
        model(link("out/q.npy.parts", "{near}/x")),
        ("a file or link",),
    ),
    Hostile("a description of the user", EMBED + "queries", model(users("out/queries.json", '{"q": 1}')), (NOT_OURS,)),
    Hostile("a description that is text", EMBED + "queries", model(users("out/queries.json")), (NOT_OURS,)),
    Hostile("a description that is a list", EMBED + "queries", model(users("out/queries.json", "[1]")), (NOT_OURS,)),
    Hostile("a description that is a folder", EMBED + "queries", model(users("out/queries.json/a")), (NOT_OURS,)),
    Hostile(
        "a description that is a link",
        EMBED + "queries",
        model(link("out/queries.json", "{near}/key.txt")),
        (NOT_OURS,),
    ),
    Hostile("a description that is a pipe", EMBED + "queries", model(pipe("out/queries.json")), (NOT_OURS,)),
    Hostile("vectors of the user", EMBED + "q.npy", model(users("out/q.npy")), (TAKEN,)),
    Hostile("a folder of the user for vectors", EMBED + "queries", model(users("out/queries/a.txt")), (TAKEN,)),
    Hostile("the texts for vectors", EMBED + "{data}/texts.npy", model(users("in/data/texts.npy")), (TAKEN,)),
    Hostile("the model for vectors", EMBED + "{model}", model(), (TAKEN,)),
    Hostile("the folder above for vectors", EMBED + "..", model(), ()),
    Hostile(
        "a link to a file of the user for vectors",
        EMBED + "q.npy",
        model(link("out/q.npy", "{near}/key.txt")),
        (TAKEN,),
    ),
    Hostile(
        "a link to nothing for vectors is replaced and not followed",
        EMBED + "q.npy",
        model(link("out/q.npy", "{near}/new")),
        code=0,
        changes=("out",),
    ),
    Hostile(
        "a planted link with the old temporary name",
        EMBED + "q.npy",
        model(*(link(f"out/.q.npy.{process}.tmp", "{near}/key.txt") for process in range(1, 400))),
        code=0,
    ),
    Hostile(
        "a recipe in the folder of its run",
        "train {out}/exp/config.yaml --run {out}/exp",
        recipe("out/exp/config.yaml"),
        (TAKEN, "no run wrote it"),
    ),
    Hostile(
        "the same to be resumed",
        "train {out}/exp/config.yaml --run {out}/exp --resume",
        recipe("out/exp/config.yaml"),
        ("but no run",),
    ),
    Hostile("the same to be evaluated", "evaluate {out}/exp", recipe("out/exp/config.yaml"), ("but no run",)),
    Hostile(
        "a recipe of tuning in the folder of its run",
        "tune {out}/exp/tune.yaml --run {out}/exp",
        recipe("out/exp/tune.yaml"),
        (TAKEN,),
    ),
    Hostile(
        "a recipe of distilling in the folder of its run",
        "distill {out}/exp/distill.yaml distill.layers=1 --run {out}/exp",
        recipe("out/exp/distill.yaml"),
        (TAKEN,),
    ),
    Hostile("a folder of the user for a run", "train {recipe} --run {near}/folder", recipe(), (TAKEN,)),
    Hostile("a file of the user for a run", "train {recipe} --run {near}/key.txt", recipe(), (TAKEN,)),
    Hostile("a run in a file of the user", "train {recipe} --run {near}/key.txt/run", recipe(), ("key.txt",)),
    Hostile(
        "a hidden file in the folder of a run",
        "train {recipe} --run {out}/run",
        all_of(recipe(), users("out/run/.notes")),
        (TAKEN,),
    ),
    Hostile(
        "a link for the recipe of a run",
        "train {recipe} --run {out}/run",
        all_of(recipe(), link("out/run/config.yaml", "{near}/key.txt")),
        (TAKEN,),
    ),
    Hostile(
        "a folder of the user for simulators",
        "fit-simulator {recipe} -o {near}/folder",
        recipe(),
        ("holds something else",),
    ),
    Hostile("a file of the user for simulators", "fit-simulator {recipe} -o {near}/key.txt", recipe(), ("is a file",)),
    Hostile(
        "the file of the lock is a link",
        "train {recipe} --run {out}/run",
        all_of(recipe(), link("out/run/.jaxrec-lock", "{near}/key.txt")),
        ("cannot be written",),
    ),
    Hostile(
        "the file of the lock is a pipe",
        "train {recipe} --run {out}/run",
        all_of(recipe(), lambda place: (place.out / "run").mkdir(), pipe("out/run/.jaxrec-lock")),
        ("cannot be written",),
    ),
)
BUSY = "`jaxrec train` (process"
LOCKS = (
    Hostile(
        "a second training",
        "train {run}/config.yaml --run {run} --resume",
        held("in/run"),
        (BUSY,),
        run=True,
        check=release,
    ),
    Hostile("an evaluation of a run that trains", "evaluate {run}", held("in/run"), (BUSY,), run=True, check=release),
    Hostile(
        "a training in a folder that is taken",
        "train {recipe} --run {out}/run",
        all_of(recipe(), held("out/run")),
        (BUSY,),
        check=release,
    ),
    Hostile(
        "a second pretraining",
        "pretrain {recipe} --run {out}/run",
        all_of(recipe(), held("out/run")),
        (BUSY,),
        check=release,
    ),
    Hostile(
        "a second tuning", "tune {recipe} --run {out}/run", all_of(recipe(), held("out/run")), (BUSY,), check=release
    ),
    Hostile(
        "a second distilling",
        "distill {recipe} distill.layers=1 --run {out}/run",
        all_of(recipe(), held("out/run")),
        (BUSY,),
        check=release,
    ),
    Hostile("a second embedding", EMBED + "q.npy", model(held("out/q.npy.parts")), (BUSY,), check=release),
    Hostile(
        "a second fit of simulators",
        "fit-simulator {recipe} -o {out}/users",
        all_of(recipe(), held("out/users")),
        (BUSY,),
        check=release,
    ),
    Hostile("an inspection of a run that trains", "inspect {run}", held("in/run"), code=0, run=True, check=release),
)
RUNS = (
    Hostile(
        "a policy with a link out",
        "recommend {run} --history 1",
        link("in/run/policy/notes", "{near}/key.txt"),
        (OUT[:9],),
        run=True,
    ),
    Hostile(
        "a policy whose arrays are a link out",
        "recommend {run} --history 1",
        link("in/run/policy/arrays", "{near}/folder"),
        ("arrays", "leads out"),
        run=True,
    ),
    Hostile(
        "a policy with a pipe",
        "recommend {run} --history 1",
        pipe("in/run/policy/items.json"),
        ("special file",),
        run=True,
    ),
    Hostile(
        "a policy that is a link out",
        "evaluate {run}",
        link("in/run/policy", "{near}/folder"),
        ("leads out",),
        run=True,
    ),
    Hostile(
        "metrics that are a link out",
        "train {run}/config.yaml --run {run} --resume train.updates=16",
        link("in/run/metrics.jsonl", "{near}/key.txt"),
        ("leads out",),
        run=True,
    ),
    Hostile(
        "checkpoints that are a link out",
        "train {run}/config.yaml --run {run} --resume",
        link("in/run/checkpoints", "{near}/folder"),
        ("leads out",),
        run=True,
    ),
    Hostile(
        "a report that is a link out",
        "evaluate {run}",
        link("in/run/report.html", "{near}/key.txt"),
        ("leads out",),
        run=True,
    ),
    Hostile(
        "times that are a pipe",
        "train {run}/config.yaml --run {run} --resume",
        pipe("in/run/timings.jsonl"),
        ("special file",),
        run=True,
    ),
    Hostile(
        "a run to inspect with a link out",
        "inspect {run}",
        link("in/run/metrics.jsonl", "{near}/key.txt"),
        ("leads out",),
        run=True,
    ),
    Hostile("a run to inspect with a pipe", "inspect {run}", pipe("in/run/metrics.jsonl"), ("special file",), run=True),
    Hostile(
        "a run to continue with a link out",
        "train {recipe} --continue {run} --run {out}/new",
        all_of(recipe(), link("in/run/policy/notes", "{near}/key.txt")),
        ("leads out",),
        run=True,
    ),
    Hostile(
        "a start with a link out",
        "train {recipe} learner.start_from={run} --run {out}/new",
        all_of(recipe(), link("in/run/policy/notes", "{near}/key.txt")),
        ("leads out",),
        run=True,
    ),
    Hostile(
        "simulators with a link out",
        "train {recipe} env.path={run}/simulators --run {out}/new",
        all_of(recipe(), link("in/run/simulators/train/notes", "{near}/key.txt")),
        ("leads out",),
        run=True,
    ),
    Hostile("a run that is a link is fine", "inspect {out}/link", link("out/link", "{run}"), code=0, run=True),
    Hostile(
        "a run in a circle of links",
        "evaluate {out}/a",
        all_of(link("out/a", "b"), link("out/b", "a")),
        ("not a run folder",),
    ),
    Hostile("a run that is a device", "evaluate /dev/zero", users("in/x"), ("not a run folder",)),
)
OUTPUTS = (*CLAIMS, *LOCKS, *RUNS)
