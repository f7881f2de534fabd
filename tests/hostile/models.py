"""Hostile model folders: paths that leave them, links, sizes, special files, tokenizers."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.hostile.frame import Hostile, Place

TINY = Path(__file__).parents[1] / "encoder" / "golden" / "tiny_bert"
EMBED = "embed {model} {data}/texts.txt -o {out}/v.npy max_length=16"


def model(*changes: Callable[[Place], None]) -> Callable[[Place], None]:
    """The tiny BERT, and what is done to it."""

    def build(place: Place) -> None:
        shutil.copytree(TINY, place.model)
        place.write("in/data/texts.txt", "red film\nblue song\n")
        for change in changes:
            change(place)

    return build


def file(name: str, content: str | bytes) -> Callable[[Place], None]:
    return lambda place: place.write(f"in/model/{name}", content) and None


def link(name: str, target: str) -> Callable[[Place], None]:
    """Replace a file of the model by a symbolic link; {near} and others become paths."""

    def build(place: Place) -> None:
        path = place.model / name
        path.unlink(missing_ok=True)
        path.symlink_to(place.words((target,))[0])

    return build


def fifo(name: str) -> Callable[[Place], None]:
    def build(place: Place) -> None:
        (place.model / name).unlink(missing_ok=True)
        os.mkfifo(place.model / name)

    return build


def config(**values: object) -> Callable[[Place], None]:
    """Change values of config.json."""

    def build(place: Place) -> None:
        path = place.model / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return build


MODELS = (
    Hostile("a model that is fine", EMBED, model(), code=0),
    Hostile("a FIFO for config.json", EMBED, model(fifo("config.json")), ("config.json", "special file")),
    Hostile("a billion layers", EMBED, model(config(num_hidden_layers=10**9)), ("num_hidden_layers",)),
)
