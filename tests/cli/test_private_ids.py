"""A log of people with names: nobody is found in what a run leaves, and everybody gets recommendations by name."""

import base64
import contextlib
import dataclasses
import hashlib
import io
import json
import random
import re
import shutil
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import yaml

import jaxrec
from jaxrec.cli import main
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.data import load_dataset
from jaxrec.data.pseudonyms import VARIABLE
from jaxrec.runs.item_table import embed
from jaxrec.runs.recipe import log_config
from jaxrec.runs.recommend import find_user
from jaxrec.storage.run import RunFolder
from jaxrec.supervised.own_texts import load_basis
from tests.recipes import TINY_ENCODER

NAMES = ("alice", "bob", "carla", "dora", "zoë", "emil", "fay", "gil")
PEOPLE = [f"{name}-{n:x}7f3@example.org" for n, name in enumerate([*NAMES, *NAMES])]
HISTORY = 9  # rows a person
RECIPE = f"""\
seed: 3
data:
  source: files
  path: DATA
  log_file: log.csv
  item_file: ""
  user_file: users.csv
  columns: {{user: who, time: when, review: words, user_id: id}}
  feedback: {{liked: {{column: liked}}}}
  context: [hour, device, country]
  text: "{{title}}: {{reviews}}"
  own_texts: 2
  user_key_file: DATA/user.key
encoder: {{model: {TINY_ENCODER}, max_length: 32, cache_dir: CACHE}}
tastes: {{width: 2, text_components: 4, steps: 30, draws: 2, search: false}}
env: {{name: logged, slate_size: 2, requests: 2}}
learner: {{policy: {{width: 8, hidden: [8]}}, num_users: 8, num_shards: 1, horizon: 2, epochs: 1, minibatches: 1}}
train: {{updates: 2, updates_per_call: 2, checkpoint_every: 2, evaluate_users: 8, devices: 1}}
evaluate: {{users: 8}}
"""


@dataclasses.dataclass(frozen=True)
class Shop:
    data: Path
    run: Path
    cache: Path
    printed: str  # by training
    key: str


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A run on a log of people, trained with a key of its own in a file next to the log."""
    folder = tmp_path_factory.mktemp("people")
    shop = Shop(folder / "data", folder / "run", folder / "cache", "", "")
    shop.data.mkdir()
    (shop.data / "log.csv").write_text(log_of(PEOPLE), encoding="utf-8")
    countries = "".join(f"{who},{'DE' if n % 2 else 'FR'}\n" for n, who in enumerate(PEOPLE[:-2]))
    (shop.data / "users.csv").write_text(f"id,country\n{countries}", encoding="utf-8")
    text = RECIPE.replace("DATA", str(shop.data)).replace("CACHE", str(shop.cache))
    (folder / "people.yaml").write_text(text)
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(VARIABLE)
        with contextlib.redirect_stdout(printed):
            assert main(["train", str(folder / "people.yaml"), "--run", str(shop.run)]) == 0
        yield dataclasses.replace(shop, printed=printed.getvalue(), key=(shop.data / "user.key").read_text().strip())


def log_of(people: list[str]) -> str:
    draw = random.Random(0)
    lines = ["who,item,when,liked,device,words"]
    for who in people:
        for item in draw.sample(range(24), HISTORY):
            when, device = 1_600_000_000 + draw.randrange(10**7), draw.choice(["tv", "phone"])
            lines.append(f"{who},i{item},{when},{draw.randrange(2)},{device},words {draw.randrange(99)} on {item}")
    return "\n".join(lines) + "\n"


def traces(who: str) -> set[bytes]:
    """Everything that would give a person away: the id in several spellings, and its hashes without a key."""
    raw = who.encode()
    spellings = {who, who.upper(), urllib.parse.quote(who), json.dumps(who)[1:-1], base64.b64encode(raw).decode()}
    hashes = [
        hashlib.new(kind, text).digest() for kind in ("md5", "sha1", "sha256") for text in (raw, who.upper().encode())
    ]
    spellings |= {digest.hex()[:16] for digest in hashes} | {
        base64.b64encode(digest).decode()[:16] for digest in hashes
    }
    found = {text.encode() for text in spellings} | {text.upper().encode() for text in spellings}
    return found | {who.encode("utf-16-le"), who.encode("utf-32-le")} | {digest[:8] for digest in hashes}


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Bytes of every file and every name, and what lies in JSON, YAML, npz and Orbax arrays behind an encoding."""
    for path in sorted(folder.rglob("*")):
        yield f"name of {path}", str(path.relative_to(folder)).encode()
        if path.is_dir():
            if (path / "_METADATA").is_file():
                with ocp.StandardCheckpointer() as checkpointer:
                    yield from leaves(str(path), checkpointer.restore(path))
            continue
        data = path.read_bytes()
        yield str(path), data
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                yield from leaves(str(path), dict(arrays))
        elif path.suffix in (".json", ".yaml"):
            yield from leaves(str(path), yaml.safe_load(data.decode()))
        elif path.suffix == ".jsonl":
            yield from leaves(str(path), [json.loads(line) for line in data.splitlines()])


