"""Dense matrices of rewards in .npz files, with features of their items.

matrix         [U, I] reward of showing each item to each user
categories     [I, C] 0 or 1; an item may have several
vectors        [I, E] of texts, factors, anything with distances
recommendable  [I] bool, items that policies may show; all if it is missing

Categories or vectors are required, because they are the item features that policies read.
"""

import dataclasses
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.checks import InputError, check_shape
from jaxrec.data.unpacked import check_npz
from jaxrec.storage.digests import check_file, sealed_file

FILE = "matrix.npz"  # in a folder
OPTIONAL = ("categories", "vectors", "recommendable")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RewardMatrix:
    """A checked matrix; raises InputError for wrong shapes and values when it is built."""

    matrix: np.ndarray
    categories: np.ndarray | None = None
    vectors: np.ndarray | None = None
    recommendable: np.ndarray | None = None

    def __post_init__(self):
        _check_numbers("matrix", self.matrix)
        check_shape("matrix", self.matrix, (None, None))
        if 0 in self.matrix.shape:
            raise InputError(f"matrix: expected users and items, got shape {self.matrix.shape}.")
        items = self.matrix.shape[1]
        if self.categories is None and self.vectors is None:
            raise InputError("matrix: expected categories or vectors of the items, got neither; add one of them.")
        for name in ("categories", "vectors"):
            values = getattr(self, name)
            if values is not None:
                _check_numbers(name, values)
                check_shape(name, values, (items, None))
        if self.categories is not None and not np.isin(self.categories, (0, 1)).all():
            raise InputError("categories: expected only 0 and 1 (one column per category), got other values.")
        if self.recommendable is not None:
            check_shape("recommendable", self.recommendable, (items,))
            if not self.recommendable.any():
                raise InputError("recommendable: expected at least one item, got none.")


def save_matrix(path: str | Path, rewards: RewardMatrix) -> None:
    """Write a .npz file, with its digest in NAME.npz.xxh128; it is complete or not there at all."""
    arrays = {name: getattr(rewards, name) for name in ("matrix", *OPTIONAL)}
    present: Any = {name: np.asarray(x) for name, x in arrays.items() if x is not None}
    with sealed_file(Path(path)) as temporary, temporary.open("wb") as file:
        np.savez(file, **present)


def load_matrix(path: str | Path) -> RewardMatrix:
    """Read a .npz file, or FOLDER/matrix.npz; raises InputError if it is missing, damaged or not finite."""
    path = Path(path)
    file = path / FILE if path.is_dir() else path
    check_file(file, "write it again, or delete that digest if you changed it yourself", must=False)
    wanted = ("matrix", *OPTIONAL)
    arrays = read_arrays(file, "env.path", "`jaxrec.data.matrix.save_matrix` writes one", wanted.__contains__)
    if "matrix" not in arrays:
        raise InputError(f"env.path: {file}: no array 'matrix' [users, items] in it.")
    try:
        return RewardMatrix(**arrays)
    except InputError as error:
        raise InputError(f"env.path: {file}: {error}") from None


def read_arrays(file: Path, where: str, remedy: str, wanted: Callable[[str], bool]) -> dict[str, np.ndarray]:
    """Read the arrays of a .npz file whose names are `wanted`; `where` and `remedy` are for the message if it fails."""
    if not file.is_file():
        raise InputError(f"{where}: {file}: no such file; {remedy}.")
    try:
        check_npz(file)
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files if wanted(name)}
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{where}: {file}: not a readable .npz of numbers ({reason}); write it again.") from None


def _check_numbers(name: str, values: np.ndarray) -> None:
    if values.dtype.kind not in "fiub":
        raise InputError(f"{name}: expected numbers, got {values.dtype}.")
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        place = ", ".join(str(n) for n in wrong[0])
        raise InputError(f"{name}: expected finite numbers, got {values[tuple(wrong[0])]} at [{place}].")
