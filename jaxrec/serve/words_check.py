"""Whether a sentence says nothing about a recommendation that the data does not say.

The check reads the sentence alone and knows nothing of how it was written. A word is a fact, the name of an item of the
history, or one of `FUNCTION_WORDS`. A fact must hold of the recommended item and of every item that is named, so it is
true whichever of them the sentence gives it to.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from jaxrec.foreign import HIDDEN
from jaxrec.serve.reasons import WORD


def normalised(text: str) -> list[str]:
    """Words of a text without regard to case, as the texts and the sentences are compared."""
    return [word.casefold() for word in WORD.findall(unicodedata.normalize("NFC", text))]


# They say that something is recommended and why; no negation and no degree, which would be a claim of its own.
FUNCTION_WORDS = frozenset(
    normalised(
        "a also an and another are as be because both choice common could enjoy enjoyed for has have history if in is "
        "it its like liked may might more of pick recommended share shares since so suit that the this to too try "
        "which will with would you your"
    )
)
LONGEST = 300  # characters of a sentence
LIKING = ("liked", "enjoyed")
BEFORE_A_TITLE = (*LIKING, "have")
_TITLE = "\N{REPLACEMENT CHARACTER}"  # stands for the name of an item while a sentence is read
_LIST = re.compile(rf"{_TITLE}(?:(?: and|,) {_TITLE})*")
_REST = re.compile(r"[ ,’'-]*")


class Evidence(NamedTuple):
    """What may be said of one recommended item."""

    item: str  # its title
    named: tuple[tuple[str, ...], ...]  # items of the history that moved the score: the ways to write each title
    liked: bool  # whether the feedback on all of these was rewarded
    facts: tuple[str, ...]  # words that they and the item have in common
    texts: tuple[str, ...]  # of the item and of each named one


def shared_words(texts: Iterable[str]) -> set[str]:
    """Words that are in all texts."""
    return set.intersection(*(set(normalised(text)) for text in texts))


def fault(sentence: str, known: Evidence) -> str | None:
    """What is wrong with a sentence, None if it says nothing but what is known."""
    if HIDDEN.search(sentence) or _TITLE in sentence or "\n" in sentence:
        return "a hidden character"
    if not sentence or len(sentence) > LONGEST:
        return f"not 1 to {LONGEST} characters"
    if not sentence[0].isupper() or not sentence.endswith("."):
        return "no whole sentence"
    bare, named = _without_titles(sentence[:-1], known)
    if not named:
        return "no item of the history"
    words = WORD.findall(bare)
    if strange := _REST.sub("", WORD.sub("", bare.replace(_TITLE, ""))):
        return f"the character {strange[0]}"  # a second sentence among them
    allowed = FUNCTION_WORDS | shared_words(known.texts) | {word for fact in known.facts for word in normalised(fact)}
    foreign = [word for word in words if word.casefold() not in allowed]
    if foreign:
        return f"the word {foreign[0]}"
    return _wrong_liking(bare, known.liked)


def _without_titles(text: str, known: Evidence) -> tuple[str, int]:
    """The text with a sign for each title of the history, and how many there are."""
    ways = sorted({way for ways in known.named for way in ways}, key=len, reverse=True)
    if not ways:
        return text, 0
    return re.subn(rf"(?<![^\W_])(?:{'|'.join(map(re.escape, ways))})(?![^\W_])", _TITLE, text)


def _wrong_liking(bare: str, liked: bool) -> str | None:
    """A title that is not said to be in the history, or something else that is said to be liked."""
    for found in _LIST.finditer(bare):
        before = bare[: found.start()].split()
        if not before or before[-1].casefold() not in BEFORE_A_TITLE:
            return "a title that is not said to be in the history"
    words = bare.casefold().replace(",", " ").split()
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word in LIKING and not (liked and after == _TITLE.casefold()):
            return f"“{word}” of something else than liked items of the history"
    return None
