"""Random generators over small catalogues, for tests of what serves them."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.generate.dense import NAME, DenseItems, init_towers
from jaxrec.generate.saved import SavedGenerator
from jaxrec.nets.generator import Shape, init_generator
from jaxrec.serve.generator import GenerativePolicy
from jaxrec.types import EnvSpec, SlateAction
from tests.serve.small_policy import KINDS


def small_generator(
    num_items: int = 40, beams: int = 40, *, repeats: bool = False, context: int = 0, cold: tuple[int, ...] = ()
) -> GenerativePolicy:
    """A generator with random parameters; item n has the id "n". With `cold` items, it has the dense check."""
    rng = np.random.default_rng(0)
    sizes = 4, 4, num_items
    codes = np.stack([rng.integers(0, 4, num_items), rng.integers(0, 4, num_items), np.arange(num_items)], axis=1)
    shape = Shape(sizes=sizes, width=8, layers=1, heads=2, hidden=16, item_rows=False)
    spec = EnvSpec(
        name="logged",
        action=SlateAction(size=1),
        num_items=num_items,
        feedback=("liked",),
        history_length=6,
        context_size=context,
        reward_weights=(1.0,),
        repeats=repeats,
    )
    params = init_generator(shape, jax.random.key(0), feedback=1, vectors=0, context=context)
    dense = None
    if cold:
        vectors = rng.normal(size=(num_items, 5)).astype(np.float32)
        known = np.setdiff1d(np.arange(num_items), cold).astype(np.int32)
        dense = DenseItems(*(jnp.asarray(x) for x in (vectors, known, np.array(cold, np.int32))))
        params = {**params, NAME: init_towers(jax.random.key(1), 8, (num_items, 5), False)}
    ids = tuple(str(n) for n in range(num_items))
    usual = np.full(context, 0.5, np.float32) if context else None
    saved = SavedGenerator(
        shape=shape,
        rows=4,
        beams=beams,
        params=params,
        codes=codes.astype(np.int32),
        table=None,
        recommendable=np.arange(1, num_items, dtype=np.int32),  # item 0 may not be shown
        usual_context=usual,
        spec=spec,
        feedback=KINDS,
        ids=ids,
        titles=tuple(f"Title {n}" for n in ids),
        step=7,
        dense=dense,
    )
    return GenerativePolicy(saved)
