"""Reasons of recommendations without a language model: what moved a score, what two items share, and one sentence.

Every fact in a sentence is in the data: titles of the history, words that are in the texts of both items, and
categories that both items have. The sentence does not say that shared words or categories caused the score.
"""

import collections
import dataclasses
import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jaxrec.data.item_features import Encodings

WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
SHORTEST = 3  # letters of a word that is named
COMMON = 0.1  # share of the catalogue; words in more texts than that, such as "the", say nothing about two items
ALWAYS_NAMED = 2  # texts in which a word may be, whatever the size of the catalogue
COUNTED = 20_000  # texts in which words are counted; of a larger catalogue, every n-th
NAMED, MOST_FACTS = 2, 3  # items of the history in a sentence; words, and categories, of each
STRONG = 0.5  # part of the largest change that the second named item must have
MOVED = 1e-5  # a smaller change than this part of 1 + |score| may be rounding
MOST_INFLUENCES = 10  # of an item in an answer of the service, the largest changes
LONGEST_TITLE = 100  # characters in a sentence
TEMPLATE, LANGUAGE_MODEL = "template", "language model"  # what wrote a sentence


@dataclasses.dataclass(frozen=True)
class Influence:
    """What one row of the history does to the score of one recommended item."""

    id: str
    title: str
    change: float  # the score, minus the score without this row
    positive: bool  # whether the feedback of the row was rewarded
    words: tuple[str, ...] = ()  # in both texts, as the history has them; the rarest in the catalogue first
    categories: tuple[str, ...] = ()  # "VALUE (FEATURE)" of both items, the rarest first


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why one item was recommended."""

    id: str
    title: str
    score: float
    influences: tuple[Influence, ...]  # of all rows that the policy reads, the largest change first
    because: tuple[Influence, ...]  # those that the sentence names
    sentence: str
    sentence_by: str = TEMPLATE

    @property
    def moved(self) -> float:
        """Changes of the score above this are more than rounding."""
        return MOVED * (1.0 + abs(self.score))


def as_json(reason: Reason) -> dict[str, Any]:
    """A reason in an answer of the service."""
    influences = [dataclasses.asdict(one) for one in reason.influences[:MOST_INFLUENCES]]
    return {"id": reason.id, "sentence": reason.sentence, "influences": influences}


class Facts:
    """What is known of the items of a catalogue, and what two of them share."""

    def __init__(self, texts: Sequence[str], table: np.ndarray, features: Encodings, after: int):
        """`table` [I, E] has the texts, the blocks of `features` and `after` further columns (`runs.item_table`)."""

        @functools.lru_cache(4096)
        def keys(row: int) -> dict[str, str]:
            return _keys(texts[row])

        self._keys = keys
        self._columns: list[tuple[int, str]] = []  # of the table, and the category that a positive number there means
        self._table = table
        first = start = table.shape[1] - after - sum(one.width for one in features.values())
        for name, one in features.items():
            block = table[:, max(start, 0) : start + one.width]
            if one.kind == "category" and start >= 0 and _is_block(block, one.scale * first**0.5):
                self._columns += [(start + n, f"{value} ({name})") for n, value in enumerate(one.values)]
            start += one.width
        counted = texts[:: max(1, -(-len(texts) // COUNTED))]
        self._having = collections.Counter(key for text in counted for key in _keys(text))  # texts with each word
        self._common = max(ALWAYS_NAMED, COMMON * len(counted))
        self._places = np.array([column for column, _ in self._columns], int)
        self._frequency = (table[:, self._places] > 0).sum(0)

    def words(self, row: int, other: int) -> tuple[str, ...]:
        """Words in the texts of both items, as the first text writes them, without common ones; the rarest first."""
        mine, theirs = self._keys(row), self._keys(other)
        shared = [key for key in mine if key in theirs and self._having[key] <= self._common]
        return tuple(mine[key] for key in sorted(shared, key=lambda key: self._having[key])[:MOST_FACTS])

    def categories(self, row: int, other: int) -> tuple[str, ...]:
        """Categories of both items, the rarest first."""
        both = (self._table[row, self._places] > 0) & (self._table[other, self._places] > 0)
        shared = [(self._frequency[n], self._columns[n][1]) for n in np.flatnonzero(both)]
        return tuple(name for _, name in sorted(shared, key=lambda one: one[0])[:MOST_FACTS])


def make_reason(item: tuple[str, str], score: float, influences: Iterable[Influence]) -> Reason:
    """Choose the strongest influences on an item (id, title), and say them in one sentence."""
    ordered = tuple(sorted(influences, key=lambda one: -abs(one.change)))
    bare = Reason(*item, score, ordered, (), "")
    raising = sorted((one for one in ordered if one.change > bare.moved), key=lambda one: -one.change)
    named: dict[str, Influence] = {}
    for one in raising:
        if len(named) < NAMED and one.change >= STRONG * raising[0].change:
            named.setdefault(one.id, one)
    because = tuple(named.values())
    return dataclasses.replace(bare, because=because, sentence=_sentence(bare, because))


def _sentence(reason: Reason, because: Sequence[Influence]) -> str:
    if not reason.influences:
        return "Nothing is known of this user, so this is what a new user gets."
    if not because:
        if max(abs(one.change) for one in reason.influences) <= reason.moved:
            return "No single item in the history changed its score."
        return "No item in the history raised its score; it is recommended although some lowered it."
    names = _listed([f"“{_short(one)}”" + ("" if one.positive else " (without positive feedback)") for one in because])
    facts = [_facts(one) for one in because]
    if not any(facts):
        return f"Mostly because of {names} in the history, which raised its score the most."
    if len(because) == 1:
        return f"Mostly because of {names} in the history, which has {facts[0]} in common with it."
    if facts[0] == facts[1]:
        return f"Mostly because of {names} in the history, which both have {facts[0]} in common with it."
    parts = [f"“{_short(one)}” has {fact} in common with it" for one, fact in zip(because, facts, strict=True) if fact]
    return f"Mostly because of {names} in the history: {_listed(parts)}."


def _facts(one: Influence) -> str:
    """'the words space and rockets, and the category Drama (genre)', or nothing."""
    found = []
    for noun, plural, values in (("word", "words", one.words), ("category", "categories", one.categories)):
        if values:
            found.append(f"the {noun if len(values) == 1 else plural} {_listed([f'“{value}”' for value in values])}")
    return " and ".join(found)


def _short(one: Influence) -> str:
    title = " ".join((one.title or one.id).split())
    return title if len(title) <= LONGEST_TITLE else f"{title[: LONGEST_TITLE - 1]}…"


def _listed(parts: Sequence[str]) -> str:
    """'a', 'a and b', or 'a, b and c'."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _keys(text: str) -> dict[str, str]:
    """Words of a text without regard to their case: how each is compared, and how it is written first."""
    found: dict[str, str] = {}
    for word in WORD.findall(unicodedata.normalize("NFC", text)):
        if len(word) >= SHORTEST:
            found.setdefault(word.casefold(), word)
    return found


def _is_block(block: np.ndarray, present: float) -> bool:
    """Whether columns of a table are those of an encoded category: nothing but 0 and the number `present`."""
    some = block[:COUNTED]
    return bool(((some == 0) | np.isclose(some, present, rtol=1e-3)).all())
