"""Encoding millions of texts to vectors on disk, in parts: finished parts are not redone after a stop.

PARTS/.jaxrec-lock    the mark of a folder of ours; whoever makes the parts holds it
      identity.json   what the parts depend on: model, settings, texts
      ids-N.npz       token ids of the texts of part N
      vectors-N.npy   their vectors; each with its digest in NAME.xxh128

All texts are tokenised first (on all cores), so that all parts share one choice of padded lengths. Parts and batches
then depend on the texts alone, and a resumed run gives the same bytes as an uninterrupted one.
"""

import contextlib
import os
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from jax.sharding import Mesh

from jaxrec.checks import InputError
from jaxrec.encoder.batches import bucket_lengths
from jaxrec.encoder.encode_ids import encode_ids
from jaxrec.encoder.load import Encoder
from jaxrec.encoder.tokenize import cuts_of
from jaxrec.progress import track
from jaxrec.storage.digests import ENDING, check_file, sealed_file
from jaxrec.storage.files import read_json_object, remove_unfinished, write_json
from jaxrec.storage.inside import check_folder
from jaxrec.storage.lock import LOCK, is_ours

PART = 16_384  # texts; the last batch of a length in each part is padded, and a stop loses at most one part
IDENTITY = "identity.json"
JOINED = "joined"  # an empty file: from here on the output is being written
PART_NAME = re.compile(rf"{IDENTITY}|{JOINED}|(ids-\d+\.npz|vectors-\d+\.npy)({re.escape(ENDING)})?|{re.escape(LOCK)}")


class Parts(NamedTuple):
    """Files of vectors, and how many texts were longer than the encoder reads."""

    files: list[Path]
    cut: int


def embed_in_parts(
    enc: Encoder,
    texts: pa.Array,
    folder: Path,
    identity: dict[str, Any],
    batch_tokens: int,
    mesh: Mesh | None = None,
    size: int = PART,
) -> Parts:
    """Encode all texts into files of vectors [n, width] float32, in the order of the texts, n at most `size`.

    `identity` (plain data) is what the parts depend on. Raises InputError if `folder` has parts of another job, or
    files that are no parts.
    """
    _claim(folder, identity)
    starts = range(0, len(texts), size)

    def part(kind: str, start: int) -> Path:
        return folder / f"{kind}-{start // size:05d}{'.npz' if kind == 'ids' else '.npy'}"

    def tokenise(start: int) -> dict[str, np.ndarray]:
        rows = enc.tokenize([enc.prompt + text for text in texts[start : start + size].to_pylist()])
        return {
            "ids": np.concatenate([np.asarray(r, np.int32) for r in rows]),
            "lengths": np.array([len(r) for r in rows]),
            "cut": np.array(cuts_of(rows)),
        }

    lengths, cut = [], 0
    with track("tokenising", len(texts)) as advance:
        for start in starts:
            tokens = _kept(part("ids", start), lambda start=start: tokenise(start))
            lengths.append(tokens["lengths"])
            cut += int(tokens["cut"])
            advance(len(lengths[-1]))
    buckets = bucket_lengths(np.concatenate(lengths))
    with track("encoding", len(texts)) as advance:
        for start in starts:
            path = part("vectors", start)
            if _read(path) is not None:
                advance(min(size, len(texts) - start))
                continue
            vectors = encode_ids(enc, _rows(part("ids", start)), batch_tokens, advance, buckets=buckets, mesh=mesh)
            with sealed_file(path) as temporary, temporary.open("wb") as file:
                np.save(file, vectors)
    return Parts([part("vectors", start) for start in starts], cut)


def check_parts(folder: Path) -> None:
    """Raise InputError if there is something at `folder` that nobody made for parts."""
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        raise InputError(f"{folder}: a file or link, where the parts of the work would be; name another -o.")
    names = {path.name for path in folder.iterdir()}
    if names and not is_ours(folder) and not (names & {IDENTITY} and not _others(names)):
        raise InputError(
            f"{folder}: holds files that `jaxrec embed` did not write; the parts of the work would be there, so name "
            "another -o."
        )


def remove_parts(folder: Path) -> None:
    """Remove what `embed_in_parts` wrote, and the folder if nothing else is in it."""
    remove_unfinished(folder)
    for path in folder.iterdir():
        if not _others({path.name}):
            path.unlink()
    with contextlib.suppress(OSError):  # something of the user
        folder.rmdir()


def _others(names: set[str]) -> set[str]:
    """Names that no part has."""
    return {name for name in names if not PART_NAME.fullmatch(name)}


def _claim(folder: Path, identity: dict[str, Any]) -> None:
    check_parts(folder)
    folder.mkdir(parents=True, exist_ok=True)
    check_folder(folder)
    remove_unfinished(folder)
    path = folder / IDENTITY
    if not path.exists():
        write_json(path, identity)
    fix = "delete the folder, or name another -o"
    found = read_json_object(path, fix)
    if found != identity:
        raise InputError(f"{folder}: holds parts of another job ({', '.join(changes(found, identity))} differ); {fix}.")


def changes(found: dict[str, Any], wanted: dict[str, Any], inside: str = "") -> list[str]:
    """Names of the values in which two objects differ, such as settings.prompt."""
    names: list[str] = []
    for name, value in wanted.items():
        other = found.get(name)
        if isinstance(value, dict) and isinstance(other, dict):
            names += changes(other, value, f"{inside}{name}.")
        elif value != other:
            names.append(f"{inside}{name}")
    return names


def _kept(path: Path, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, Any]:
    """Arrays in `path`, made and written first if missing or damaged."""
    arrays = _read(path)
    if arrays is None:
        arrays: Any = make()
        with sealed_file(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)
    return arrays


def _read(path: Path) -> Any:
    """Load a numpy file; None if it is missing or damaged."""
    try:
        check_file(path, "it is made again")
        stored = np.load(path, allow_pickle=False, mmap_mode="r" if path.suffix == ".npy" else None)
        return stored if path.suffix == ".npy" else {name: stored[name] for name in stored.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _rows(path: Path) -> Sequence[np.ndarray]:
    stored = _read(path)
    return np.split(stored["ids"], np.cumsum(stored["lengths"])[:-1])
