"""Likelihood of short texts after prompts: each prompt is read once, then all its continuations together."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError
from jaxrec.encoder.batches import round_up
from jaxrec.encoder.transformer import Cache, Transformer
from jaxrec.language.model import LanguageModel, check_lengths, head, run
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array, Params

Ids = Sequence[int]
Advance = Callable[[int], None]
# Tokens of prompts, and of continuations, in one call. Every token of a continuation has a logit for each word: 512 of
# them are 100 MB for 49,152 words.
READ, SCORED = {"cpu": 512}, {"cpu": 512}
READ_MANY, SCORED_MANY = 16_384, 4_096  # on accelerators
PROMPT_STEP, TEXT_STEP = 32, 4  # padded lengths are multiples of these, or of an eighth of the next power of two


@functools.cache
def read_program(module: Transformer):
    """Compiled params, ids [B, P], mask [B, P] -> cache of the prompts; equal architectures share it."""
    return compiled(lambda params, ids, mask: run(module, params, ids, mask)[1])


@functools.cache
def score_program(module: Transformer):
    """Compiled params, cache of A prompts, ids, mask, targets [B, T] -> log-likelihood of the targets [B]."""

    def score(params: Params, cache: Cache, ids: Array, mask: Array, targets: Array) -> Array:
        logits = head(params, run(module, params, ids, mask, cache)[0], module.dtype)
        own = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
        return jnp.where(mask > 0, own - jax.nn.logsumexp(logits, axis=-1), 0.0).sum(-1)

    return compiled(score)


def likelihoods(
    lm: LanguageModel,
    prompts: Sequence[Ids],
    continuations: Sequence[Sequence[Ids]],
    advance: Advance = lambda done: None,
    advice: str = "give shorter texts",
) -> list[np.ndarray]:
    """Log-likelihood, natural, of each continuation after its prompt: an array [C] for each prompt.

    Prompts and continuations are token ids, of at least one token. `advance` is called with the number of prompts done.
    Raises InputError for a prompt that is longer, with its longest continuation, than the model can read (`advice` says
    what to change), and for likelihoods that are not finite.
    """
    for row, (prompt, own) in enumerate(zip(prompts, continuations, strict=True)):
        if not prompt or not all(own):
            raise InputError(f"prompts[{row}]: expected at least one token in the prompt and in every text after it.")
    longest = [len(prompt) + max(map(len, own), default=0) for prompt, own in zip(prompts, continuations, strict=True)]
    check_lengths(lm, longest, "prompts", advice)
    results = [np.zeros(len(own), np.float64) for own in continuations]
    backend = jax.default_backend()
    most, scored = READ.get(backend, READ_MANY), SCORED.get(backend, SCORED_MANY)
    text = round_up(max((len(one) for own in continuations for one in own), default=1), TEXT_STEP)
    order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
    while order:
        width = int(min(round_up(len(prompts[order[0]]), PROMPT_STEP), lm.config.max_length))
        lines = min(max(1, most // width), max(1, scored // text), len(prompts))
        rows, order = order[:lines], order[lines:]
        _score(lm, [(prompts[row], continuations[row], results[row]) for row in rows], (lines, width))
        advance(len(rows))
    for row, one in enumerate(results):
        if not np.isfinite(one).all():
            raise InputError(f"{lm.name}: prompts[{row}] has no finite likelihood; the weights are damaged.")
    return results


def _score(lm: LanguageModel, users: Sequence[tuple[Ids, Sequence[Ids], np.ndarray]], sizes: tuple[int, int]) -> None:
    """Fill in the results of some (prompt, continuations, result); `sizes` are lines and slots of the cache."""
    lines, width = sizes
    # The last token of the prompt is read with each continuation, so that its logits come with the others.
    cache = read_program(lm.module)(lm.params, *padded([prompt[:-1] for prompt, _, _ in users], lines, width))
    orders = [sorted(range(len(own)), key=lambda n: -len(own[n])) for _, own, _ in users]
    start, count = 0, max(map(len, orders))
    while start < count:
        longest = max(len(own[order[start]]) for (_, own, _), order in zip(users, orders, strict=True) if order[start:])
        length = int(min(round_up(longest, TEXT_STEP), lm.config.max_length))
        each = max(1, min(SCORED.get(jax.default_backend(), SCORED_MANY) // (lines * length), count))
        ids, targets = [], []
        for (prompt, own, _), order in zip(users, orders, strict=True):
            texts = [own[n] for n in order[start : start + each]]
            ids += [[prompt[-1], *text[:-1]] for text in texts] + [[]] * (each - len(texts))
            targets += [*texts, *[[]] * (each - len(texts))]
        tokens, mask = padded(ids, lines * each, length)
        scores = score_program(lm.module)(lm.params, cache, tokens, mask, padded(targets, lines * each, length)[0])
        found = np.asarray(scores, np.float64).reshape(lines, each)
        for line, ((_, _, result), order) in enumerate(zip(users, orders, strict=True)):
            rows = order[start : start + each]
            result[rows] = found[line, : len(rows)]
        start += each


def padded(texts: Sequence[Ids], lines: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask [lines, width] int32, padding on the right."""
    ids, mask = np.zeros((2, lines, width), np.int32)
    for line, text in enumerate(texts):
        ids[line, : len(text)] = text
        mask[line, : len(text)] = 1
    return ids, mask
