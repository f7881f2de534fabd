"""Hostile model folders: paths and links that lead out of them, special files, sizes, damaged parts."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

from tests.hostile.frame import KEY, Ended, Hostile, Place

GOLDEN = Path(__file__).parents[1] / "encoder" / "golden"
EMBED = "embed {model} {data}/texts.txt -o {out}/v.npy max_length=16"
TUNE = "tune {recipe} --run {out}/run"  # saves a copy of the model
Change = Callable[[Place], object]


def model(*changes: Change, of: str = "sentence") -> Callable[[Place], None]:
    """A small model with its modules and tokenizer, and what is done to it."""

    def build(place: Place) -> None:
        shutil.copytree(GOLDEN / of, place.model)
        place.write("in/data/texts.txt", "red film\nblue song\n")
        for change in changes:
            change(place)

    return build


def file(name: str, content: str | bytes) -> Change:
    return lambda place: place.write(f"in/model/{name}", content)


def removed(name: str) -> Change:
    return lambda place: (place.model / name).unlink()


def link(name: str, target: str) -> Change:
    """Replace a file of the model by a symbolic link; {near} and others become paths."""

    def build(place: Place) -> None:
        path = place.model / name
        path.unlink(missing_ok=True)
        path.symlink_to(place.words((target,))[0])

    return build


def fifo(name: str) -> Change:
    def build(place: Place) -> None:
        (place.model / name).unlink(missing_ok=True)
        os.mkfifo(place.model / name)

    return build


def edited(name: str, **values: object) -> Change:
    """Change values of a JSON file; a value of None is removed."""

    def build(place: Place) -> None:
        path = place.model / name
        stored = {**(json.loads(path.read_text()) if path.exists() else {}), **values}
        path.write_text(json.dumps({key: value for key, value in stored.items() if value is not None}))

    return build


def module(number: int, **values: object) -> Change:
    """Change one entry of modules.json."""

    def build(place: Place) -> None:
        path = place.model / "modules.json"
        stored = json.loads(path.read_text())
        stored[number] |= values
        path.write_text(json.dumps(stored))

    return build


def moved(name: str, target: str) -> Change:
    return lambda place: (place.model / name).rename(place.words((target,))[0])


def shards(**tensors: str) -> Change:
    """An index in place of model.safetensors."""

    def build(place: Place) -> None:
        (place.model / "model.safetensors").rename(place.near / "model.safetensors")
        place.write("in/model/model.safetensors.index.json", json.dumps({"weight_map": tensors}))

    return build


def safetensors(header: object, rest: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + rest


def hub_cache(target: str) -> Callable[[Place], None]:
    """A model in the hub's cache, whose tokenizer is a link to `target`."""

    def build(place: Place) -> None:
        repo = place.home / ".cache" / "huggingface" / "hub" / "models--someone--tiny"
        shutil.copytree(GOLDEN / "sentence", repo / "snapshots" / ("0" * 40))
        place.write("home/.cache/huggingface/hub/models--someone--tiny/refs/main", "0" * 40)
        place.write(
            "home/.cache/huggingface/hub/models--someone--tiny/blobs/1",
            (GOLDEN / "sentence" / "tokenizer.json").read_bytes(),
        )
        path = repo / "snapshots" / ("0" * 40) / "tokenizer.json"
        path.unlink()
        path.symlink_to(target)
        place.write("in/data/texts.txt", "red film\n")

    return build


def holds_no_key(place: Place, ended: Ended) -> None:
    assert KEY.strip() not in ended.out + ended.err


