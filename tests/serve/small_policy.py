"""Random policies over small catalogues, for tests of what serves them."""

from pathlib import Path

import jax
import jax.numpy as jnp

from jaxrec.config.data import FeedbackKind
from jaxrec.config.policy import PolicyConfig
from jaxrec.nets.policy import make_policy
from jaxrec.serve import SavedPolicy, save_policy
from jaxrec.types import EnvSpec, SlateAction, World

KINDS = {"liked": FeedbackKind(column="rating", at_least=4.0)}


def small_policy(
    num_items: int = 50,
    shown: list[int] | None = None,
    encoder: str = "profile",
    history: int = 6,
    context: int = 0,
    **network,
) -> SavedPolicy:
    """A policy with random parameters; item n has the id "n"."""
    spec = EnvSpec(
        name="logged",
        action=SlateAction(size=2),
        num_items=num_items,
        feedback=("liked",),
        history_length=history,
        context_size=context,
        reward_weights=(1.0,),
    )
    config = PolicyConfig(**{"encoder": encoder, "width": 16, "hidden": (16,), **network})
    table = jax.random.normal(jax.random.key(1), (num_items, 12))
    world = World(item_table=table, recommendable=None if shown is None else jnp.array(shown, jnp.int32))
    params = make_policy(spec, config).init(jax.random.key(2), world)
    ids = tuple(str(n) for n in range(num_items))
    return SavedPolicy(config, params, world, spec, KINDS, ids, tuple(f"Title {n}" for n in ids), 7)


def save(saved: SavedPolicy, folder: Path) -> Path:
    """Write a policy folder."""
    save_policy(
        folder,
        params=saved.params,
        world=saved.world,
        spec=saved.spec,
        config=saved.network,
        feedback=saved.feedback,
        items=(saved.ids, saved.titles),
        step=saved.step,
    )
    return folder
