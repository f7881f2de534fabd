"""Batches of windows, from the plan of an epoch and keys of a step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxrec.config.pretrain import PretrainConfig
from jaxrec.supervised.user_windows import Bucket
from jaxrec.types import Array, Params

FULL_SOFTMAX_ITEMS, SAMPLED = 100_000, 4096  # recommendable items up to which the softmax is exact, and else negatives


class PretrainState(struct.PyTreeNode):
    """What one step reads and writes."""

    params: Params  # of the policy
    head: Params  # of the feedback loss; empty without it
    opt_state: optax.OptState
    key: Array  # [] typed PRNG key; the same at every step
    step: Array  # [] int32


class Keys(NamedTuple):
    """Random keys of one step."""

    cut: Array  # the same in all steps of an epoch
    augment: Array
    dropout: Array
    negatives: Array


class Batch(NamedTuple):
    """Which windows a step reads, and how."""

    slot: Array  # [] int32, number of the batch
    keys: Keys


class Plan(NamedTuple):
    """Static sizes."""

    buckets: tuple[Bucket, ...]
    num_users: int
    positions: int  # in a batch, with those that are empty
    negatives: int  # 0: the softmax is exact
    known: int | None = None  # the first recommendable items, which an exact softmax has; None: all


def num_negatives(config: PretrainConfig, recommendable: int) -> int:
    """Sampled negatives per step; 0 if the softmax is exact."""
    if config.negatives is not None or config.loss == "reinforce":
        return config.negatives or 0
    return SAMPLED if recommendable > FULL_SOFTMAX_ITEMS else 0


def steps_per_epoch(config: PretrainConfig, plan: Plan) -> int:
    """Batches of all windows, filled up to whole calls by repeating some."""
    batches = sum(bucket.batches for bucket in plan.buckets)
    return -(-batches // config.steps_per_call) * config.steps_per_call


def batch_of(state: PretrainState, epoch_steps: int, batches: int) -> Batch:
    """The batch of the next step, in an order of `batches` batches that is new in every epoch of `epoch_steps`."""
    epoch, place = state.step // epoch_steps, state.step % epoch_steps
    key_order, key_cut = jax.random.split(jax.random.fold_in(state.key, epoch))
    keys = Keys(key_cut, *jax.random.split(jax.random.fold_in(key_order, state.step), 3))
    slot = jax.random.permutation(key_order, epoch_steps)[place] % batches
    return Batch(slot, keys)


def of_bucket(plan: Plan, slot: Array, branch: Callable[..., Any], *operands: Any) -> Any:
    """Run `branch(bucket's number, bucket, number of the batch in it, *operands)` for the bucket of batch `slot` []."""
    branches, firsts = [], [0]
    for n, bucket in enumerate(plan.buckets):
        first = firsts[-1]
        branches.append(lambda *given, n=n, bucket=bucket, first=first: branch(n, bucket, slot - first, *given))
        firsts.append(first + bucket.batches)
    which = jnp.searchsorted(jnp.asarray(firsts[1:]), slot, side="right")
    return jax.lax.switch(which, branches, *operands)
