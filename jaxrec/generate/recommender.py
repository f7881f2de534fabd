"""A generator as a recommender: observations in, slates of items out; all on the device."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.generate.beam import Slate, Step, beam_search, scores_of_items
from jaxrec.generate.dense import DenseItems, chances_of, checked
from jaxrec.generate.sample import Samples, sample
from jaxrec.generate.trie import Trie
from jaxrec.nets.generator import Generator, History, Memory, Shape
from jaxrec.types import PADDING, Array, Observation, Params


class Catalogue(struct.PyTreeNode):
    """What a generator knows of the items."""

    codes: Array  # [I, L] int32
    table: Array | None  # [I, E] item table; None: histories have no vectors of items
    trie: Trie  # of the items that may be recommended; with the dense check, of those with training rows
    dense: DenseItems | None = None  # of the dense check


def history_of(catalogue: Catalogue, items: Array, feedback: Array, context: Array | None) -> History:
    """Rows of histories: items [..., R] int32 (PADDING where empty), feedback [..., R, F], context [..., R, C]."""
    known = jnp.maximum(items, 0)
    vectors = None if catalogue.table is None else catalogue.table[known]
    return History(catalogue.codes[known], feedback, vectors, context)


def slates(
    shape: Shape,
    params: Params,
    catalogue: Catalogue,
    obs: Observation,
    rows: int,
    beams: int,
    *,
    repeats: bool = False,
    hidden: Array | None = None,
) -> Slate:
    """The best items of users [B] by beam search, from the latest `rows` rows of their histories: [B, K].

    No item of the whole observed history [B, H] is in a slate, unless the log `repeats` items. With `hidden` [B, X]
    (PADDING where empty), exactly these items are in no slate.
    """
    assert obs.history_items is not None
    barred, repeats = (obs.history_items, repeats) if hidden is None else (hidden, False)

    def search(step: Step, seen: Array, barred: Array) -> Slate:
        return beam_search(step, catalogue.trie, barred, beams, repeats=repeats)

    found = user_steps(shape, params, catalogue, obs, rows, search, barred)
    if catalogue.dense is None:
        return found
    memory, context = _remembered(shape, params, catalogue, obs, rows)
    context = None if context is None else context[:, None]
    state = cast(Array, Generator(shape).apply({"params": params}, memory, context, method="state"))[:, 0]

    def check(slate: Slate, state: Array, seen: Array) -> Slate:
        assert catalogue.dense is not None
        chances = chances_of(params, catalogue.dense, state)
        return checked(slate, catalogue.dense, chances, seen, repeats=repeats)

    return jax.vmap(check)(found, state, barred)


def scores(
    shape: Shape, params: Params, catalogue: Catalogue, obs: Observation, rows: int, beams: int, *, repeats: bool
) -> Array:
    """Scores of all items for users [B]: those of `slates`, and -inf for items that are in no slate: [B, I]."""
    found = slates(shape, params, catalogue, obs, rows, beams, repeats=repeats)
    return jax.vmap(lambda one: scores_of_items(one, catalogue.codes.shape[0]))(found)


def samples(
    shape: Shape,
    params: Params,
    catalogue: Catalogue,
    obs: Observation,
    rows: int,
    keys: Array,
    count: int,
    *,
    replace: bool = False,
    repeats: bool = False,
) -> Samples:
    """`count` items of the tree for each of users [B] with keys [B], drawn by their chances; leaves [B, ...]."""

    def search(step: Step, seen: Array, key: Array) -> Samples:
        return sample(step, catalogue.trie, seen, key, count, replace=replace, repeats=repeats)

    return user_steps(shape, params, catalogue, obs, rows, search, keys)


def _remembered(
    shape: Shape, params: Params, catalogue: Catalogue, obs: Observation, rows: int
) -> tuple[Memory, Array | None]:
    """What the latest `rows` rows of users leave, and the contexts of their visits [B, C]."""
    assert obs.history_items is not None and obs.history_feedback is not None
    items, feedback = obs.history_items[:, -rows:], obs.history_feedback[:, -rows:]
    context = obs.context
    # A history has no context of its earlier visits, so these rows get that of the visit.
    spread = None if context is None else jnp.broadcast_to(context[:, None], (*items.shape, context.shape[-1]))
    history = history_of(catalogue, items, feedback, spread)
    memory = Generator(shape).apply({"params": params}, history, items != PADDING, method="remember")
    return cast(Memory, memory), context


def user_steps(
    shape: Shape,
    params: Params,
    catalogue: Catalogue,
    obs: Observation,
    rows: int,
    search: Callable[..., Any],
    *extra: Any,
) -> Any:
    """Run `search(step of the user, observed history [H], *extra)` for users [B], whose histories are read once.

    `extra` are pytrees with leaves [B, ...], of which each search gets its user's part.
    """
    assert obs.history_items is not None
    generator = Generator(shape)
    memory, context = _remembered(shape, params, catalogue, obs, rows)

    def one(memory: Memory, seen: Array, context: Array | None, *own: Any) -> Any:
        kept = jax.tree.map(lambda x: x[None], memory)

        def step(level: int, carried: Any, code: Array | None, parent: Array | None) -> tuple[Array, Any]:
            if parent is not None:
                carried = jax.tree.map(lambda x: x[:, parent], carried)
            before = None if code is None else code[None]
            count = 1 if code is None else code.shape[0]
            visit = None if context is None or level else context[None, None]
            logits, left = generator.apply(
                {"params": params}, level, kept, carried, before, visit, count, method="write"
            )
            return logits[0], left

        return search(step, seen, *own)

    return jax.vmap(one)(memory, obs.history_items, context, *extra)
