"""Texts written by a decoder: the prompt is read once, then one token after the other from the cache, on the device.

What all prompts begin with, such as the instructions, is read once for all of them. A text is greedy, or drawn from the
tokens that together have the chance `top_p` (nucleus sampling, Holtzman et al., arXiv 1904.09751). An `Automaton`
restricts it: only tokens of edges from its state may come next.
"""

import dataclasses
import functools
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax

from jaxrec.checks import InputError, check_range
from jaxrec.encoder.batches import round_up
from jaxrec.encoder.transformer import Cache, Transformer
from jaxrec.language.model import LanguageModel, check_lengths, head, run
from jaxrec.language.score import PROMPT_STEP, Ids, padded
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array, Params

# Tokens in the caches of one call. A token of SmolLM2-135M has 46 kB of keys and values.
HELD, HELD_MANY = {"cpu": 4_096}, 16_384
SLOTS = (3, 3, 1)  # axes of the slots in keys, values and mask of a cache
FEWEST_EDGES = 512  # padded numbers of edges are this and its doubles, so that few programs are compiled


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoding:
    """How texts are written."""

    new_tokens: int = 64  # at most
    top_p: float | None = None  # draw from the likeliest tokens that have this chance together; None: greedy
    temperature: float = 1.0  # of draws: logits are divided by it

    def __post_init__(self):
        check_range("new_tokens", self.new_tokens, 1)
        check_range("temperature", self.temperature, 1e-3, 1e3)
        if self.top_p is not None:
            check_range("top_p", self.top_p, 1e-6, 1.0)


class Automaton(NamedTuple):
    """Which tokens may come next: E edges between states. A text begins in state 0, and ends where no edge leaves."""

    source: Ids  # [E] states
    token: Ids  # [E]
    target: Ids  # [E] states


class Written(NamedTuple):
    """A text after its prompt."""

    ids: list[int]  # without the stop token
    log_chances: np.ndarray  # [len(ids)] of each token under the model, natural, without top_p and automaton
    whole: bool  # it ended by itself, not by the limit of new tokens


class _Writing(struct.PyTreeNode):
    """B texts while they are written; N is the limit of new tokens, S = P + N the slots of the cache."""

    cache: Cache  # of B lines and S slots
    tokens: Array  # [B, N] int32; -1: none
    chances: Array  # [B, N]
    states: Array  # [B] int32, of the automata
    ended: Array  # [B] bool
    count: Array  # [] int32, tokens chosen so far


class _Rules(NamedTuple):
    """What choices of tokens read."""

    keys: Array | None  # [B] typed, None: greedy
    top_p: Array  # []
    temperature: Array  # []
    stop: Array  # [K] int32 tokens
    edges: Array | None  # [3, B, E] int32: source, token, target; source -1 for padding


def nucleus(logits: Array, top_p: Array) -> Array:
    """Logits [..., C] with -inf outside the fewest largest ones whose softmax adds up to at least `top_p` []."""
    ordered = jnp.flip(jnp.sort(logits, axis=-1), axis=-1)
    chances = jax.nn.softmax(ordered, axis=-1)
    before = jnp.cumsum(chances, axis=-1) - chances
    least = jnp.where(before < top_p, ordered, jnp.inf).min(axis=-1, keepdims=True)
    return jnp.where(logits >= least, logits, -jnp.inf)


