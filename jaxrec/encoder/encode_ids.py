"""Token ids to vectors: the loop between host and devices."""

import functools
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxrec.checks import InputError
from jaxrec.encoder.batches import make_batches
from jaxrec.encoder.load import Apply, Encoder
from jaxrec.encoder.pool import Pooling
from jaxrec.progress import Advance
from jaxrec.sharding.compile import compiled
from jaxrec.sharding.mesh import DATA

CPU_TOKENS = 2048  # a larger batch falls out of a CPU's cache: MiniLM 7.2k tokens/s against 5.2k at 8192


@functools.cache
def forward_program(apply: Apply, pool: Pooling):
    """Compiled params, ids [B, T], mask [B, T] -> [B, width]; equal architectures share it."""
    return compiled(lambda params, ids, mask: pool(params, apply(params, ids, mask), mask))


def encode_ids(
    enc: Encoder,
    ids: Sequence[Sequence[int] | np.ndarray],
    batch_tokens: int,
    advance: Advance,
    *,
    buckets: np.ndarray | None = None,
    mesh: Mesh | None = None,
) -> np.ndarray:
    """Vectors [B, width] float32 of the token ids of B texts.

    With a `mesh`, which must already hold `enc.params`, the lines of a batch are spread over its data axis. `advance`
    is called with the number of texts done. Raises InputError if a vector is not finite.
    """
    vectors = np.zeros((len(ids), enc.width), np.float32)
    if jax.default_backend() == "cpu":
        batch_tokens = min(batch_tokens, CPU_TOKENS)
    program, sent = forward_program(enc.apply, enc.pool), []
    devices = 1 if mesh is None else mesh.shape[DATA]
    for rows, *inputs in make_batches(ids, batch_tokens, enc.max_length, buckets, devices):
        if mesh is not None:
            inputs = jax.device_put(inputs, NamedSharding(mesh, PartitionSpec(DATA)))
        sent.append((rows, program(enc.params, *inputs)))
        if len(sent) > 1:  # the devices work on one batch while the host fills the next
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
