"""Likelihoods of titles after prompts, against the full pass over each text."""

from collections.abc import Sequence

import jax
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.language import LanguageModel, logits
from jaxrec.language.rank import Prompting, prompt_ids, rank_titles
from jaxrec.language.score import likelihoods

TITLES = ["the hat", "a", "The end (1999)", "heheheh", "t t t"]


def by_hand(lm: LanguageModel, prompt: Sequence[int], text: Sequence[int]) -> float:
    """The sum of the logarithms of the chances of each token, from one pass over all of them."""
    whole = [*prompt, *text]
    scores = np.asarray(jax.nn.log_softmax(logits(lm, [whole + [0] * (60 - len(whole))])[0]))
    return float(sum(scores[len(prompt) - 1 + n, token] for n, token in enumerate(text)))


def test_likelihoods_are_those_of_one_pass_over_prompt_and_text(tiny: LanguageModel) -> None:
    rng = np.random.default_rng(0)
    prompts = [rng.integers(0, 120, n).tolist() for n in (40, 1, 7, 33)]
    texts = [[rng.integers(0, 120, n).tolist() for n in sizes] for sizes in ((3, 9, 1), (5,), (2, 2), ())]
    got = likelihoods(tiny, prompts, texts)
    assert [len(one) for one in got] == [3, 1, 2, 0]
    for prompt, own, scores in zip(prompts, texts, got, strict=True):
        want = [by_hand(tiny, prompt, text) for text in own]
        np.testing.assert_allclose(scores, want, rtol=1e-4, atol=1e-3)


def test_a_score_is_the_mean_over_the_tokens_of_the_title(tiny: LanguageModel) -> None:
    how = Prompting(template="x\n{history}")
    prompt = tiny.encode("x\n1. he\n2.")
    assert prompt_ids(tiny, ["he"], how) == prompt
    (got,) = rank_titles(tiny, [["he"]], [TITLES], how)
    texts = [tiny.encode(f" {title}") for title in TITLES]
    want = [by_hand(tiny, prompt, text) / len(text) for text in texts]
    np.testing.assert_allclose(got, want, rtol=1e-4)
    (less,) = rank_titles(tiny, [["he"]], [TITLES], Prompting(template="x\n{history}", prior=True))
    before = [by_hand(tiny, tiny.encode("x\n1."), text) / len(text) for text in texts]
    np.testing.assert_allclose(less, np.subtract(want, before), rtol=1e-3, atol=1e-4)


def test_equal_shapes_are_compiled_once(tiny: LanguageModel) -> None:
    from jaxrec.language.score import read_program, score_program

    how = Prompting(template="x\n{history}")
    rank_titles(tiny, [["he"]], [TITLES], how)
    sizes = [program(tiny.module)._cache_size() for program in (read_program, score_program)]
    rank_titles(tiny, [["at"]], [TITLES[::-1]], how)
    assert [program(tiny.module)._cache_size() for program in (read_program, score_program)] == sizes


def test_prompts_that_are_too_long_are_refused_with_advice(tiny: LanguageModel) -> None:
    with pytest.raises(InputError, match=r"prompts\[1\]: \d+ tokens, but .* reads at most 64; give a shorter history"):
        rank_titles(tiny, [["a"], ["z" * 70]], [["b"], ["c"]])


@pytest.mark.parametrize(
    ("template", "chat"), [("no place", False), ("{history} and more", False), ("{history}{history}", True)]
)
def test_a_prompt_needs_one_place_for_the_history(template: str, chat: bool) -> None:
    with pytest.raises(InputError, match=r"prompt: expected a text with \{history\} once"):
        _ = Prompting(template=template, chat=chat).text


def test_a_model_without_chat_template_says_so(tiny: LanguageModel) -> None:
    assert not tiny.has_chat
    with pytest.raises(InputError, match="no chat template"):
        rank_titles(tiny, [["a"]], [["b"]], Prompting(chat=True))


def test_empty_texts_are_refused(tiny: LanguageModel) -> None:
    with pytest.raises(InputError, match=r"prompts\[0\]: expected at least one token"):
        likelihoods(tiny, [[1]], [[[]]])