def _choose(writing: _Writing, logits: Array, rules: _Rules) -> _Writing:
    """Add one token to each text by the logits [B, V] after what is written."""
    scores, allowed = logits, jnp.ones(len(logits), bool)
    if rules.edges is not None:
        own = jnp.take_along_axis(logits, rules.edges[1], axis=1)
        scores = jnp.where(rules.edges[0] == writing.states[:, None], own, -jnp.inf)
        allowed = (rules.edges[0] == writing.states[:, None]).any(axis=1)
    if rules.keys is None:
        place = scores.argmax(axis=1)
    else:
        drawn = nucleus(jnp.where(allowed[:, None], scores, 0.0) / rules.temperature, rules.top_p)
        keys = jax.vmap(lambda key: jax.random.fold_in(key, writing.count))(rules.keys)
        place = jax.vmap(jax.random.categorical)(keys, drawn)
    token, states = place.astype(jnp.int32), writing.states
    if rules.edges is not None:
        token, states = (jnp.take_along_axis(x, place[:, None], axis=1)[:, 0] for x in rules.edges[1:])
    ended = writing.ended | ~allowed | (token[:, None] == rules.stop[None]).any(axis=1)
    own = jnp.take_along_axis(logits, token[:, None], axis=1)[:, 0] - jax.nn.logsumexp(logits, axis=1)
    return writing.replace(
        tokens=writing.tokens.at[:, writing.count].set(jnp.where(ended, -1, token)),
        chances=writing.chances.at[:, writing.count].set(own),
        states=states,
        ended=ended,
        count=writing.count + 1,
    )


def _write(
    module: Transformer, limit: int, params: Params, shared: Array, ids: Array, mask: Array, rules: _Rules
) -> tuple[Array, Array, Array]:
    """Prompts of `shared` [1, S] and then ids [B, P] with their mask -> tokens and log-chances [B, N], ends [B]."""
    lines, width = ids.shape[0], shared.shape[1] + ids.shape[1]
    hidden, cache = _read_prompts(module, limit, params, shared, ids, mask)
    empty = jnp.full((lines, limit), -1, jnp.int32)
    ended = mask.sum(axis=1) == 0  # lines that only fill the batch
    zeros = jnp.zeros(lines, jnp.int32)
    writing = _Writing(cache, empty, jnp.zeros((lines, limit)), zeros, ended, jnp.zeros((), jnp.int32))
    last = jnp.maximum(mask.sum(axis=1) - 1, 0)
    after = jnp.take_along_axis(hidden, last[:, None, None], axis=1)[:, 0]

    def step(writing: _Writing) -> _Writing:
        # Lines that ended go on reading token 0: nothing of theirs is kept.
        token = jnp.maximum(lax.dynamic_index_in_dim(writing.tokens, writing.count - 1, axis=1), 0)
        hidden, new = run(module, params, token, jnp.ones_like(token), writing.cache)
        slot, (key, value, seen) = width + writing.count - 1, writing.cache
        cache = Cache(
            lax.dynamic_update_slice_in_dim(key, new.key, slot, axis=3),
            lax.dynamic_update_slice_in_dim(value, new.value, slot, axis=3),
            lax.dynamic_update_slice_in_dim(seen, new.mask, slot, axis=1),
        )
        return _choose(writing.replace(cache=cache), head(params, hidden[:, 0], module.dtype), rules)

    def going(writing: _Writing) -> Array:
        return (writing.count < limit) & ~writing.ended.all()

    written = lax.while_loop(going, step, _choose(writing, head(params, after, module.dtype), rules))
    return written.tokens, written.chances, written.ended


def _read_prompts(
    module: Transformer, limit: int, params: Params, shared: Array, ids: Array, mask: Array
) -> tuple[Array, Cache]:
    """Hidden vectors [B, P, E] of `ids`, and a cache of S + P + `limit` slots."""
    if shared.shape[1]:
        before = run(module, params, shared, jnp.ones_like(shared))[1]
        hidden, new = run(module, params, ids, mask, before)
        copies = [jnp.repeat(x, len(ids), axis=axis) for x, axis in zip(before, (1, 1, 0), strict=True)]
        new = Cache(*(jnp.concatenate(pair, axis) for *pair, axis in zip(copies, new, SLOTS, strict=True)))
    else:
        hidden, new = run(module, params, ids, mask)
    room = [[(0, limit if n == axis else 0) for n in range(x.ndim)] for x, axis in zip(new, SLOTS, strict=True)]
    return hidden, Cache(*(jnp.pad(x, one) for x, one in zip(new, room, strict=True)))


@functools.cache
def write_program(module: Transformer, limit: int):
    """Compiled params, shared [1, S], ids and mask [B, P], rules -> tokens of at most `limit`, their chances, ends."""
    return compiled(functools.partial(_write, module, limit))


