"""Retrieval metrics of item vectors alone, without a policy."""

import dataclasses
from collections.abc import Sequence
from functools import partial

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrec.data import Split
from jaxrec.encoder.pool import unit_length
from jaxrec.evaluation.held_out import Score, held_out_metrics, positive_targets
from jaxrec.sharding.compile import compiled
from jaxrec.types import PADDING, Array, Observation


def retrieval_metrics(vectors: np.ndarray, split: Split, ks: Sequence[int] = (5, 10, 20)) -> dict[str, float]:
    """Ranking metrics of `history_mean` over item vectors [I, E], as `held_out_metrics` defines them."""
    return held_out_metrics(history_mean(vectors), split, ks)


def history_mean(vectors: np.ndarray) -> Score:
    """Score items by their cosine to the mean of the unit vectors of the user's whole history."""
    table = unit_length(jnp.asarray(vectors, jnp.float32))
    return partial(compiled(_scores), table)


def validation_of(split: Split, users: int, seed: int, *, every_row: bool = False) -> Split:
    """Make a split whose test rows are the validation rows of at most `users` users, drawn with `seed`.

    They are the positive ones, if there are any, unless `every_row` is asked for.
    """
    nothing = split.validation.take(np.zeros(len(split.validation), bool))
    whole = dataclasses.replace(split, validation=nothing, test=split.validation)
    found = whole if every_row else positive_targets(whole)[0]
    chosen = np.random.default_rng(seed).permutation(np.unique(found.test.user))[:users]
    return dataclasses.replace(found, test=found.test.take(np.isin(found.test.user, chosen)))


def _scores(table: Array, obs: Observation) -> Array:
    items = obs.history_items
    assert items is not None
    rows = jnp.where((items != PADDING)[..., None], table[jnp.maximum(items, 0)], 0.0)
    return jnp.matmul(unit_length(rows.sum(axis=-2)), table.T, precision=lax.Precision.HIGHEST)