def leaves(where: str, value: Any) -> Iterator[tuple[str, bytes]]:
    """Texts and arrays of a nested value; arrays also as one byte an entry, where they might hold letters."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield where, str(key).encode()
            yield from leaves(f"{where}.{key}", inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from leaves(where, inner)
    elif isinstance(value, str):
        yield where, value.encode()
    elif hasattr(value, "dtype"):
        is_key = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
        array = np.asarray(jax.random.key_data(value) if is_key else value)
        yield where, array.tobytes()
        if array.dtype.kind in "iuf":
            whole = np.nan_to_num(array.astype(np.float64).ravel(), posinf=0, neginf=0)
            yield where, np.where((whole >= 0) & (whole < 256), whole, 0).astype(np.uint8).tobytes()


def found_in(folder: Path, wanted: set[bytes]) -> list[str]:
    pattern = re.compile(b"|".join(map(re.escape, sorted(wanted))))
    return [where for where, data in contents(folder) if pattern.search(data)]


def test_the_search_finds_ids_in_every_hiding_place(tmp_path: Path) -> None:
    who = PEOPLE[4]
    assert not who.isascii()
    hidden = tmp_path / "hidden"
    letters = np.frombuffer(who.encode(), np.uint8)
    places = {
        "a.bin": lambda path: path.write_bytes(b"..." + who.encode() + b"..."),
        "upper.txt": lambda path: path.write_text(who.upper(), encoding="utf-8"),
        "quoted.txt": lambda path: path.write_text(urllib.parse.quote(who)),
        "sha.txt": lambda path: path.write_text(hashlib.sha256(who.encode()).hexdigest()[:32]),
        "escaped.json": lambda path: path.write_text(json.dumps({"a": [who]})),
        "key.json": lambda path: path.write_text(json.dumps({who: 1})),
        "wide.bin": lambda path: path.write_bytes(who.encode("utf-16-le")),
        "letters.npz": lambda path: np.savez_compressed(path, x=letters.astype(np.int32)),
        "text.npz": lambda path: np.savez_compressed(path, x=np.array([who])),
        f"{who}.txt": lambda path: path.write_text(""),
        "metrics.jsonl": lambda path: path.write_text(json.dumps({"a": who}) + "\n"),
    }
    for name, write in places.items():
        shutil.rmtree(hidden, ignore_errors=True)
        hidden.mkdir()
        write(hidden / name)
        assert found_in(hidden, traces(who)), name
        assert not found_in(hidden, traces(PEOPLE[0])), name
    shutil.rmtree(hidden)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(hidden / "arrays", {"x": letters.astype(np.float32)})
    assert found_in(hidden, traces(who))


def test_neither_the_run_nor_the_caches_hold_ids_pseudonyms_or_the_key(shop: Shop) -> None:
    config = load_config(Config, shop.run / "config.yaml")
    pseudonyms = load_dataset(log_config(config), 0).users
    assert len(set(pseudonyms)) == len(PEOPLE)
    wanted = set().union(*map(traces, PEOPLE)) | {text.encode() for text in (*pseudonyms, shop.key)}
    for folder in (shop.run, shop.cache):
        assert sum(1 for _ in contents(folder)) > 2
        assert not found_in(folder, wanted)
    assert not re.search(b"|".join(map(re.escape, sorted(wanted))), shop.printed.encode())
    assert f"user ids: hashed with the key in {shop.data / 'user.key'}" in shop.printed


def test_a_user_gets_what_their_history_and_context_give(shop: Shop, capsys: pytest.CaptureFixture) -> None:
    who = PEOPLE[4]
    lines = [line.split(",") for line in (shop.data / "log.csv").read_text(encoding="utf-8").splitlines()]
    rows = sorted((row for row in lines if row[0] == who), key=lambda row: int(row[2]))
    policy = jaxrec.load_policy(shop.run)
    visitor = find_user(RunFolder.open(shop.run), policy, f" {who} ", None)
    assert [policy.ids[n] for n in visitor.items] == [row[1] for row in rows]
    assert visitor.feedback[:, 0].tolist() == [float(row[3]) for row in rows]

    assert visitor.context is not None and visitor.context.shape == (policy.spec.context_size,) == (2 + 2 + 2 + 2,)
    angle = 2 * np.pi * (int(rows[-1][2]) % 86_400) / 86_400
    np.testing.assert_allclose(visitor.context[:2], [np.sin(angle), np.cos(angle)], atol=1e-5)
    devices = [row[4] for row in lines[1:]]
    values = sorted({"tv", "phone"}, key=lambda value: -devices.count(value))
    np.testing.assert_array_equal(visitor.context[2:4], [float(rows[-1][4] == value) for value in values])
    np.testing.assert_array_equal(visitor.context[4:6], [0, 1])  # FR; DE and FR are equally frequent
    config = load_config(Config, shop.run / "config.yaml")
    mean = embed(config, [row[5] for row in rows]).mean(0)  # the next visit comes after all of them
    basis = load_basis(shop.run / "simulators" / "own_texts")
    np.testing.assert_allclose(visitor.context[6:], (mean - basis.mean) @ basis.components.T, atol=1e-4)

    capsys.readouterr()
    assert main(["recommend", str(shop.run), "--user", who, "-k", "5", "--json"]) == 0
    printed = capsys.readouterr()
    want = policy.recommend([f"{row[1]}:{row[3]}" for row in rows], 5, visitor.context)
    assert json.loads(printed.out) == [dataclasses.asdict(item) for item in want]
    assert who not in printed.out + printed.err


@pytest.mark.slow  # trains
def test_the_commands_of_the_page_about_such_logs_run(shop: Shop, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "configs").mkdir()
    shutil.copy(shop.data.parent / "people.yaml", tmp_path / "configs" / "ppo_shop.yaml")
    shutil.copytree(shop.run, tmp_path / "runs" / "shop")
    shutil.copytree(shop.data, tmp_path / "newer-log")
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).parents[2] / "docs" / "your-own-log.md"
    commands = re.findall(r"^jaxrec (?:recommend|train) .*$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        assert main(command.replace("alice@example.org", PEOPLE[0]).split()[1:]) == 0, command
    assert (tmp_path / "runs" / "shop-2" / "policy").is_dir()


def test_a_newer_log_brings_new_people_and_items_the_policy_skips(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    new = "nina-new@example.org"
    for name in ("log.csv", "users.csv"):
        shutil.copy(shop.data / name, tmp_path)
    with (tmp_path / "log.csv").open("a", encoding="utf-8") as log:
        log.write(f"{new},i3,1700000000,1,tv,\n{new},brand-new,1700000001,1,radio,nice\nolga@example.org,other,1,1,,\n")
    words = ["recommend", str(shop.run), "--user", new, "-k", "3", "--json"]
    assert main(words) == 2
    line = capsys.readouterr().err
    assert "--user: no such user among the 16 users of the log" in line and "example.org" not in line
    assert main([*words, "--data", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "skipped 1 item of the user's history" in printed.err
    ids = [item["id"] for item in json.loads(printed.out)]
    assert len(ids) == 3 and not {"i3", "brand-new"} & set(ids)
    assert main(["recommend", str(shop.run), "--user", "olga@example.org", "--data", str(tmp_path)]) == 2
    assert "the policy knows none of the user's items" in capsys.readouterr().err