def generate(
    lm: LanguageModel,
    prompts: Sequence[Ids],
    how: Decoding | None = None,
    *,
    key: Array | None = None,
    stop: Collection[int] | None = None,
    automata: Sequence[Automaton] | None = None,
    advice: str = "give shorter texts",
) -> list[Written]:
    """Write a text after each prompt of token ids.

    `stop` tokens end a text; None: the end of a text or of an answer by the model's tokenizer. Draws need a `key`, and
    those of a prompt depend on its place among the prompts, not on the others. `automata` has one for each prompt. All
    texts of one padded length of prompts share a program. Raises InputError for an empty prompt, for one that with the
    new tokens is longer than the model reads (`advice` says what to change), and for chances that are not finite.
    """
    how = how or Decoding()
    if not all(prompts):
        raise InputError("prompts: expected at least one token in every prompt.")
    if (key is None) != (how.top_p is None):
        raise InputError("key: a random key is needed with top_p, and only with it.")
    check_lengths(lm, [len(prompt) + how.new_tokens for prompt in prompts], "prompts", advice)
    ends = jnp.array(sorted(stop_tokens(lm) if stop is None else stop) or [-1], jnp.int32)
    most = HELD.get(jax.default_backend(), HELD_MANY)
    results: list[Any] = [None] * len(prompts)
    shared = _common_beginning(prompts)
    begun = np.array([shared], np.int32).reshape(1, -1)
    longest = lm.config.max_length - len(shared)
    order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
    while order:
        width = int(min(round_up(len(prompts[order[0]]) - len(shared), PROMPT_STEP), longest))
        lines = min(max(1, most // (len(shared) + width + how.new_tokens)), 1 << (len(order) - 1).bit_length())
        rows, order = order[:lines], order[lines:]
        ids, mask = padded([prompts[row][len(shared) :] for row in rows], lines, width)
        edges = None if automata is None else _edges([automata[row] for row in rows], lines)
        keys = None if key is None else jax.vmap(functools.partial(jax.random.fold_in, key))(_filled(rows, lines))
        rules = _Rules(keys, jnp.float32(how.top_p or 0.0), jnp.float32(how.temperature), ends, edges)
        found = jax.device_get(write_program(lm.module, how.new_tokens)(lm.params, begun, ids, mask, rules))
        for row, tokens, chances, ended in zip(rows, *found, strict=False):
            count = int((tokens >= 0).sum())
            if not np.isfinite(chances[:count]).all():
                raise InputError(f"{lm.name}: prompts[{row}] has no finite likelihood; the weights are damaged.")
            results[row] = Written(tokens[:count].tolist(), np.asarray(chances[:count]), bool(ended))
    return results


def stop_tokens(lm: LanguageModel) -> set[int]:
    """The token that ends a text or an answer, by the model's tokenizer; empty where it names none."""
    row = lm.tokenizer.token_to_id(lm.words.get("eos_token", ""))
    return set() if row is None else {row}


def _common_beginning(prompts: Sequence[Ids]) -> list[int]:
    """What several prompts begin with, without the last token of any; a multiple of the step of padded lengths."""
    if len(prompts) < 2:
        return []
    most = min(map(len, prompts)) - 1
    equal = next((n for n in range(most) if len({prompt[n] for prompt in prompts}) > 1), most)
    return list(prompts[0][: equal // PROMPT_STEP * PROMPT_STEP])


def _filled(rows: Sequence[int], lines: int) -> Array:
    return jnp.array([*rows, *[0] * (lines - len(rows))], jnp.uint32)


def _edges(automata: Sequence[Automaton], lines: int) -> Array:
    """Edges [3, B, E] int32 of some automata, padded."""
    most = max(1, *(len(one.source) for one in automata))
    edges = np.zeros((3, lines, max(FEWEST_EDGES, 1 << (most - 1).bit_length())), np.int32)
    edges[0] = -1
    for line, one in enumerate(automata):
        edges[:, line, : len(one.source)] = one
    return jnp.asarray(edges)
