"""Hostile surroundings: homes, folders, encodings, and text that a terminal would obey."""

import json
from collections.abc import Callable
from typing import Any

from tests.hostile.frame import Hostile, Place, nothing
from tests.hostile.launch import Ended
from tests.hostile.recipes import ENV, recipe
from tests.hostile.runs import seal_again

# An escape sequence, a title of the window, a C1 control, a NUL, overrides of direction, a tag that is not seen.
EVIL = "\x1b[31mred \x1b]0;owned\x07 \x9b2J \x00 \u202egnp.exe\u2066 \U000e0041 \r\x08"
LOG = "user,item,time,liked\n" + "".join(f"u{n % 6},i{n % 9},{n},{n % 2}\n" for n in range(60))
DATA = """\
data: {source: files, path: DATA, item_file: "", feedback: {liked: {column: liked}}}
env: {name: logged, slate_size: 2}
"""


def visible_only(place: Place, ended: Ended) -> None:
    """Nothing that a terminal obeys is in the output."""
    hidden = [one for one in ended.out + ended.err if one in EVIL and not one.isprintable() and one not in " "]
    assert not hidden, hidden


def whole_json(place: Place, ended: Ended) -> None:
    """The output is JSON, in which what is hidden is escaped."""
    visible_only(place, ended)
    json.loads(ended.out)


def titles(place: Place) -> None:
    path = place.run / "policy" / "items.json"
    items = json.loads(path.read_text())
    items["titles"] = [EVIL for _ in items["titles"]]
    items["ids"] = [f"{n}{EVIL}" for n, _ in enumerate(items["ids"])]
    path.write_text(json.dumps(items))
    seal_again(path)


def log(content: str, name: str = "log.csv") -> Callable[[Place], None]:
    def build(place: Place) -> None:
        place.write(f"in/data/{name}", content)
        place.write("in/recipe.yaml", DATA.replace("DATA", str(place.data)))

    return build


def key(mode: int, text: str = "k" * 40) -> Callable[[Place], None]:
    def build(place: Place) -> None:
        log(LOG)(place)
        place.write("in/user.key", text).chmod(mode)

    return build


def tightened(place: Place, ended: Ended) -> None:
    assert (place.root / "in" / "user.key").stat().st_mode & 0o077 == 0
    assert "others could read" in ended.out


def no_user(place: Place, ended: Ended) -> None:
    """No id of a user is in the output."""
    assert "@example.org" not in ended.out + ended.err


PEOPLE = LOG.replace("u0", "ann@example.org").replace("u1", "bob@example.org").replace("u2", "eve@example.org")
CHECK = "check-data {recipe}"
WITH_KEY = (*CHECK.split(), "data.user_key_file={root}/in/user.key")
NO_KEY = {"JAXREC_USER_KEY": None}


def _shown(name: str, command: str | tuple[str, ...], build: Callable[[Place], None] = nothing, **more: Any) -> Hostile:
    return Hostile(f"terminal: {name}", command, build, **{"check": visible_only, **more})


def _home(name: str, build: Callable[[Place], None], *wants: str, **more: Any) -> Hostile:
    return Hostile(f"home: {name}", CHECK, build, wants, **more)


