"""Encode the texts of a file into a file of vectors."""

import dataclasses
import json
import os
import time
from collections.abc import Set
from pathlib import Path
from typing import Any, NamedTuple

import jax
import pyarrow as pa
from jax.sharding import Mesh

from jaxrec.checks import InputError
from jaxrec.config.schema import EncoderConfig
from jaxrec.data.texts import Texts, read_texts
from jaxrec.encoder.bulk import JOINED, changes, check_parts, embed_in_parts, remove_parts
from jaxrec.encoder.embed import accelerators, texts_digest, weights_digest
from jaxrec.encoder.load import Encoder, open_encoder
from jaxrec.encoder.tokenize import cut_line
from jaxrec.encoder.vectors_file import check_output, write_vectors
from jaxrec.home import expanded
from jaxrec.progress import note, warn
from jaxrec.runs.devices import describe_devices
from jaxrec.storage.digests import DIGESTS, Damaged, check_digests, file_digest, text_digest
from jaxrec.storage.files import read_json_object, write_json
from jaxrec.storage.lock import hold, one_command
from jaxrec.version import __version__

FORMAT = "jaxrec.vectors.1"
RESULT = ("format", "shape", "dtype", "texts_cut", "jaxrec")  # in the description, besides what the result depends on
DIGEST = "digest"  # in the description of a file of vectors: of both


def embed_file(config: EncoderConfig, texts: str, output: str, column: str = "", id_column: str = "") -> Path:
    """Encode every row of `texts` into `output`, at unit length; calling again after a stop continues the work."""
    out = Output(Path(output), Path(f"{output}.parts"), Path(f"{output}.json"))
    check_output(out.path, bool(id_column))
    _check_ours(out)
    read = read_texts(expanded(texts), column, id_column)
    note(f"  {read.account}")
    mesh = accelerators()
    enc = open_encoder(config, mesh)
    enc = dataclasses.replace(enc, pool=dataclasses.replace(enc.pool, normalise=True))
    with one_command():
        return _embed(enc, config, read, out, mesh)


class Output(NamedTuple):
    """Where the vectors go."""

    path: Path
    parts: Path  # folder of the work in progress
    description: Path


def _embed(enc: Encoder, config: EncoderConfig, read: Texts, out: Output, mesh: Mesh | None) -> Path:
    path, parts = out.path, out.parts
    started = time.perf_counter()
    identity = _identity(enc, config, read.texts, read.ids)
    differ = _differences(out.description, identity)
    damage = _damage(path, out.description, {*identity, *RESULT}) if path.exists() and not differ else ""
    if path.exists() and not differ and not damage:
        note(f"{path}: already there, from the same texts with the same model and settings")
        if parts.exists():
            hold(parts, "embed")
            remove_parts(parts)
        return path
    joined = parts / JOINED
    if damage:
        warn(f"{damage} The texts are encoded again.")
    elif path.exists() and not joined.exists():
        raise InputError(
            f"-o: {path} already exists and is of other texts or settings ({', '.join(differ)}); delete it or name "
            "another."
        )
    hold(parts, "embed")
    note(f"{path}: encoding {len(read.texts):,} texts with {config.model} on {describe_devices()}")
    done = embed_in_parts(enc, read.texts, parts, identity, config.batch_tokens, mesh)
    note(cut_line(done.cut, len(read.texts), enc.max_length, "max_length"))
    _check_ours(out)  # the work may have taken days
    if path.exists() and not joined.exists() and not damage:
        raise InputError(f"-o: {path} has appeared meanwhile; move it, and start the same command again.")
    joined.touch()
    write_vectors(path, done.files, read.ids)
    shape = [len(read.texts), enc.width]
    result = dict(zip(RESULT, (FORMAT, shape, "float32", done.cut, __version__), strict=True))
    write_json(out.description, {**identity, **result, DIGEST: _digest(path, {**identity, **result})})
    remove_parts(parts)
    seconds = time.perf_counter() - started
    rate = f"{shape[0] / seconds:,.0f} texts/s"
    note(f"{path}: {shape[0]:,} x {shape[1]} float32, unit length, in {seconds:.0f} s ({rate})")
    return path


def _check_ours(out: Output) -> None:
    """Raise InputError if a file or folder of the user is where the parts or the description would be written."""
    check_parts(out.parts)
    found = _read(out.description)
    # Descriptions of earlier versions have no format.
    if found is not None and found.get("format") != FORMAT and not {"tokenizer_and_sizes", "texts_cut"} <= found.keys():
        raise InputError(
            f"{out.description}: exists and `jaxrec embed` did not write it; the description of the vectors would "
            "replace it, so name another -o."
        )


def _read(description: Path) -> dict[str, Any] | None:
    """The description of a file of vectors; empty if it is something else, None if there is nothing."""
    if not os.path.lexists(description):
        return None
    try:
        return read_json_object(description, "name another -o")
    except InputError:
        return {}


def _identity(enc: Encoder, config: EncoderConfig, texts: pa.Array, ids: pa.Array | None) -> dict[str, Any]:
    """Everything that the result depends on, under readable names; data and weights are named by their digests."""
    settings = {
        "max_length": enc.max_length,
        "dtype": enc.dtype,
        "weights": config.weights,
        "pooling": enc.pool.mode,
        "heads": [dataclasses.asdict(head) for head in enc.pool.heads],
        "dimensions": enc.width,
        "normalise": enc.pool.normalise,
        "prompt": enc.prompt,
        "bidirectional": config.bidirectional,
        "batch_tokens": config.batch_tokens,
    }
    return {
        "model": config.model,
        "weights": weights_digest(enc.params),
        "tokenizer_and_sizes": enc.identity,
        "settings": settings,
        "texts": texts_digest(texts.to_pylist()),
        "ids": None if ids is None else texts_digest(ids.to_pylist()),
        "devices": f"{len(jax.devices())} x {jax.devices()[0].device_kind}",
        "jax": jax.__version__,
    }


def _digest(path: Path, described: dict[str, Any]) -> str:
    """One digest of the vectors and of what is said about them."""
    vectors = file_digest(path / DIGESTS if path.is_dir() else path)
    return text_digest(json.dumps(described, sort_keys=True) + vectors)


def _damage(path: Path, description: Path, wanted: Set[str]) -> str:
    """What is wrong with a file of vectors that this job wrote earlier; empty if it is whole or of an old version."""
    found = read_json_object(description, "encode again")
    try:
        if path.is_dir():
            check_digests(path, "encode again", must=False)
        digest = found.pop(DIGEST, None)
        if found.keys() | {"format"} == wanted and (digest is None or digest == _digest(path, found)):
            return ""
    except (Damaged, OSError) as error:
        return str(error)
    return f"{path}: damaged, or its description is."


def _differences(description: Path, identity: dict[str, Any]) -> list[str]:
    """Names of what differs between a file of vectors, by its description, and this job."""
    found = _read(description)
    if not found:
        return [f"no {description.name} says which"]
    return [f"{name} differs" for name in changes(found, identity)]
