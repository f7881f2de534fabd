"""Texts to vectors in few compiled shapes, remembered on disk."""

import dataclasses
import functools
import hashlib
import math
import os
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np

from jaxrec.checks import InputError, check_range
from jaxrec.config.schema import EncoderConfig
from jaxrec.encoder.load import Apply, Encoder, open_encoder
from jaxrec.encoder.pool import Pooling
from jaxrec.encoder.tokenize import check_texts
from jaxrec.progress import Advance, track
from jaxrec.sharding.compile import compiled
from jaxrec.storage.files import atomic_path

_SHAPE_COST = 4096  # tokens that two CPU cores encode while one more shape is compiled
_CPU_TOKENS = 2048  # a larger batch falls out of a CPU's cache: MiniLM 7.2k tokens/s against 5.2k at 8192
_CACHE_VERSION = "2"  # raise it when the mathematics of any encoder changes


def encode(texts: Sequence[str], model: str = EncoderConfig.model, config: EncoderConfig | None = None) -> np.ndarray:
    """Vectors of `texts` by a named model; [B, E] float32 of unit length, in the order of `texts`.

    `config` sets length, dtype, pooling, prompt, batches and the cache. The model may be named in either argument;
    two different names are an error.
    """
    check_texts(texts)
    config = config or EncoderConfig()
    if model != config.model:
        if EncoderConfig.model not in (model, config.model):
            raise InputError(f"model: {model!r}, but config.model says {config.model!r}; name one model.")
        model = config.model if model == EncoderConfig.model else model
    enc = open_encoder(dataclasses.replace(config, model=model))
    enc = dataclasses.replace(enc, pool=dataclasses.replace(enc.pool, normalise=True))
    return embed_texts(enc, texts, config.batch_tokens, config.cache_dir)


def embed_texts(
    enc: Encoder, texts: Sequence[str], batch_tokens: int = 8192, cache_dir: str = "", label: str = "encoding"
) -> np.ndarray:
    """Vectors of `texts` as `enc.pool` gives them; [B, E] float32, in the order of `texts`.

    `enc.prompt` is put before every text. Batches hold at most `batch_tokens` tokens, padding included. With
    `cache_dir` the vectors are kept in a file named by a hash of weights, tokenizer, settings and texts; a damaged
    file is written anew.
    """
    check_texts(texts)
    check_range("batch_tokens", batch_tokens, enc.max_length)
    texts = [enc.prompt + text for text in texts]
    if not cache_dir:
        return _embed(enc, texts, batch_tokens, label)
    shape = (len(texts), enc.width)
    path = _writable(cache_dir) / f"vectors-{_key(enc, texts)}.npz"
    vectors = _read(path, shape)
    if vectors is None:
        vectors = _embed(enc, texts, batch_tokens, label)
        _write(path, vectors)
    return vectors


def bucket_lengths(lengths: np.ndarray) -> np.ndarray:
    """Choose padded lengths for texts of `lengths` [B] tokens: increasing, the last one fits all.

    Minimises the padded tokens plus a fixed cost for each compiled shape, by dynamic programming over the
    lengths that occur (rounded up): best[j] = min over i < j of best[i] + texts in (i, j] * length j + cost.
    """
    edges, counts = np.unique([_round_up(max(n, 1), 4) for n in lengths.tolist()], return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])
    best, start = np.zeros(len(edges) + 1), np.zeros(len(edges) + 1, np.int64)
    for end in range(1, len(edges) + 1):
        costs = best[:end] + (below[end] - below[:end]) * edges[end - 1] + _SHAPE_COST
        best[end], start[end] = costs.min(), costs.argmin()
    chosen, end = [], len(edges)
    while end:
        chosen.append(edges[end - 1])
        end = start[end]
    return np.array(chosen[::-1], np.int64)


def _round_up(n: int, least: int) -> int:
    """Round up to a multiple of `least` or of an eighth of the next power of two: few different values."""
    step = max(least, 2 ** (n - 1).bit_length() // 8)
    return math.ceil(n / step) * step


def make_batches(ids: list[list[int]], batch_tokens: int, max_length: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield (rows, ids, mask) with ids and mask [B, T] int32, longest texts first, one shape a bucket.

    `rows` are the texts of the first len(rows) lines; further lines are padding and fully masked.
    """
    lengths = np.array([len(row) for row in ids], np.int64)
    order = np.argsort(lengths, kind="stable")
    buckets = bucket_lengths(lengths)
    ends = np.searchsorted(lengths[order], buckets, side="right").tolist()
    for start, end, bucket in reversed(list(zip([0, *ends[:-1]], ends, buckets.tolist(), strict=True))):
        width = min(bucket, max_length)
        most = batch_tokens // width
        count = math.ceil((end - start) / most)
        height = min(_round_up(math.ceil((end - start) / count), 8), most)
        for rows in np.array_split(order[start:end], count):
            padded, mask = np.zeros((2, height, width), np.int32)
            for line, row in enumerate(rows):
                padded[line, : lengths[row]] = ids[row]
                mask[line, : lengths[row]] = 1
            yield rows, padded, mask


@functools.cache
def _program(apply: Apply, pool: Pooling):
    return compiled(lambda params, ids, mask: pool(params, apply(params, ids, mask), mask))


def _embed(enc: Encoder, texts: list[str], batch_tokens: int, label: str) -> np.ndarray:
    vectors = np.zeros((len(texts), enc.width), np.float32)
    if not texts:
        return vectors
    if jax.default_backend() == "cpu":
        batch_tokens = min(batch_tokens, max(_CPU_TOKENS, enc.max_length))
    program = _program(enc.apply, enc.pool)
    with track(label, len(texts)) as advance:
        sent = []
        for rows, *inputs in make_batches(enc.tokenize(texts), batch_tokens, enc.max_length):
            sent.append((rows, program(enc.params, *inputs)))
            if len(sent) > 1:  # the device works on one batch while the host fills the next
                _collect(vectors, sent.pop(0), advance)
        for last in sent:
            _collect(vectors, last, advance)
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise InputError(f"{enc.name}: texts[{row}] has no finite vector; the weights are damaged, fetch them again.")
    return vectors


def _collect(vectors: np.ndarray, sent: tuple[np.ndarray, jax.Array], advance: Advance) -> None:
    rows, result = sent
    vectors[rows] = np.asarray(result)[: len(rows)]
    advance(len(rows))


def _key(enc: Encoder, texts: list[str]) -> str:
    """Hash all that decides the vectors; texts with their lengths, so that no two lists read the same."""
    digest = hashlib.sha256(f"{_CACHE_VERSION} {enc.identity} {enc.pool}".encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(enc.params):
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype}".encode())
        digest.update(np.asarray(leaf).tobytes())
    for text in texts:
        data = text.encode()
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()[:40]


def _writable(cache_dir: str) -> Path:
    folder = Path(cache_dir).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cache_dir {folder}: {error.strerror}; choose another folder, or '' for no cache.") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"cache_dir {folder}: not writable; choose another folder, or '' for no cache.")
    return folder


def _read(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """Give the stored vectors, or None where the file is missing or damaged (zip members carry a CRC)."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            vectors = stored["vectors"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return vectors if vectors.shape == shape and vectors.dtype == np.float32 else None


def _write(path: Path, vectors: np.ndarray) -> None:
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, vectors=vectors)
    except OSError as error:  # the vectors are good: a full disk must not lose them
        warnings.warn(f"{path}: vectors were not cached ({error.strerror}).", stacklevel=3)
