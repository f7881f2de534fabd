"""Encoding texts to vectors in few compiled shapes, with a cache on disk."""

import contextlib
import dataclasses
import hashlib
import os
import warnings
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxrec.checks import InputError, check_range
from jaxrec.config.schema import EncoderConfig
from jaxrec.encoder.encode_ids import encode_ids
from jaxrec.encoder.layout import lay_out
from jaxrec.encoder.load import Encoder, load_encoder
from jaxrec.encoder.tokenize import check_texts, cuts_of
from jaxrec.home import expanded
from jaxrec.ops.vectors import unit_rows
from jaxrec.progress import track
from jaxrec.sharding.mesh import own_mesh
from jaxrec.storage.digests import check_file, sealed_file
from jaxrec.types import Params

_CACHE_VERSION = "3"  # raise it when the mathematics of any encoder changes
LONG = 100_000  # characters from which on `encode` shows its progress: some seconds on a CPU


def encode(
    texts: str | Sequence[str],
    model: str | Path = EncoderConfig.model,
    *,
    max_length: int = 0,
    pooling: str = "",
    dimensions: int = 0,
    normalize: bool = False,
    prompt: str | None = None,
    prompt_name: str = "",
    bidirectional: bool = False,
    dtype: str = "float32",
    weights: Literal["float32", "int8"] = "float32",
    batch_tokens: int = EncoderConfig.batch_tokens,
    cache_dir: str = EncoderConfig.cache_dir,
    progress: bool | None = None,
) -> np.ndarray:
    """Vectors of `texts` by a named model, as `SentenceTransformer.encode` gives them.

    [B, E] float32 in the order of `texts`, or [E] for one string. They have unit length where the model says so
    (modules.json ends in Normalize), as all-MiniLM-L6-v2 does, or with `normalize`. `dimensions` keeps the leading
    channels: before `normalize`, but after the model's own Normalize. `prompt` None is the model's default, "" is
    none. `progress` None shows a bar for long inputs. The other options are those of `load_encoder`; `batch_tokens`
    and `cache_dir` those of `embed_texts`.
    """
    several = [texts] if isinstance(texts, str) else texts
    check_texts(several)
    enc = load_encoder(
        model,
        max_length,
        dtype,
        pooling=pooling,
        dimensions=dimensions,
        prompt=prompt or "",
        prompt_name=prompt_name,
        bidirectional=bidirectional,
        weights=weights,
    )
    width, pool = enc.width, enc.pool
    if normalize:
        pool = dataclasses.replace(pool, normalise=True)
    elif pool.normalise:
        pool = dataclasses.replace(pool, dimensions=0)  # cut below, after Normalize
    enc = dataclasses.replace(enc, pool=pool, prompt=enc.prompt if prompt is None else prompt)
    if progress is None:
        progress = sum(map(len, several)) > LONG
    vectors = embed_texts(enc, several, batch_tokens, cache_dir, "encoding" if progress else "")[:, :width]
    return vectors[0] if isinstance(texts, str) else vectors


def embed_texts(
    enc: Encoder,
    texts: Sequence[str],
    batch_tokens: int = EncoderConfig.batch_tokens,
    cache_dir: str = "",
    label: str = "encoding",
) -> np.ndarray:
    """Vectors of `texts` as `enc.pool` gives them; [B, E] float32, in the order of `texts`.

    `enc.prompt` is put in front of every text. Batches hold at most `batch_tokens` tokens, padding included. A longer
    text is a batch by itself. `label` names the progress bar; without a label there is none. With `cache_dir` the
    vectors are kept in a file named by a hash of weights, tokenizer, settings and texts; a damaged file is rewritten.
    """
    return embed_counted(enc, texts, batch_tokens, cache_dir, label).vectors


class Embedded(NamedTuple):
    """Vectors of texts, and how many of the texts were longer than the encoder reads."""

    vectors: np.ndarray  # [B, E] float32
    cut: int


