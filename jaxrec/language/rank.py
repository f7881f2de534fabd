"""Zero-shot ranking of items by a language model: the likelihood of their titles after those of a history."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxrec.checks import InputError
from jaxrec.foreign import quoted
from jaxrec.language.model import LanguageModel
from jaxrec.language.score import Advance, likelihoods

HISTORY = "{history}"
PROMPT = "Titles that one person liked, in this order:\n{history}"
CHAT_PROMPT = (
    "I liked these, in this order:\n{history}\nWhich title will I like next? Answer with the title and nothing else."
)
SHORTER = "give a shorter history (--history-length)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prompting:
    """How a history becomes a prompt.

    Without `chat` the history is a numbered list at the end of the prompt, and a candidate is its next entry. With
    `chat` the prompt is a user's message in the model's chat template, and a candidate is the answer.
    """

    template: str = ""  # text with {history}; empty: the one above
    chat: bool = False
    prior: bool = False  # subtract the likelihood of the title after an empty history

    @property
    def text(self) -> str:
        """The template; raises InputError for one without {history}."""
        text = self.template or (CHAT_PROMPT if self.chat else PROMPT)
        if text.count(HISTORY) != 1 or not (self.chat or text.endswith(HISTORY)):
            where = "once" if self.chat else "once, at its end"
            raise InputError(f"prompt: expected a text with {HISTORY} {where}, got {quoted(text)}.")
        return text


def prompt_ids(lm: LanguageModel, titles: Sequence[str], how: Prompting) -> list[int]:
    """Token ids of the prompt for the titles of a history, oldest first."""
    listed = "".join(f"{n}. {one_title(title)}\n" for n, title in enumerate(titles, 1))
    if how.chat:
        return lm.encode(lm.chat([{"role": "user", "content": how.text.replace(HISTORY, listed.rstrip("\n"))}]), False)
    return lm.encode(how.text.replace(HISTORY, f"{listed}{len(titles) + 1}."))


def one_title(title: str) -> str:
    """A title as one line."""
    return " ".join(title.split()) or "?"


def rank_titles(
    lm: LanguageModel,
    histories: Sequence[Sequence[str]],
    candidates: Sequence[Sequence[str]],
    how: Prompting | None = None,
    advance: Advance = lambda done: None,
) -> list[np.ndarray]:
    """Scores [C] of the candidates of each user: mean log-likelihood per token of the title after the history.

    The mean does not favour short titles as the sum would. Raises InputError for a prompt that is longer than the model
    reads.
    """
    how = how or Prompting()
    known: dict[str, list[int]] = {}
    for title in {title for own in candidates for title in own}:
        known[title] = lm.encode(one_title(title) if how.chat else f" {one_title(title)}", False)
    prompts = [prompt_ids(lm, titles, how) for titles in histories]
    texts = [[known[title] for title in own] for own in candidates]
    sums = likelihoods(lm, prompts, texts, advance, SHORTER)
    scores = [one / np.array([len(text) for text in own]) for one, own in zip(sums, texts, strict=True)]
    if not how.prior:
        return scores
    titles = list(known)
    (alone,) = likelihoods(lm, [prompt_ids(lm, [], how)], [[known[title] for title in titles]])
    before = {title: value / len(known[title]) for title, value in zip(titles, alone, strict=True)}
    return [one - np.array([before[title] for title in own]) for one, own in zip(scores, candidates, strict=True)]
