"""Sizes of the parameters after every update, so that the error of a diverged training can name a parameter."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.types import Array

LARGEST = "largest parameters"  # the metric of `watched`; no learner has one of this name


def watched(update: Callable[..., tuple[Any, Any]], trained: Callable[[Any], Any]) -> Callable[..., tuple[Any, Any]]:
    """The same update with a further metric: `largest` of the part of its new state that is trained."""

    def update_and_watch(state: Any, *arguments: Any) -> tuple[Any, Any]:
        state, metrics = update(state, *arguments)
        return state, metrics | {LARGEST: largest(trained(state))}

    return update_and_watch


def largest(tree: Any) -> Array:
    """Largest magnitude in each leaf, in the order of `names`; NaN if one is in it; [leaves] float32."""
    return jnp.stack([jnp.abs(x).max(initial=0.0).astype(jnp.float32) for x in _numbers(tree).values()])


def names(tree: Any) -> list[str]:
    """Dotted names of the leaves that `largest` reads."""
    return list(_numbers(tree))


def _numbers(tree: Any) -> dict[str, Any]:
    """Leaves of real numbers by dotted name."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): x
        for path, x in jax.tree_util.tree_leaves_with_path(tree)
        if jnp.issubdtype(x.dtype, jnp.floating)
    }
