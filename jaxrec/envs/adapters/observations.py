"""Observations for other libraries: one vector, or a dict of the fields that an environment has.

The vector is the concatenation of these parts, in this order, as far as the environment has them:

user                [U] interests
context             [C]
history_items       "mean": [E + 1], mean row of the item table over the history, then the share that is filled;
                    "rows": [H * E], the rows from oldest to newest, zeros where the history is empty
history_feedback    "mean": [F] over the same items; "rows": [H * F]
candidates          [M * E], the candidates' rows of the item table, joined (topics: one-hot)
candidate_features  [M * D]
mask                [M], 1 where a candidate may be shown
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.checks import check_name
from jaxrec.types import PADDING, Array, Env, Observation, World

KINDS = ("vector", "dict")
HISTORIES = ("mean", "rows")


class Bounds(NamedTuple):
    """Lowest and highest values of one array, both of its shape; `whole` numbers are ids or flags."""

    low: np.ndarray
    high: np.ndarray
    whole: bool = False


class View(NamedTuple):
    """How one library sees the observations of one environment."""

    kind: str
    bounds: Mapping[str, Bounds]  # by field, or by part of the vector in order
    layout: Mapping[str, slice]  # where each part is in the vector; empty for dicts
    show: Callable[[Observation, World], Any]  # vector [V] float32, or a dict of arrays


def make_view(env: Env, kind: str, history: str = "mean") -> View:
    """Build the view of the observations of `env`; raises InputError for unknown kinds."""
    check_name("observation", kind, KINDS)
    check_name("history", history, HISTORIES)
    if kind == "dict":
        return View(kind, _field_bounds(env), {}, lambda obs, world: _fields(obs))
    bounds, layout, start = _part_bounds(env, history), {}, 0
    for name, part in bounds.items():
        layout[name] = slice(start, start + part.low.size)
        start += part.low.size

    def vector(obs: Observation, world: World) -> Array:
        return jnp.concatenate([part.ravel() for part in _parts(obs, world, history).values()])

    return View(kind, bounds, layout, vector)


def _fields(obs: Observation) -> dict[str, Array]:
    return {
        name: value.astype(jnp.int8 if name == "mask" else value.dtype)
        for name, value in vars(obs).items()
        if value is not None
    }


def _parts(obs: Observation, world: World, history: str) -> dict[str, Array]:
    """Compute the parts of the vector, each of any shape."""
    parts = {}
    if obs.user is not None:
        parts["user"] = obs.user
    if obs.context is not None:
        parts["context"] = obs.context
    if obs.history_items is not None:
        there = obs.history_items != PADDING
        rows = world.item_table[jnp.maximum(obs.history_items, 0)].astype(jnp.float32)
        items = _read(rows, there, history)
        filled = there.mean(dtype=jnp.float32)[None]
        parts["history_items"] = items if history == "rows" else jnp.concatenate([items, filled])
        if obs.history_feedback is not None:
            parts["history_feedback"] = _read(obs.history_feedback, there, history)
    if obs.candidates is not None:
        parts["candidates"] = world.item_table[obs.candidates]
    if obs.candidate_features is not None:
        parts["candidate_features"] = obs.candidate_features
    if obs.mask is not None:
        parts["mask"] = obs.mask
    return {name: part.astype(jnp.float32) for name, part in parts.items()}


def _read(rows: Array, there: Array, history: str) -> Array:
    """Give the rows [H, ...] of a history, zeros where it is empty, or their mean."""
    rows = jnp.where(there[:, None], rows, 0.0)
    return rows if history == "rows" else rows.sum(0) / jnp.maximum(there.sum(dtype=jnp.float32), 1.0)


def _shapes(env: Env) -> Observation:
    return jax.eval_shape(env.reset, jax.random.key(0), env.world)[1]


def _field_bounds(env: Env) -> dict[str, Bounds]:
    """Bounds of the fields that `env` has, from the ranges in its spec."""
    spec, bounds = env.spec, {}
    feedback = np.array(spec.feedback_range or ((-np.inf, np.inf),) * len(spec.feedback), np.float32)  # [F, 2]
    ranges = {
        "user": spec.user_range,
        "context": spec.context_range,
        "history_items": (PADDING, spec.num_items - 1),
        "history_feedback": (np.minimum(feedback[:, 0], 0.0), np.maximum(feedback[:, 1], 0.0)),
        "history_shown": (0, np.iinfo(np.int32).max),
        "candidates": (0, spec.num_items - 1),
        "candidate_features": spec.candidate_range,
        "mask": (0, 1),
    }
    for name, field in vars(_shapes(env)).items():
        if field is not None:
            whole = not jnp.issubdtype(field.dtype, jnp.floating)
            dtype = (np.int8 if name == "mask" else np.int32) if whole else np.float32
            low, high = (np.broadcast_to(np.asarray(bound, dtype), field.shape) for bound in ranges[name])
            bounds[name] = Bounds(low, high, whole)
    return bounds


def _part_bounds(env: Env, history: str) -> dict[str, Bounds]:
    """Bounds of the parts of the vector, each [size], in order; ids become rows of the item table."""
    fields, (low, high) = _field_bounds(env), _table_bounds(env.world.item_table)
    bounds = {}
    for name, field in fields.items():  # in the order of `Observation`, which is that of `_parts`
        if name == "candidates":
            times = field.low.size
            bounds[name] = Bounds(np.tile(low, times), np.tile(high, times))
        elif name == "history_items":
            times, share = (field.low.size, 0) if history == "rows" else (1, 1)
            lowest = np.append(np.tile(np.minimum(low, 0.0), times), np.zeros(share))
            bounds[name] = Bounds(lowest, np.append(np.tile(np.maximum(high, 0.0), times), np.ones(share)))
        elif name == "history_feedback" and history == "mean":
            bounds[name] = Bounds(*_slack(field.low[0], field.high[0]))
        else:
            bounds[name] = Bounds(field.low.ravel(), field.high.ravel())
    return {name: Bounds(part.low.astype(np.float32), part.high.astype(np.float32)) for name, part in bounds.items()}


def _table_bounds(table: Array) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest value of each column, [E]."""
    rows = np.asarray(table.astype(jnp.float32))
    return _slack(rows.min(0), rows.max(0))


def _slack(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Widen bounds for the rounding of means."""
    return low - 1e-5 * np.abs(low), high + 1e-5 * np.abs(high)
