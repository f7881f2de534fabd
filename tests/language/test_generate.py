"""Texts by a decoder, against full passes over everything written so far, numpy and transformers."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.language import Automaton, Decoding, LanguageModel, generate, logits
from jaxrec.language.generate import nucleus, stop_tokens, write_program
from jaxrec.language.pieces import END, START, Piece, automaton

RNG = np.random.default_rng(0)
BEGINNING = RNG.integers(1, 100, 34).tolist()  # of all prompts: 32 tokens of it are read once
PROMPTS = [[*BEGINNING, *RNG.integers(1, 100, n).tolist()] for n in (3, 1, 17)]


def last_logits(lm: LanguageModel, text: Sequence[int]) -> np.ndarray:
    """The logits [V] after a text, by a pass over all of it."""
    return np.asarray(logits(lm, [[*text, *[0] * (64 - len(text))]])[0, len(text) - 1])


def by_hand(lm: LanguageModel, prompt: Sequence[int], count: int, paths: Automaton | None = None) -> list[int]:
    """Greedy tokens without a cache, along the edges of an automaton if there is one."""
    written, state = [], 0
    for _ in range(count):
        scores = last_logits(lm, [*prompt, *written])
        if paths is None:
            written.append(int(scores.argmax()))
            continue
        edges = [n for n, source in enumerate(paths.source) if source == state]
        if not edges:
            break
        best = max(edges, key=lambda n: scores[paths.token[n]])
        written.append(paths.token[best])
        state = paths.target[best]
    return written


@pytest.mark.parametrize("prompts", [PROMPTS, [[5], [9, 3]]])
def test_greedy_texts_are_those_of_full_passes(tiny: LanguageModel, prompts: list[list[int]]) -> None:
    """The first prompts share what is read once; two layers of the model see windows of 6 tokens only."""
    got = generate(tiny, prompts, Decoding(new_tokens=9), stop=())
    for prompt, one in zip(prompts, got, strict=True):
        assert one.ids == by_hand(tiny, prompt, 9) and not one.whole
        scores = [jax.nn.log_softmax(last_logits(tiny, [*prompt, *one.ids[:n]]))[one.ids[n]] for n in range(9)]
        np.testing.assert_allclose(one.log_chances, scores, atol=1e-3)


def test_a_text_ends_before_its_stop_token_and_others_go_on(tiny: LanguageModel) -> None:
    free = generate(tiny, PROMPTS, Decoding(new_tokens=9), stop=())
    stop = free[0].ids[2]
    for one, text in zip(generate(tiny, PROMPTS, Decoding(new_tokens=9), stop=[stop, 119]), free, strict=True):
        end = next((n for n, token in enumerate(text.ids) if token in (stop, 119)), 9)
        assert (one.ids, one.whole) == (text.ids[:end], end < 9)
    assert stop_tokens(tiny) == set()  # the folder names no end


def test_a_nucleus_is_the_fewest_tokens_with_enough_chance() -> None:
    chances = jnp.array([0.1, 0.4, 0.2, 0.3])
    for top_p, want in (
        (0.05, [1]),
        (0.39, [1]),
        (0.41, [1, 3]),
        (0.69, [1, 3]),
        (0.75, [1, 2, 3]),
        (1.0, [0, 1, 2, 3]),
    ):
        kept = nucleus(jnp.log(chances), jnp.float32(top_p))
        np.testing.assert_array_equal(np.flatnonzero(np.isfinite(kept)), want)


def test_draws_have_the_chances_of_the_model_within_the_nucleus(tiny: LanguageModel) -> None:
    prompt = [7, 30, 41]
    how = Decoding(new_tokens=1, top_p=0.8, temperature=2.0)
    drawn = [one.ids[0] for one in generate(tiny, [prompt] * 2000, how, key=jax.random.key(1), stop=())]
    scores = last_logits(tiny, prompt).astype(np.float64) / 2
    chances = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    order = np.argsort(-chances)
    kept = order[: int(np.searchsorted(np.cumsum(chances[order]), 0.8)) + 1]
    want = np.zeros(len(chances))
    want[kept] = chances[kept] / chances[kept].sum()
    got = np.bincount(drawn, minlength=len(chances)) / 2000
    assert set(drawn) <= set(kept.tolist()) and len(kept) > 3
    assert np.abs(got - want).max() < 4.5 * np.sqrt(0.25 / 2000)


def test_draws_depend_on_key_and_place_and_not_on_the_other_prompts(tiny: LanguageModel) -> None:
    how = Decoding(new_tokens=9, top_p=0.95)
    draws = [generate(tiny, PROMPTS, how, key=jax.random.key(seed), stop=()) for seed in (3, 3, 4)]
    first, again, other = [[one.ids for one in texts] for texts in draws]
    assert first == again != other
    others = [PROMPTS[0], [*BEGINNING, 50, 51], [*BEGINNING, 52]]
    assert generate(tiny, others, how, key=jax.random.key(3), stop=())[0].ids == first[0]


def test_an_automaton_allows_its_edges_only(tiny: LanguageModel) -> None:
    loop = Automaton([0, 0, 1, 1], [5, 6, 7, 8], [1, 0, 0, 2])  # 8 leads to state 2, where the text ends
    word = Automaton([0, 1], [40, 41], [1, 2])
    got = generate(tiny, PROMPTS, Decoding(new_tokens=9), stop=(), automata=[loop, word, loop])
    for row in (0, 2):
        assert got[row].ids == by_hand(tiny, PROMPTS[row], 9, loop)
    assert (got[1].ids, got[1].whole) == ([40, 41], True)


def test_pieces_allow_their_sentences_and_no_others(tiny: LanguageModel) -> None:
    """Pieces begin alike, one is the beginning of another, and two places have the same text."""
    table = {
        START: [("The", "name"), ("There", "name")],
        "name": [("hat", "last"), ("hat and he", "last"), ("heat", "and")],
        "and": [("and hat", "last"), ("then", "last")],
        "last": [(".", END), (", he.", END)],
    }
    paths = automaton(tiny, [Piece(at, text, after) for at, rows in table.items() for text, after in rows])
    steps: dict[int, list[tuple[int, int]]] = {}
    for source, token, target in zip(*paths, strict=True):
        steps.setdefault(source, []).append((token, target))

    def texts(state: int, ids: tuple[int, ...] = ()) -> list[str]:
        if state not in steps:
            return [tiny.decode(ids)]
        return [text for token, target in steps[state] for text in texts(target, (*ids, token))]

    middles = ["hat", "hat and he", "heat and hat", "heat then"]
    want = [f"{a} {b}{c}" for a, b, c in itertools.product(("The", "There"), middles, (".", ", he."))]
    assert sorted(texts(0)) == sorted(want)
    assert all(len({token for token, _ in own}) == len(own) for own in steps.values())


def test_prompts_of_one_padded_length_share_a_program(tiny: LanguageModel) -> None:
    program = write_program(tiny.module, 2)
    for length in (3, 20, 32):
        generate(tiny, [RNG.integers(1, 100, length).tolist()], Decoding(new_tokens=2), stop=())
    assert program._cache_size() == 1


@pytest.mark.parametrize(
    ("prompts", "more", "message"),
    [
        ([[1], []], {}, "prompts: expected at least one token in every prompt"),
        ([[2] * 60, [1]], {"advice": "give less"}, r"prompts\[0\]: 124 tokens, but .* reads at most 64; give less"),
        ([[1]], {"how": Decoding(new_tokens=2, top_p=0.5)}, "key: a random key is needed with top_p"),
    ],
)
def test_what_cannot_be_written_is_refused(tiny: LanguageModel, prompts: list, more: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        generate(tiny, prompts, **more)


@pytest.mark.parametrize("wrong", [{"new_tokens": 0}, {"top_p": 0.0}, {"top_p": 1.5}, {"temperature": 0.0}])
def test_decoding_checks_its_numbers(wrong: dict) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Decoding(**wrong)


def test_smollm_writes_what_transformers_writes(smollm: LanguageModel) -> None:
    """make_golden.py has generate() of LlamaForCausalLM on the same dequantised weights in float32."""
    rows = json.loads(Path(__file__).with_name("smollm2.json").read_text())["rows"]
    got = generate(smollm, [row["ids"] for row in rows], Decoding(new_tokens=24))
    assert [one.ids for one in got] == [row["greedy"] for row in rows]
    assert any(one.whole for one in got) and not all(one.whole for one in got)