TERMINAL = (
    _shown("titles as a table", "recommend {run} --history-json []", titles, code=0, run=True),
    _shown("titles as JSON", "recommend {run} --json", titles, code=0, run=True, check=whole_json),
    _shown("an id that is not there", ("recommend", "{run}", "--history", EVIL.replace("\0", "")), titles, run=True),
    _shown("names of columns", CHECK, log(LOG.replace("time", f"ti{EVIL}me"))),
    _shown("a cell", CHECK, log(LOG.replace(",3,1", f",{EVIL},1"))),
    _shown("ids of items", CHECK, log(LOG.replace("i3", f"i3{EVIL[:9]}")), code=0),
    _shown("an unknown word", ("train", "{recipe}", f"--{EVIL[:30]}")),
    _shown("an unknown command", (f"x{EVIL[:30]}",)),
    _shown("the name of a run", ("inspect", f"{{near}}/{EVIL[:20]}")),
    _shown("the name of a recipe", ("train", f"{{near}}/{EVIL[:20]}.yaml")),
    _shown("an override", ("train", "{recipe}", f"seed={EVIL[:20]}"), recipe(ENV)),
    _shown("bytes that are no text", ("inspect", "{near}/\udcff\udcfe")),
    _shown("an encoding of nobody", "inspect {near}", fresh=True, env={"LC_ALL": "xx_YY.nope", "LANG": "nope"}),
)
HOMES = (
    Hostile("home: data without a home", (*CHECK.split(), "data.path=~nobody-here/x"), log(LOG), ("home directory",)),
    Hostile(
        "home: a key without a home",
        (*CHECK.split(), "data.user_key_file=~nobody-here/user.key"),
        log(LOG),
        ("home directory",),
        env=NO_KEY,
    ),
    _home("a file", log(LOG), "the key", env={"HOME": "/dev/null", **NO_KEY}),
    _home("nowhere that can be made", log(LOG), "the key", env={"HOME": "/proc/none", **NO_KEY}),
    _home("empty", log(LOG), code=0, env={"HOME": ""}),
    _home("a name that is too long", log(LOG), "the key", env={"HOME": "/" + "h" * 300, **NO_KEY}),
    _home("a cache in a file", log(LOG), code=0, env={"JAX_COMPILATION_CACHE_DIR": "/dev/null/x"}),
)
CHANGED = ("in/user.key",)
LONG_KEY = (*CHECK.split(), f"data.user_key_file={'k' * 300}")
KEYS = (
    Hostile("key: read by others", WITH_KEY, key(0o644), code=0, env=NO_KEY, changes=CHANGED, check=tightened),
    Hostile("key: written by others", WITH_KEY, key(0o666), code=0, env=NO_KEY, changes=CHANGED, check=tightened),
    Hostile("key: short", WITH_KEY, key(0o600, "short"), ("at least 32 characters",), env=NO_KEY),
    Hostile("key: empty", WITH_KEY, key(0o600, ""), ("at least 32 characters",), env=NO_KEY),
    Hostile("key: a short variable", CHECK, log(LOG), ("at least 32 characters",), env={"JAXREC_USER_KEY": "x"}),
    Hostile("key: a name that is too long", LONG_KEY, log(LOG), ("too long",), env=NO_KEY),
)
IDS = (
    Hostile("ids: a wrong time column", (*CHECK.split(), "data.columns.time=user"), log(PEOPLE), check=no_user),
    Hostile("ids: users as times", CHECK, log(PEOPLE.replace(",5,", ",ann@example.org,")), check=no_user),
    Hostile("ids: users as feedback", CHECK, log(PEOPLE.replace(",5,1", ",5,bob@example.org")), check=no_user),
    Hostile("ids: no line of names", CHECK, log("\n".join(PEOPLE.splitlines()[1:])), check=no_user),
    Hostile("ids: a user who is not there", "recommend {run} --user zoe@example.org", run=True, check=no_user),
)
LONG_MATRIX = f"env: {{name: full_matrix, path: /{'1' * 300}/matrix.npz}}\n"
PATHS = (
    Hostile("path: a run in a long path", f"train {{recipe}} --run {{out}}/{'r' * 300}", recipe(ENV), ("too long",)),
    Hostile("path: a run below a file", "train {recipe} --run {near}/key.txt/run", recipe(ENV), ("cannot be written",)),
    Hostile("path: a run in /proc", "train {recipe} --run /proc/none/run", recipe(ENV), ("cannot be written",)),
    Hostile("path: inspecting a file", "inspect {near}/key.txt", wants=("neither a run",)),
    Hostile("path: inspecting a long name", f"inspect {'x' * 300}", wants=("x",)),
    Hostile("path: inspecting nothing", ("inspect", ""), wants=("neither a run",)),
    Hostile("path: data in a long name", (*CHECK.split(), f"data.path={'x' * 300}"), log(LOG), ("x",)),
    Hostile("path: a matrix in a long name", "train {recipe} --run {out}/run", recipe(LONG_MATRIX), ("too long",)),
    Hostile("path: a log that is a pipe", (*CHECK.split(), "data.log_file=/dev/stdin"), log(LOG), ("log",)),
)
SURROUNDINGS = (*TERMINAL, *HOMES, *KEYS, *IDS, *PATHS)
