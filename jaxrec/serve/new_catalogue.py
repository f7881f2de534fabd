"""Use a saved policy in another catalogue: learned parameters follow the item ids, new items have only their text."""

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.nets.policy import Items, Policy, make_policy
from jaxrec.nets.tastes import Tastes
from jaxrec.serve.policy import SavedPolicy
from jaxrec.types import Array, Params, World

RESIDUALS = ("residual_vectors", "residual_bias")  # parameters with one row per item


class Deployed(NamedTuple):
    """A policy ready to score the items of one catalogue."""

    policy: Policy
    params: Params
    items: Items


def deployed_in(saved: SavedPolicy, ids: tuple[str, ...], world: World) -> Deployed:
    """Put the deployed policy into the rows of the catalogue `ids`, whose table is in `world`.

    Known items keep the rows that the policy was trained on. New items have their row of `world` in histories. The
    policy recommends only items that were recommendable when it was saved.
    """
    old, known = _rows(saved.ids, ids)
    table = np.array(world.item_table)
    table[known] = np.asarray(saved.world.item_table)[old]
    params = carried_params(saved, ids)
    policy = make_policy(dataclasses.replace(saved.spec, num_items=len(ids)), saved.network)
    items = policy.items(params, World(item_table=jnp.asarray(table), tastes=_carried_tastes(saved, ids)))
    offered = np.ones(len(saved.ids), bool)
    if saved.world.recommendable is not None:
        offered[:] = False
        offered[np.asarray(saved.world.recommendable)] = True
    shown = np.zeros(len(ids), bool)
    shown[known] = offered[old]
    return Deployed(policy, params, items.replace(bias=jnp.where(jnp.asarray(shown), items.bias, -jnp.inf)))


def turned(old: Sequence[str], ids: Sequence[str]) -> bool:
    """Whether two catalogues have the same items, but not in the same order."""
    return old != ids and len(old) == len(ids) and set(old) == set(ids)


def in_order(saved: SavedPolicy, ids: tuple[str, ...]) -> SavedPolicy:
    """Put the items of a policy into the order `ids`, which has the same items; scores stay those of their items.

    The order of a catalogue depends on which items have rows in the log, so a policy of a newer log has another one.
    Raises ValueError for other items.
    """
    if not turned(saved.ids, ids):
        raise ValueError("ids: expected the same items in another order.")
    old, _ = _rows(saved.ids, ids)  # [I] the row that was that of each item before
    world, shown = saved.world, saved.world.recommendable
    if shown is not None:
        shown = jnp.asarray(np.flatnonzero(np.isin(old, np.asarray(shown))), jnp.int32)
    world = World(world.item_table[old], shown, world.usual_context, tastes=_carried_tastes(saved, ids))
    texts = tuple(saved.texts[row] for row in old) if saved.texts else ()
    titles = tuple(saved.titles[row] for row in old)
    params = carried_params(saved, ids)
    return dataclasses.replace(saved, params=params, world=world, ids=ids, titles=titles, texts=texts)


def _carried_tastes(saved: SavedPolicy, ids: tuple[str, ...]) -> Tastes | None:
    """Move the tastes that the policy reads to the catalogue `ids`; nothing is known of new items but the mean."""
    tastes: Tastes | None = saved.world.tastes
    if tastes is None:
        return None
    old, known = _rows(saved.ids, ids)

    def moved(rows: Array, new: Array | float = 0.0) -> Array:
        return jnp.broadcast_to(new, (len(ids), *rows.shape[1:])).astype(rows.dtype).at[known].set(rows[old])

    effects = tastes.effects
    if effects is not None and effects.directions is not None:
        effects = effects.replace(directions=moved(effects.directions))
    logits = moved(tastes.item_logits, tastes.item_logits.mean(0))
    return tastes.replace(item_vectors=moved(tastes.item_vectors), item_logits=logits, effects=effects)


def carried_params(saved: SavedPolicy, ids: tuple[str, ...], titles: tuple[str, ...] | None = None) -> Params:
    """Move the parameters to the catalogue `ids`: those of one item follow its id and are zero for new items.

    With `titles`, an item of the catalogue is a known one only if its title is the same too: small numbers are ids in
    many catalogues.
    """
    if titles is None:
        old, known = _rows(saved.ids, ids)
    else:
        old, known = _rows(*(list(zip(*pair, strict=True)) for pair in ((saved.ids, saved.titles), (ids, titles))))
    flat: dict[tuple, Any] = flatten_dict(saved.params)  # type: ignore[assignment]
    for path, value in flat.items():
        if path[-1] in RESIDUALS:
            moved = np.zeros((len(ids), *value.shape[1:]), value.dtype)
            moved[known] = np.asarray(value)[old]
            flat[path] = jnp.asarray(moved)
    return unflatten_dict(flat)


def _rows(old_ids: Sequence[Hashable], ids: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """Find the items in both catalogues; gives their rows in the old and in the new one."""
    row = {item: n for n, item in enumerate(old_ids)}
    pairs = [(row[item], n) for n, item in enumerate(ids) if item in row]
    both = np.array(pairs, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]