OUT = "leads out of"
PATHS = (
    Hostile("a model that is fine", EMBED, model(), code=0),
    Hostile("a module in the folder above", EMBED, model(module(1, path="../near")), ("modules.json: path", OUT)),
    Hostile("a module far above", EMBED, model(module(0, path="../../../../../etc")), ("modules.json: path", OUT)),
    Hostile("a module at an absolute path", EMBED, model(module(2, path="/etc")), ("modules.json: path", OUT)),
    Hostile("a module that goes down and up", EMBED, model(module(1, path="1_Pooling/../1_Pooling")), (OUT,)),
    Hostile("a module of Windows", EMBED, model(module(1, path="..\\near")), ("modules.json: path", OUT)),
    Hostile("a module on a drive", EMBED, model(module(1, path="C:\\near")), ("modules.json: path", OUT)),
    Hostile("a module with a zero byte", EMBED, model(module(1, path="a\0b")), ("no path that a system can have",)),
    Hostile("a module with half a character", EMBED, model(module(1, path="\ud800")), ("no path that a system",)),
    Hostile("a module with a name of a megabyte", EMBED, model(module(1, path="x" * 10**6)), ("no path that",)),
    Hostile("a module of many folders", EMBED, model(module(1, path="a/" * 400)), ("1_Pooling", "missing")[1:]),
    Hostile("a module whose path is a number", EMBED, model(module(1, path=7)), ("modules.json", "strings")),
    Hostile("a module of code", EMBED, model(module(1, type="os.system")), ("modules.json: type",)),
    Hostile("a shard in the folder above", EMBED, model(shards(x="../../near/model.safetensors")), ("weight_map", OUT)),
    Hostile("a shard at an absolute path", EMBED, model(shards(x="/dev/zero")), ("weight_map", OUT)),
    Hostile("shards of an empty name", EMBED, model(shards(x="")), ("missing",)),
    Hostile("a shard with a zero byte", EMBED, model(shards(x="a\0")), ("no path that a system can have",)),
    Hostile("a folder for a shard", EMBED, model(shards(x="1_Pooling")), ("1_Pooling missing",)),
    Hostile("an index of a list", EMBED, model(shards(), file("model.safetensors.index.json", "[]")), ("an object",)),
)
LINKS = (
    Hostile("a licence that is a link to a key", EMBED, model(link("LICENSE.txt", "{near}/key.txt")), (OUT[:9],)),
    Hostile(
        "the same, relative", EMBED, model(link("LICENSE.txt", "../../near/key.txt")), ("LICENSE.txt", "leads out")
    ),
    Hostile("a configuration that is a link out", EMBED, model(link("config.json", "{near}/key.txt")), ("leads out",)),
    Hostile("a module that is a link out", EMBED, model(link("5_More", "{near}")), ("5_More", "leads out")),
    Hostile("a folder of links", EMBED, model(link("1_Pooling/LICENSE.txt", "{near}/key.txt")), ("leads out",)),
    Hostile("a hidden link out", EMBED, model(link(".x.json", "{near}/key.txt")), (".x.json", "leads out")),
    Hostile("a link to a link out", EMBED, model(link("a", "b"), link("b", "{near}/key.txt")), ("leads out",)),
    Hostile("links in a circle", EMBED, model(link("a.json", "b.json"), link("b.json", "a.json")), ("nowhere",)),
    Hostile("a link to nothing", EMBED, model(link("added_tokens.json", "nothing")), ("points nowhere",)),
    Hostile("a link to the model itself", EMBED, model(link("again", ".")), ("folder around it",)),
    Hostile("a link to the root", EMBED, model(link("root", "/")), ("leads out",)),
    Hostile("a link to endless zeros", EMBED, model(link("tokenizer.json", "/dev/zero")), ("leads out",)),
    Hostile("a link to its own memory", EMBED, model(link("vocab.txt", "/proc/self/environ")), ("leads out",)),
    Hostile(
        "a link within the model is fine",
        EMBED,
        model(moved("tokenizer.json", "{model}/1_Pooling/t.json"), link("tokenizer.json", "1_Pooling/t.json")),
        code=0,
    ),
    Hostile(
        "a model in the hub's cache is links to its blobs",
        "embed someone/tiny {data}/texts.txt -o {out}/v.npy max_length=16",
        hub_cache("../../blobs/1"),
        code=0,
    ),
    Hostile(
        "a model in the hub's cache with a link out of it",
        "embed someone/tiny {data}/texts.txt -o {out}/v.npy max_length=16",
        hub_cache("../../../../../../../near/key.txt"),
        ("tokenizer.json", "leads out"),
    ),
)
NAMES = ("config.json", "modules.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json", "README.md")
SPECIAL = tuple(Hostile(f"a pipe for {name}", EMBED, model(fifo(name)), (name, "special file")) for name in NAMES)
SIZES = (
    *(
        Hostile(f"a model of {value:.0e} {name}", EMBED, model(edited("config.json", **{name: value})), (name,))
        for name, value in (
            ("num_hidden_layers", 10**9),
            ("num_hidden_layers", 10**30),
            ("hidden_size", 10**12),
            ("intermediate_size", 10**15),
            ("vocab_size", 10**18),
            ("num_attention_heads", 2**40),
            ("max_position_embeddings", 10**20),
            ("type_vocab_size", 10**12),
        )
    ),
    Hostile("a model of a thousand layers", EMBED, model(edited("config.json", num_hidden_layers=1000)), ("missing",)),
    Hostile("a model of no layers", EMBED, model(edited("config.json", num_hidden_layers=0)), ("num_hidden_layers",)),
    Hostile("sixteen million words", EMBED, model(edited("config.json", vocab_size=2**24)), ("shape", "16777216")),
    Hostile(
        "a width of sixteen million",
        EMBED,
        model(edited("config.json", hidden_size=2**24, intermediate_size=2**24)),
        ("shape",),
    ),
    Hostile("half a head", EMBED, model(edited("config.json", num_attention_heads=3)), ("multiple",)),
    Hostile("layers in words", EMBED, model(edited("config.json", num_hidden_layers="2")), ("num_hidden_layers",)),
    Hostile("layers in fractions", EMBED, model(edited("config.json", num_hidden_layers=1.5)), ("num_hidden",)),
    Hostile("a head of many numbers", EMBED, model(edited("2_Dense/config.json", out_features=10**12)), ("shape",)),
    Hostile("a head of minus one", EMBED, model(edited("2_Dense/config.json", out_features=-1)), ("shape",)),
    Hostile("a head of words", EMBED, model(edited("2_Dense/config.json", out_features="x")), ("shape",)),
    Hostile("a head without a size", EMBED, model(edited("2_Dense/config.json", out_features=None)), ("shape",)),
    Hostile(
        "a head in two files",
        EMBED,
        model(
            removed("2_Dense/model.safetensors"),
            file("2_Dense/a", b""),
            file("2_Dense/b", b""),
            file("2_Dense/model.safetensors.index.json", json.dumps({"weight_map": {"x": "a", "y": "b"}})),
        ),
        ("2_Dense", "2 files"),
    ),
    Hostile(
        "a longest text of words",
        EMBED.removesuffix(" max_length=16"),
        model(edited("tokenizer_config.json", model_max_length="x")),
        ("model_max_length",),
    ),
    Hostile(
        "pooling of lists", EMBED, model(edited("1_Pooling/config.json", pooling_mode=[["mean"]])), ("pooling mode",)
    ),
    Hostile("pooling of objects", EMBED, model(edited("1_Pooling/config.json", pooling_mode={"a": 1})), ("pooling",)),
    Hostile("modules of a number", EMBED, model(file("modules.json", "7")), ("modules.json", "a list")),
    Hostile("modules of numbers", EMBED, model(file("modules.json", "[7, [8]]")), ("modules.json", "objects")),
    Hostile("a hundred thousand modules", EMBED, model(file("modules.json", "[" + "[]," * 10**5 + "[]]")), ()),
    Hostile(
        "prompts of numbers",
        EMBED,
        model(edited("config_sentence_transformers.json", prompts={"query": 7})),
        ("prompts",),
    ),
)
WEIGHTS = (
    Hostile("weights of nothing", EMBED, model(file("model.safetensors", b"")), ("safetensors",)),
    Hostile("weights of noise", EMBED, model(file("model.safetensors", bytes(range(256)) * 40)), ("safetensors",)),
    Hostile(
        "a header of many exabytes",
        EMBED,
        model(file("model.safetensors", safetensors({}, length=2**63 - 1))),
        ("safetensors",),
    ),
    Hostile(
        "a tensor that is longer than the file",
        EMBED,
        model(
            file(
                "model.safetensors",
                safetensors({"a": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}}),
            )
        ),
        ("safetensors",),
    ),
    Hostile(
        "tensors that overlap",
        EMBED,
        model(
            file(
                "model.safetensors",
                safetensors({n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in ("a", "b")}, b"\0" * 4),
            )
        ),
        ("safetensors",),
    ),
    Hostile(
        "a tensor of another name",
        EMBED,
        model(
            file(
                "model.safetensors",
                safetensors({"x\x1b]0;y": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
            )
        ),
        ("model.safetensors",),
    ),
    Hostile(
        "a pickle for weights",
        EMBED,
        model(moved("model.safetensors", "{near}/m"), file("pytorch_model.bin", b"cos\nsystem\n")),
        ("a pickle can run any code",),
    ),
    Hostile("a model of a file", "embed {data}/texts.txt {data}/texts.txt -o {out}/v.npy", model(), ("a file",)),
    Hostile("a model of an empty folder", "embed {near} {data}/texts.txt -o {out}/v.npy", model(), ("config.json",)),
)
MODELS = (*PATHS, *LINKS, *SPECIAL, *SIZES, *WEIGHTS)
