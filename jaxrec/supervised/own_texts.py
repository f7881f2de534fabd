"""A user's own texts as context: the running mean of what they wrote before, in few numbers."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxrec.checks import InputError
from jaxrec.data.log import Log
from jaxrec.storage.portable import load_portable, save_portable

KIND = "own_texts"  # of the folder that keeps a basis
NAME = "own_text_{}"  # of the context columns
Encode = Callable[[Sequence[str]], np.ndarray]  # texts to vectors [N, E]


class TextBasis(NamedTuple):
    """Principal components of review vectors."""

    mean: np.ndarray  # [E]
    components: np.ndarray  # [D, E], largest variance first, scaled so that the first has variance 1

    def reduce(self, vectors: np.ndarray) -> np.ndarray:
        """Reduce vectors [N, E] of texts to D numbers each, [N, D] float32."""
        return ((vectors - self.mean) @ self.components.T).astype(np.float32)


def add_own_texts(
    log: Log, train: Log, encode: Encode, size: int, basis: TextBasis | None = None
) -> tuple[Log, TextBasis]:
    """Add D = `size` context columns to a log; also gives the basis of their numbers.

    The basis is the one given, else one fitted to the reviews of `train`.

    A column is the mean over the user's earlier rows with a review, never the row itself or later ones, and 0 before
    the first. It reveals nothing about later rows, so it may be computed on the whole log before any split.
    """
    if log.review is None or train.review is None:
        raise InputError("data.own_texts: the log has no reviews; set data.columns.review, or data.own_texts to 0.")
    texts = sorted(set(log.review) - {""})
    place = {text: n for n, text in enumerate(texts)}
    vectors = encode(texts)
    if basis is None:
        basis = fit_basis(vectors[[place[text] for text in sorted(set(train.review) - {""})]], size)
    if basis.components.shape != (size, vectors.shape[1]):
        raise InputError(
            f"data.own_texts: the earlier run reduced {basis.components.shape[1]} numbers per text to "
            f"{len(basis.components)}, this recipe {vectors.shape[1]} to {size}; use the settings of that run."
        )
    wrote = log.review != ""
    reduced = np.zeros((len(log), size), np.float32)
    reduced[wrote] = basis.reduce(vectors)[[place[text] for text in log.review[wrote]]]
    means = earlier_means(log, reduced, wrote).astype(np.float32)
    context = means if log.context is None else np.concatenate([log.context, means], axis=1)
    names = (*log.context_names, *map(NAME.format, range(size)))
    return dataclasses.replace(log, context=context, context_names=names), basis


def fit_basis(vectors: np.ndarray, size: int) -> TextBasis:
    """Principal components of vectors [N, E], D = `size` of them.

    The entry of largest magnitude in each is positive: singular vectors have no sign of their own. Raises InputError
    if the vectors vary in fewer directions.
    """
    reason = f"data.own_texts: {len(vectors)} training reviews do not vary in {size} directions; lower it."
    if size > min(len(vectors) - 1, vectors.shape[1]):
        raise InputError(reason)
    mean = vectors.mean(0, dtype=np.float64)
    centred = vectors - mean
    _, variance, components = np.linalg.svd(centred.T @ centred / len(vectors))
    if variance[size - 1] <= 1e-9 * variance[0]:
        raise InputError(reason)
    components = components[:size]
    largest = np.take_along_axis(components, np.abs(components).argmax(1)[:, None], axis=1)
    components = components * np.sign(largest) / variance[0] ** 0.5
    return TextBasis(mean.astype(np.float32), components.astype(np.float32))


def earlier_means(log: Log, values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Means [R, D] of `values` [R, D] over the user's earlier rows where `counts` [R] bool holds; 0 without any."""
    counted = counts.astype(np.float64)[:, None]
    sums = np.concatenate([counted, values * counted], axis=1).cumsum(0)
    before = np.concatenate([np.zeros((1, sums.shape[1])), sums])
    earlier = before[:-1] - before[log.offsets[log.user]]
    return earlier[:, 1:] / np.maximum(earlier[:, :1], 1.0)


def save_basis(folder: Path, basis: TextBasis) -> None:
    """Keep the basis, so that what a user wrote means the same to the policy later; `load_basis` reads it."""
    save_portable(folder, KIND, basis._asdict(), {})


def load_basis(folder: Path) -> TextBasis:
    """Read what `save_basis` wrote; raises InputError if it is missing or damaged."""
    arrays, _ = load_portable(folder, KIND)
    return TextBasis(arrays["mean"], arrays["components"])