def embed_counted(
    enc: Encoder, texts: Sequence[str], batch_tokens: int, cache_dir: str = "", label: str = "encoding"
) -> Embedded:
    """`embed_texts`, and how many texts were cut at `enc.max_length` tokens."""
    check_texts(texts)
    # A few models take 32k tokens: their batches need not hold the longest possible text.
    check_range("batch_tokens", batch_tokens, min(enc.max_length, EncoderConfig.batch_tokens))
    texts = [enc.prompt + text for text in texts]
    if not cache_dir:
        return _embed(enc, texts, batch_tokens, label)
    shape = (len(texts), enc.width)
    path = _writable(cache_dir) / f"vectors-{_key(enc, texts)}.npz"
    found = _read(path, shape)
    if found is None:
        found = _embed(enc, texts, batch_tokens, label)
        _write(path, found)
    if found.cut < 0:  # a file of an earlier version
        found = found._replace(cut=cuts_of(enc.tokenize(texts)))
    return found


def accelerators() -> Mesh | None:
    """Mesh of this process's accelerators if there are several; None on CPU, where all share the same cores."""
    return None if jax.default_backend() == "cpu" or jax.local_device_count() == 1 else own_mesh()


def spread(enc: Encoder) -> tuple[Encoder, Mesh | None]:
    """The encoder with its parameters on all `accelerators`, and their mesh."""
    mesh = accelerators()
    return (enc if mesh is None else dataclasses.replace(enc, params=lay_out(enc.params, enc.config, mesh))), mesh


def unit_vectors(enc: Encoder, ids: Sequence[Sequence[int]], batch_tokens: int) -> np.ndarray:
    """Unit vectors [B, width] of token ids, by all `accelerators`."""
    enc, mesh = spread(enc)
    return unit_rows(encode_ids(enc, ids, batch_tokens, lambda *_: None, mesh=mesh))


def _embed(enc: Encoder, texts: list[str], batch_tokens: int, label: str) -> Embedded:
    if not texts:
        return Embedded(np.zeros((0, enc.width), np.float32), 0)
    enc, mesh = spread(enc)
    with track(label, len(texts)) if label else contextlib.nullcontext(lambda *_: None) as advance:
        tokens = enc.tokenize(texts)
        return Embedded(encode_ids(enc, tokens, batch_tokens, advance, mesh=mesh), cuts_of(tokens))


def weights_digest(params: Params) -> str:
    """SHA-256 of parameters and their names."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype}".encode())
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def texts_digest(texts: Iterable[str]) -> str:
    """SHA-256 of texts with their lengths, so that no two lists give the same bytes."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode()
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()


def _key(enc: Encoder, texts: list[str]) -> str:
    """Hash everything that the vectors depend on."""
    digest = hashlib.sha256(
        f"{_CACHE_VERSION} {enc.identity} {enc.pool} {weights_digest(enc.params)} {texts_digest(texts)}".encode()
    )
    return digest.hexdigest()[:40]


def _writable(cache_dir: str) -> Path:
    folder = expanded(cache_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cache_dir {folder}: {error.strerror}; choose another folder, or '' for no cache.") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"cache_dir {folder}: not writable; choose another folder, or '' for no cache.")
    return folder


def _read(path: Path, shape: tuple[int, int]) -> Embedded | None:
    """Load stored vectors; None if the file is missing or damaged."""
    try:
        check_file(path, "it is made again", must=False)
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            found = Embedded(stored["vectors"], int(stored["cut"]) if "cut" in stored else -1)
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
        return None
    whole = found.vectors.shape == shape and found.vectors.dtype == np.float32 and np.isfinite(found.vectors).all()
    return found if whole else None


def _write(path: Path, found: Embedded) -> None:
    try:
        with sealed_file(path) as temporary, temporary.open("wb") as file:
            np.savez(file, vectors=found.vectors, cut=found.cut)
    except OSError as error:  # the vectors are good: a full disk must not lose them
        warnings.warn(f"{path}: vectors were not cached ({error.strerror}).", stacklevel=3)
