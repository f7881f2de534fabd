"""Fitted users whose answers are known: every item is answered with the same probabilities, whatever came before."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.config.logged import ResponseConfig
from jaxrec.data import Log
from jaxrec.envs.logged_world import make_world
from jaxrec.nets.response import ResponseHead, UserEncoder
from jaxrec.supervised.response import Response
from jaxrec.types import World

KINDS = ("liked", "disliked")


def constant_response(probabilities: Sequence[float], items: int) -> Response:
    """Zero weights everywhere, so that what is left is the items' logits; P(feedback kind) = `probabilities`."""
    config = ResponseConfig(history_length=4, width=4, layers=1, heads=1, recent=())
    kinds, width = len(probabilities), config.width
    user, rows, mask = UserEncoder(width, 1, 1), jnp.zeros((4, width)), jnp.zeros(4, bool)
    features = jnp.zeros(1 + kinds)
    key = jax.random.key(0)
    params = {
        "user": user.init(key, rows, jnp.zeros((4, kinds)), mask, features, last=True)["params"],
        "head": ResponseHead(kinds).init(key, jnp.zeros(width), jnp.zeros((1, width)), jnp.zeros((1, kinds)))["params"],
    }
    logits = jnp.asarray([np.log(p / (1 - p)) if p < 1 else 30.0 for p in probabilities], jnp.float32)
    return Response(
        params=jax.tree.map(jnp.zeros_like, params),
        items=jnp.zeros((items, width)),
        item_logits=jnp.broadcast_to(logits, (items, kinds)),
        base=jnp.full(kinds, 0.5),
        scale=jnp.ones(kinds),
        shift=jnp.zeros(kinds),
        config=config,
        feedback_names=KINDS[:kinds],
    )


def constant_world(*members: Sequence[float], table: np.ndarray | None = None, text_size: int | None = None) -> World:
    """Users of an ensemble of constant members; a catalogue of the rows of `table`, else of 60 unlike items."""
    table = np.eye(60, dtype=np.float32) if table is None else table
    kinds = len(members[0])
    log = Log(
        user=np.array([0, 0, 1], np.int32),
        item=np.array([0, 1, 2], np.int32),
        time=np.arange(3),
        feedback=np.ones((3, kinds), np.float32),
        feedback_names=KINDS[:kinds],
        num_users=2,
        num_items=len(table),
    )
    responses = [constant_response(p, len(table)) for p in members]
    return make_world(responses, log, table, text_size or table.shape[1])
