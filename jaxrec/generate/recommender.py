"""A generator as a recommender: observations in, slates of items out; all on the device."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import struct

from jaxrec.generate.beam import Slate, Step, beam_search
from jaxrec.generate.trie import Trie
from jaxrec.nets.generator import Generator, History, Memory, Shape
from jaxrec.types import PADDING, Array, Observation, Params


class Catalogue(struct.PyTreeNode):
    """What a generator knows of the items."""

    codes: Array  # [I, L] int32
    table: Array | None  # [I, E] item table; None: histories have no vectors of items
    trie: Trie  # of the items that may be recommended


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
) -> Slate:
    """The best items of users [B] by beam search, from the latest `rows` rows of their histories: [B, K].

    No item of the whole observed history [B, H] is in a slate, unless the log `repeats` items.
    """

    def search(step: Step, seen: Array) -> Slate:
        return beam_search(step, catalogue.trie, seen, beams, repeats=repeats)

    return user_steps(shape, params, catalogue, obs, rows, search)


def user_steps(
    shape: Shape,
    params: Params,
    catalogue: Catalogue,
    obs: Observation,
    rows: int,
    search: Callable[[Step, Array], Any],
) -> Any:
    """Run `search(step of the user, observed history [H])` for users [B], whose histories are read once."""
    assert obs.history_items is not None and obs.history_feedback is not None
    items, feedback = obs.history_items[:, -rows:], obs.history_feedback[:, -rows:]
    generator = Generator(shape)
    context = obs.context
    # A history has no context of its earlier visits, so these rows get that of the visit.
    spread = None if context is None else jnp.broadcast_to(context[:, None], (*items.shape, context.shape[-1]))
    history = history_of(catalogue, items, feedback, spread)
    memory = cast(Memory, generator.apply({"params": params}, history, items != PADDING, method="remember"))

    def one(memory: Memory, seen: Array, context: Array | None) -> Any:
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

        return search(step, seen)

    return jax.vmap(one)(memory, obs.history_items, context)
