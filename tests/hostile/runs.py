"""Hostile folders of runs, policies and simulators: JSON that is no JSON, lies, or asks for too much."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxrec.storage.digests import is_sealed, seal
from tests.hostile.frame import Hostile, Place

INSPECT, RECOMMEND = "inspect {run}", "recommend {run} --history 1,2 -k 3"
TRAIN_USERS = "simulators/train/description.json"
Change = Callable[[Any], Any]  # the value of a file -> another


def edit(name: str, change: Change) -> Callable[[Place], None]:
    def build(place: Place) -> None:
        path = place.run / name
        path.write_text(json.dumps(change(json.loads(path.read_text()))))
        seal_again(path)

    return build


def content(name: str, data: str | bytes) -> Callable[[Place], None]:
    def build(place: Place) -> None:
        place.write(f"in/run/{name}", data)
        seal_again(place.run / name)

    return build


def seal_again(path: Path) -> None:
    """Seal the folders that hold a changed file: whoever means harm can, and digests are no signatures."""
    for folder in path.parents[:4]:
        if is_sealed(folder):
            seal(folder)


def put(*keys: str | int, value: Any) -> Change:
    """Replace what the keys lead to."""

    def change(found: Any) -> Any:
        inner = found
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        return found

    return change


def drop(*keys: str | int) -> Change:
    def change(found: Any) -> Any:
        inner = found
        for key in keys[:-1]:
            inner = inner[key]
        del inner[keys[-1]]
        return found

    return change


def fifo(name: str) -> Callable[[Place], None]:
    def build(place: Place) -> None:
        (place.run / name).unlink()
        os.mkfifo(place.run / name)

    return build


def zeros(name: str) -> Callable[[Place], None]:
    """A file of three gigabytes that takes no space."""

    def build(place: Place) -> None:
        with (place.run / name).open("r+b") as file:
            file.truncate(3 * 2**30)

    return build


def cut_arrays(name: str) -> Callable[[Place], None]:
    """Half of the largest file of arrays, which is found when they are read."""

    def build(place: Place) -> None:
        path = max((place.run / name / "d").iterdir(), key=lambda path: path.stat().st_size)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        seal_again(path)

    return build


def many_items(place: Place) -> None:
    """Ids of 600 items over the table of 60."""
    edit("policy/items.json", lambda _: {"ids": [str(n) for n in range(600)], "titles": ["t"] * 600})(place)
    edit("policy/description.json", put("spec", "num_items", value=600))(place)


def _case(command: str, name: str, build: Callable[[Place], None], *wants: str) -> Hostile:
    return Hostile(f"run: {name}", command, build, wants, run=True)


def _description(name: str, change: Change, *wants: str) -> Hostile:
    path = "policy/description.json"
    return _case(INSPECT, f"description, {name}", edit(path, change), "policy", *wants)


def _policy(name: str, change: Change, *wants: str) -> Hostile:
    """The same for what only the policy itself finds, when it is opened."""
    path = "policy/description.json"
    return _case(RECOMMEND, f"policy, {name}", edit(path, change), "policy", *wants)


def _items(name: str, change: Change, *wants: str) -> Hostile:
    return _case(RECOMMEND, f"items, {name}", edit("policy/items.json", change), *wants)


def _validity(name: str, change: Change, *wants: str) -> Hostile:
    command = "train {run}/config.yaml env.path={run}/simulators --run {out}/run"
    return _case(command, f"validity, {name}", edit("simulators/validity.json", change), "validity.json", *wants)


DESCRIPTIONS = (
    _policy("a history of a billion items", put("spec", "history_length", value=10**9), "spec.history_length"),
    _description("a history of -1 items", put("spec", "history_length", value=-1), "spec.history_length"),
    _description("a history of 1.5 items", put("spec", "history_length", value=1.5), "spec.history_length"),
    _description("a history of words", put("spec", "history_length", value="many"), "spec.history_length"),
    _description("a history of null", put("spec", "history_length", value=None), "spec.history_length"),
    _description("a history of true", put("spec", "history_length", value=True), "spec.history_length"),
    _description("a slate of a billion", put("spec", "action", "size", value=10**9), "spec.action.size"),
    _description("a slate of none", put("spec", "action", "size", value=0), "spec.action.size"),
    _description("no action", put("spec", "action", value=None), "spec.action"),
    _policy("an action of another name", put("spec", "action", "name", value="dance"), "spec.action"),
    _description("a context of a billion", put("spec", "context_size", value=10**9), "spec.context_size"),
    _description("an infinite context", put("spec", "context_size", value=1e400), "spec.context_size"),
    _description("minus two items", put("spec", "num_items", value=-2), "spec.num_items"),
    _description("10^30 items", put("spec", "num_items", value=10**30), "spec.num_items"),
    _description("no spec", drop("spec"), "'spec'"),
    _description("a spec that is a list", put("spec", value=[1]), "spec: expected an object"),
    _policy("a field of nobody", put("spec", "colour", value="red"), "no field 'colour'"),
    _description("no network", drop("network"), "'network'"),
    _policy("a network of a billion layers", put("network", "layers", value=10**9), "network.layers"),
    _description("a network of width 10^12", put("network", "width", value=10**12), "network.width"),
    _policy("10,000 hidden layers", put("network", "hidden", value=[8] * 10_000), "hidden"),
    _policy("an encoder of nobody", put("network", "encoder", value="rnn\u001b[2J"), "network.encoder"),
    _description("a step of words", put("step", value="four"), "step"),
    _description("feedback that is a list", put("feedback", value=[]), "feedback"),
    _policy("feedback of another kind", put("feedback", "liked", "column", value={"a": 1}), "column"),
    _policy("features of a billion columns", put("item_features", value={"x": {"kind": "vector", "size": 10**9}})),
    _policy("a kind that is a list", put("kind", value=["policy"])),
    _policy("a version of words", put("version", value="one"), "version"),
    _description("a list", lambda _: [1], "expected an object"),
    _case(RECOMMEND, "a description of 100,000 lists", content("policy/description.json", "[" * 100_000)),
    _case(RECOMMEND, "a description of half a character", content("policy/description.json", b'{"kind": "\xff"}')),
    _case(RECOMMEND, "a description of 5,000 digits", content("policy/description.json", f'{{"a": {"9" * 5000}}}')),
    _case(RECOMMEND, "an empty description", content("policy/description.json", ""), "not JSON"),
    _case(RECOMMEND, "a description that is a pipe", fifo("policy/description.json"), "description.json"),
    _case(RECOMMEND, "a description of 3 GB", zeros("policy/description.json"), "description.json", "bytes"),
    _case(INSPECT, "a description of 3 GB, inspected", zeros("policy/description.json"), "description.json", "bytes"),
)
ITEMS = (
    _items("ten of them", lambda found: {name: some[:10] for name, some in found.items()}, "expected 60 ids, got 10"),
    _items("fewer titles", lambda found: {**found, "titles": found["titles"][:10]}, "titles"),
    _items("the same id twice", put("ids", 1, value="1"), "each id once"),
    _items("a number as id", put("ids", 1, value=7), "ids[1]"),
    _items("null as title", put("titles", 3, value=None), "titles[3]"),
    _items("lists as titles", put("titles", value=[["a"]] * 60), "titles[0]"),
    _items("ids that are a text", put("ids", value="1" * 60), "ids"),
    _items("no ids", drop("ids"), "'ids'"),
    _items("half of a character", put("titles", 3, value="\ud800"), "whole characters"),
    _case(RECOMMEND, "arrays of half their size", cut_arrays("policy/arrays"), "policy/arrays: unreadable"),
    _case(RECOMMEND, "items that are a pipe", fifo("policy/items.json"), "items.json"),
    _case(
        RECOMMEND,
        "a table of fewer items than ids",
        many_items,
        "item_table",
        "600",
    ),
)
SIMULATORS = (
    _validity("empty", lambda _: {}, "'feedback'"),
    _validity("a list", lambda _: [], "expected an object"),
    _validity("a share of words", put("test_share", value="much"), "test_share"),
    _validity("an AUC of words", put("feedback", "liked", "auc", value="good"), "feedback.liked.auc"),
    _validity("an AUC of NaN", put("feedback", "liked", "auc", value=float("nan")), "feedback.liked.auc"),
    _validity("rates without a distance", drop("feedback_rates", "liked", "ks"), "feedback_rates.liked"),
    _validity("no fit", drop("fit"), "'fit'"),
    _validity("strengths of words", put("fit", "strengths", "user", value="x"), "fit.strengths.user"),
    _case(INSPECT, "a log of minus one row", edit("simulators/log.json", put("rows", value=-1)), "log.json", "rows"),
    _case(INSPECT, "a log without users", edit("simulators/log.json", drop("users")), "log.json", "'users'"),
    _case(
        INSPECT, "a log whose feedback is a number", edit("simulators/log.json", put("feedback", value=3)), "log.json"
    ),
    _case(
        INSPECT, "a simulator of a million fits", edit("simulators/train/description.json", put("members", value=10**6))
    ),
    _case(INSPECT, "a text size of zero", edit("simulators/train/description.json", put("text_size", value=0))),
    Hostile(
        "run: users that are numbers",
        "evaluate {run}",
        edit("simulators/users.json", put("train", value=[1, 2])),
        ("users.json", "train[0]"),
        run=True,
        changes=("home",),  # matplotlib has a cache there
    ),
)
ROWS = (
    _case(INSPECT, "a row that is no JSON", content("metrics.jsonl", '{"step": 1}\noops\n'), "metrics.jsonl line 2"),
    _case(INSPECT, "a row that is a list", content("metrics.jsonl", "[1]\n"), "metrics.jsonl line 1"),
    _case(INSPECT, "a row without a step", content("metrics.jsonl", '{"loss": 1.0}\n'), "line 1", "'step'"),
    _case(INSPECT, "a step of words", content("metrics.jsonl", '{"step": "x"}\n'), "line 1", "step"),
    _case(INSPECT, "a step of 10^30", content("metrics.jsonl", f'{{"step": {10**30}}}\n'), "line 1", "step"),
    _case(INSPECT, "a loss that is a list", content("metrics.jsonl", '{"step": 1, "loss": [1]}\n'), "line 1", "loss"),
    _case(INSPECT, "a row of 2 MB", content("metrics.jsonl", '{"step": 1, "x": "' + "y" * 2**21 + '"}\n'), "line 1"),
    _case(INSPECT, "a row of 100,000 lists", content("metrics.jsonl", "[" * 100_000 + "\n"), "line 1"),
    _case(INSPECT, "rows of random bytes", content("metrics.jsonl", bytes(range(256)) * 4), "metrics.jsonl"),
    _case(INSPECT, "a NUL in the timings", content("timings.jsonl", b"\0\n"), "timings.jsonl line 1"),
    _case(INSPECT, "a score of words", content("checkpoints/8/metrics/metrics", '{"return": "x"}'), "return"),
    _case(INSPECT, "a score of infinity", content("checkpoints/8/metrics/metrics", '{"return": 1e999}'), "return"),
    _case(INSPECT, "an evaluation of a list", content("evaluation.json", "[]"), "evaluation.json"),
    _case(
        INSPECT,
        "an evaluation without returns",
        content("evaluation.json", '{"step": 4, "simulators": {"train": {"recommenders": {"policy": {}}}}}'),
        "evaluation.json",
    ),
    _case(INSPECT, "a recipe with 100,000 lists", content("config.yaml", "[" * 100_000), "config.yaml"),
    _case(INSPECT, "a recipe that is a pipe", fifo("config.yaml"), "run"),
)


def _history(name: str, words: tuple[str, ...], *wants: str) -> Hostile:
    return Hostile(f"history: {name}", ("recommend", "{run}", *words), wants=wants, run=True)


HISTORIES = (
    _history("100,000 lists", ("--history-json", "[" * 100_000), "--history-json"),
    _history("5,000 digits", ("--history-json", f"[{'9' * 5000}]"), "--history-json"),
    _history("an object", ("--history-json", "{}"), "a list"),
    _history("NaN", ("--history-json", '[{"item": "1", "liked": NaN}]'), "liked"),
    _history("lists inside", ("--history-json", "[[1]]"), "a list"),
    _history("an object that is deep", ("--history-json", '[{"item": {"a": {"b": [1, 2, 3]}}}]'), "no item"),
    _history("a long id", ("--history", "x" * 100_000), "no item"),
    _history("escapes", ("--history", "\x1b[2J"), "\\x1b"),
    _history("a billion items", ("--history", "1", "-k", str(10**9)), "k"),
    _history("k of 10^30", ("--history", "1", "-k", str(10**30)), "k"),
)
RUNS = (*DESCRIPTIONS, *ITEMS, *SIMULATORS, *ROWS, *HISTORIES)
