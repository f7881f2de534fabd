"""Read names, shapes and types of the arrays in an Orbax folder, without JAX and without reading the arrays."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorstore  # registers bfloat16 and its like with numpy

from jaxrec.bounded import parse_json


class ArrayHeader(NamedTuple):
    """One array on disk."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in memory; on disk it is compressed."""
        return self.size * self.dtype.itemsize


def array_headers(folder: Path) -> dict[str, ArrayHeader]:
    """Read array headers by dotted name, such as `params.query.kernel`; random keys are uint32 [..., 2].

    Raises OSError or ValueError if the folder is not Orbax's or is damaged.
    """
    if not (folder / "manifest.ocdbt").is_file():  # TensorStore would find an empty store there
        raise FileNotFoundError(f"{folder}: no arrays here (manifest.ocdbt is missing).")
    where = {"driver": "ocdbt", "base": folder.absolute().as_uri() + "/"}
    store = tensorstore.KvStore.open(where).result()
    arrays = {}
    for key in sorted(store.list().result()):
        name, _, file = key.decode().rpartition("/")
        if file == ".zarray":
            header = parse_json(store.read(key).result().value)
            arrays[name] = ArrayHeader(tuple(header["shape"]), np.dtype(header["dtype"]))
    return arrays
