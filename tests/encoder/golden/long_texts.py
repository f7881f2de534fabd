"""Texts of 1 to 600 words, the same on every machine; read by the maker of the references and by the tests."""

import random

_WORDS = """the a of and to in for with on from by about after before without under over between against during
film story song book garden river mountain city street window kitchen teacher doctor soldier robot dragon princess
detective astronaut shampoo conditioner moisturiser keyboard headphones bicycle umbrella sandwich coffee chocolate
walks runs discovers remembers forgets builds destroys whispers travels returns falls rises learns teaches believes
red blue ancient modern tiny enormous silent hilarious melancholy fragrance-free waterproof 4K second-hand unbelievable
1995 2001 42 3.5 100% $19.99 #1 U.S.A. Dr. e-mail don't she's rock'n'roll antidisestablishmentarianism
café naïve Über Łódź jalapeño smörgåsbord Dvořák 東京 кино ελλάδα 🙂 🚀 — … “quoted” ½ ﬁnal"""
WORDS = _WORDS.split()
MARKS = (". ", "! ", "? ", ", ", "; ", ": ", " - ", "\n", " (", ") ", " / ", "... ")


def long_texts(count: int = 200, longest: int = 600) -> list[str]:
    """`count` texts whose numbers of words grow evenly on a log scale from 1 to `longest`, in mixed order."""
    rng = random.Random(7)
    texts = []
    for number in range(count):
        words = round(longest ** (number / (count - 1)))
        parts = [WORDS[int(rng.random() * len(WORDS))]]
        for _ in range(words - 1):
            mark = MARKS[int(rng.random() * len(MARKS))] if rng.random() < 0.15 else " "
            word = WORDS[int(rng.random() * len(WORDS))]
            parts += [mark, word.capitalize() if rng.random() < 0.2 else word]
        texts.append("".join(parts))
    return [texts[(37 * number) % count] for number in range(count)]
